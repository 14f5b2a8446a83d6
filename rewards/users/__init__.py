"""People the product pays."""
