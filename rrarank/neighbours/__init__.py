"""Our rerankers inside the tools of others; each file is loaded only by who has that tool."""
