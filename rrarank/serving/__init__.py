"""A reranker behind HTTP: the wire, the queue with its one scoring thread, the page."""
