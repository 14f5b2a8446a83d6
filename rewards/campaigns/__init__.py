"""Lists of users paid by a rule: grants, airdrops, prizes, corrections."""
