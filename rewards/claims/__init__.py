"""Exactly-once claims with recipes as data, and the game economy on top of them."""
