"""Re-rank a first-stage run with small models distilled from LLMs, and prove that it helped.

    import rrarank
    inputs = rrarank.load_inputs("bm25.trec")  # its sidecar knows its topics and texts
    run = rrarank.rerank_run(inputs.run, rrarank.load_reranker(), topics=inputs.topics, texts=inputs.texts)
    rrarank.write_run("bm25.reranked.trec", run)

Names load on first use (PEP 562), so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the same names for type checkers; tests/test_architecture.py compares
    from rrarank.data import Candidate as Candidate
    from rrarank.data import Hit as Hit
    from rrarank.data import Query as Query
    from rrarank.data import Ranking as Ranking
    from rrarank.data import Run as Run
    from rrarank.engine import Pointwise as Pointwise
    from rrarank.engine import RerankConfig as RerankConfig
    from rrarank.engine import Reranker as Reranker
    from rrarank.engine import RerankerConfig as RerankerConfig
    from rrarank.engine import reorder as reorder
    from rrarank.engine import rerank_run as rerank_run
    from rrarank.errors import RrarankError as RrarankError
    from rrarank.formats import RunFile as RunFile
    from rrarank.formats import read_run_file as read_run_file
    from rrarank.formats import write_run_file as write_run_file
    from rrarank.fusion import fuse_runs as fuse_runs
    from rrarank.inputs import Inputs as Inputs
    from rrarank.inputs import Origins as Origins
    from rrarank.inputs import load_inputs as load_inputs
    from rrarank.measures import Evaluation as Evaluation
    from rrarank.measures import evaluate_runs as evaluate_runs
    from rrarank.registry import load_reranker as load_reranker
    from rrarank.registry import register as register
    from rrarank.trec import parse_qrels as parse_qrels
    from rrarank.trec import parse_run as parse_run
    from rrarank.trec import read_qrels as read_qrels
    from rrarank.trec import read_run as read_run
    from rrarank.trec import read_topics as read_topics
    from rrarank.trec import write_run as write_run

_HOMES = {
    "data": ("Candidate", "Hit", "Query", "Ranking", "Run"),
    "engine": ("Pointwise", "RerankConfig", "Reranker", "RerankerConfig", "reorder", "rerank_run"),
    "errors": ("RrarankError",),
    "formats": ("RunFile", "read_run_file", "write_run_file"),
    "fusion": ("fuse_runs",),
    "inputs": ("Inputs", "Origins", "load_inputs"),
    "measures": ("Evaluation", "evaluate_runs"),
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
