"""Judgments that ship with the package."""
