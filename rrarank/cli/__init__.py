"""What several verbs share: exit codes, messages, flags."""
