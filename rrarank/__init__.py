"""Re-rank a first-stage run with small models distilled from LLMs, and prove that it helped.

    import rrarank
    inputs = rrarank.load_inputs("bm25.trec")  # its sidecar knows its topics and texts
    run = rrarank.rerank_run(inputs.run, rrarank.load_reranker(), topics=inputs.topics, texts=inputs.texts)
    rrarank.write_run("bm25.reranked.trec", run)

Names load on first use (PEP 562), so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rrarank.data import Candidate, Hit, Query, Ranking, Run
    from rrarank.engine import Pointwise, RerankConfig, Reranker, RerankerConfig, reorder, rerank_run
    from rrarank.errors import RrarankError
    from rrarank.inputs import load_inputs
    from rrarank.measures import evaluate_runs
    from rrarank.registry import load_reranker, register
    from rrarank.trec import parse_qrels, parse_run, read_qrels, read_run, read_topics, write_run

_HOMES = {
    "data": ("Candidate", "Hit", "Query", "Ranking", "Run"),
    "engine": ("Pointwise", "RerankConfig", "Reranker", "RerankerConfig", "reorder", "rerank_run"),
    "errors": ("RrarankError",),
    "inputs": ("load_inputs",),
    "measures": ("evaluate_runs",),
    "registry": ("load_reranker", "register"),
    "trec": ("parse_qrels", "parse_run", "read_qrels", "read_run", "read_topics", "write_run"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME_OF)  # one table says what is public and where it lives


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("rrarank")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'rrarank' has no attribute {name!r}")
    return getattr(import_module(f"rrarank.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
