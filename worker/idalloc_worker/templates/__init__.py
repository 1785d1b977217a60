"""Rows that other rows are made from, and what is made from them."""

from idalloc_worker.templates._new_tags import NewTags

__all__ = ["NewTags"]
