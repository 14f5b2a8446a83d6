"""The development environment: one command that runs the product, one that tests it. No part of the product."""
