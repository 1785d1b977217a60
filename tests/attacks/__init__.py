"""Attacks by somebody who has a caller's rights, each beside an honest caller.

`devstack.attacks` has them; `test_attacks` runs each for a second, `benchmarks.proofs.attacks` for
twenty. An attack is one function that runs in a process of its own, as a user of its own.
"""
