"""Benchmarks whose results are ratios of speeds, side by side."""
