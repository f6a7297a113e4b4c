"""Check whether this machine has what rrarank needs."""
