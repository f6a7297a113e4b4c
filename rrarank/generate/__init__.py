"""Passages in, synthetic queries out."""
