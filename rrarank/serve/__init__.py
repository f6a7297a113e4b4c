"""The verb `serve`: a reranker behind HTTP."""
