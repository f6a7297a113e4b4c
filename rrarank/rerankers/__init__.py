"""The rerankers, one family a file; `rrarank.engine.registry` finds them by name."""
