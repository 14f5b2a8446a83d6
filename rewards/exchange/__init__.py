"""Rules taken from one installation to another: one file, looked at before it is taken."""
