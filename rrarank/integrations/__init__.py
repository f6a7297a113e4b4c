"""Our rerankers inside other libraries; each file needs its own extra."""
