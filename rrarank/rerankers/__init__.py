"""The rerankers themselves, one family a file; found by name through `rrarank.registry`."""
