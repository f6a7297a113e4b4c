"""Export cross-encoders for faster back ends."""
