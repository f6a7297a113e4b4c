"""The server under load, and real clients."""
