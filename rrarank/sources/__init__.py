"""Where queries and texts come from."""
