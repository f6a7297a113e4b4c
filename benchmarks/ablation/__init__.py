"""What each part of the method adds."""
