"""What a hostile caller may try, each against a fleet with an honest caller beside it."""
