"""Memory and time on large runs."""
