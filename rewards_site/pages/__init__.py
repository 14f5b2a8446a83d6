"""Pages for recipients, drawn by the server: what they have, why, and where they stand."""
