"""Runs that ship with the package."""
