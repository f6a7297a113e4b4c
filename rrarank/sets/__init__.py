"""Check, count, convert and extend distillation sets."""
