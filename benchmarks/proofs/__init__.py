"""Benchmarks whose results are counts that must be right."""
