"""Runs benchmarks: servers, load, rounds, ratios."""
