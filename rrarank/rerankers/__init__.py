"""The rerankers, one family per file; `rrarank.engine.registry` finds them by name."""
