"""Pure maths of rewards: apportionment, rules, ranks, Merkle trees. No Django, no clock, no query."""
