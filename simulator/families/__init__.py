"""Graphs that many variants share: softmax over pairs, chunked linear recurrences, products with weights."""
