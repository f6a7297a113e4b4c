"""Our rerankers in other libraries; each file needs its own extra."""
