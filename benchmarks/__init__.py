"""Measures idalloc beside what a service would use instead, both sides in one run.

`python -m benchmarks` runs all of them; each module runs by itself as well.
"""
