"""What flows between rooms, and its file formats."""
