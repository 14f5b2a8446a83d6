"""Single rewards that are owed: a queue, and what accrues until it is paid."""
