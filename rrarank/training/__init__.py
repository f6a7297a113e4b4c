"""From distillation sets to a student: losses, lists, term control, the trainer. Nothing here is needed to re-rank."""
