"""Pairs a second and milliseconds a query, beside other tools."""
