"""Measurements that were made elsewhere: one file a format, each with `read(path) -> Recording`."""

from __future__ import annotations
