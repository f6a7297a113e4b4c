"""Files, locks, journals and sidecars on disk."""
