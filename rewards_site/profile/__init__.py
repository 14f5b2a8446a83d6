"""What a user sees of himself. It stands here because a profile is put together from every part of the product."""
