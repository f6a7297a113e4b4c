"""The contract of a reranker and the loop over blocks of queries."""
