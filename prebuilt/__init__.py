"""What ships with the package: the sample collection and its queries."""
