"""What comes before training: labels made, judged, and handed on."""
