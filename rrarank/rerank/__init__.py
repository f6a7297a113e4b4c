"""The main job: a first-stage run in, a re-ranked run out."""
