"""Runs and their texts in, an LLM's judgments out."""
