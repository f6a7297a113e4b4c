"""Choose on judged queries how much the first stage's scores count beside a reranker's."""
