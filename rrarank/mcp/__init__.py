"""Tools for agents: search, rerank and evaluate over the Model Context Protocol."""
