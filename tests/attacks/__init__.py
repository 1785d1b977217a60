"""Attacks by somebody who has a caller's rights, each beside an honest caller.

`catalog` lists them; `conftest` and `test_attacks` run each for a few seconds, `benchmarks.attacks`
for twenty. An attack is one function that runs in a process of its own, as a user of its own.
"""
