"""Measures, significance, fusion and figures."""
