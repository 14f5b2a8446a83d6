"""The product's site with one view more: a bare one of the framework, to compare with."""
