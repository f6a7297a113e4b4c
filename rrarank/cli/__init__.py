"""The command line: the verbs, and what several of them share."""

VERBS = {
    "retrieve": "first stage: index a collection and search it",
    "fuse": "fuse several runs into one",
    "rerank": "re-rank a run",
    "tune": "choose the weight of the first stage",
    "merge": "join the parts of a sharded run",
    "evaluate": "measure runs and test their differences",
    "online": "compare rankers by what users clicked",
    "report": "write an HTML page that compares runs query by query",
    "reproduce": "fill a table of systems and test sets",
    "label": "have a teacher rank lists: make a distillation set",
    "sets": "check, count, convert, extend distillation sets",
    "judge": "have an LLM grade documents that nobody judged",
    "generate": "have an LLM write queries for passages",
    "train": "train a student on distillation sets",
    "calibrate": "turn a model's scores into probabilities of relevance",
    "export": "export a cross-encoder for a faster back end",
    "serve": "serve a reranker over HTTP",
    "mcp": "serve search, rerank and evaluate to agents",
    "models": "fetch a model from the hub and verify it",
    "convert": "convert runs, judgments and collections",
    "trec": "check a run by TREC's rules",
    "doctor": "check this machine",
}
"""Verb -> what it does. The module of a verb is `rrarank.<verb>`; it defines `parser()` and `main(arguments)`."""
