"""A cross-encoder in, a folder for a faster back end out."""
