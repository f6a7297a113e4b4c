"""A reranker behind HTTP."""
