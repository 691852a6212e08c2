"""Kinds of published tables: one file each, found by being here (see `Reader`)."""
