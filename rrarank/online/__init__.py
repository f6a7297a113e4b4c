"""The verb `online`: what users did with the lists that they were shown."""
