"""Deployments with their replicas, and staking positions: what they earn, and how they end without losing it."""
