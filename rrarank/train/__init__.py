"""Distillation sets in, a student model out."""
