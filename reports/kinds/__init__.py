"""Kinds of reports, one file each: what is known, as a `Document`."""
