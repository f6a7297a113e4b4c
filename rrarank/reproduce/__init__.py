"""A table of systems and test sets, from one YAML file."""
