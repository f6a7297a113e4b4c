"""Effectiveness on judged queries."""
