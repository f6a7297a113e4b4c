"""A run and its texts in, a distillation set out."""
