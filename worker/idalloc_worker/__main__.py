"""Runs the `idalloc` command."""
