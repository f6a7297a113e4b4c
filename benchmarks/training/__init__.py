"""How fast a student is trained."""
