"""The first stage: topics and an index in, a run out."""
