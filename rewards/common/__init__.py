"""What every package may use: errors, periods, amounts, database helpers."""
