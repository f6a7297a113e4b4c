"""Runs and judgments in, one HTML page out."""
