"""Queries, texts and judgments from ir_datasets (no other file imports it)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Set
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from rrarank.data.types import QrelsRead
from rrarank.errors import MissingPrerequisite, MissingResource, RrarankError
from rrarank.storage.sidecar import RecordedId


@dataclass(frozen=True)
class IrDatasetsTexts:
    """The documents of an ir_datasets id, such as `msmarco-passage`."""

    dataset: str

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Every (docid, text)."""
        dataset = ir_dataset(self.dataset, "docs")
        with _reachable(self.dataset):
            for doc in dataset.docs_iter():
                yield str(doc.doc_id), doc.default_text()

    def stream(self, wanted: Set[str]) -> Iterator[tuple[str, str]]:
        dataset = ir_dataset(self.dataset, "docs")
        with _reachable(self.dataset):
            for doc in dataset.docs_store().get_many_iter(sorted(wanted)):
                yield str(doc.doc_id), doc.default_text()


def ir_dataset_topics(dataset: str, topic_field: str = "") -> dict[str, str]:
    """qid -> query text of an ir_datasets id; `topic_field` as in `data.topics`."""
    found = ir_dataset(dataset, "queries")
    with _reachable(dataset):
        return {str(query.query_id): _query_text(query, topic_field, dataset) for query in found.queries_iter()}


def _query_text(query: Any, topic_field: str, dataset: str) -> str:
    if not topic_field:
        return str(query.default_text() if hasattr(query, "default_text") else query.text)  # BRIGHT's have none
    parts = topic_field.split("+")
    if absent := [part for part in parts if not hasattr(query, part)]:
        raise RrarankError(f"ir_datasets {dataset!r}: its queries have no {absent[0]}; give another --topic-field")
    return " ".join(str(getattr(query, part)) for part in parts)


def ir_dataset_qrels(dataset: str) -> QrelsRead:
    """qid -> docid -> grade of an ir_datasets id."""
    qrels = QrelsRead()
    found = ir_dataset(dataset, "qrels")
    with _reachable(dataset):
        for judged in found.qrels_iter():
            qrels.setdefault(str(judged.query_id), {})[str(judged.doc_id)] = int(judged.relevance)
    return qrels


def ir_dataset(name: str, needs: str) -> Any:  # ir_datasets has no types
    """Load a data set.

    Args:
        needs: what it must have: `docs`, `queries` or `qrels`.
    """
    with _reachable(name):
        import ir_datasets

        logging.getLogger("ir_datasets").addFilter(_is_error)  # a failed download becomes our own message
        try:
            dataset = ir_datasets.load(name)
        except KeyError:
            raise RrarankError(f"no ir_datasets id {name!r}; see https://ir-datasets.com for the list") from None
        if not getattr(dataset, f"has_{needs}")():
            raise RrarankError(f"the ir_datasets id {name!r} has no {needs}; give a data set that has them")
    return dataset


def is_id(name: str) -> bool:
    """Whether ir_datasets knows the id; nothing is downloaded."""
    import ir_datasets

    try:
        ir_datasets.load(name)
    except (KeyError, ImportError):
        return False
    return True


def _is_error(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR


@contextmanager
def _reachable(dataset: str) -> Iterator[None]:
    """Turn whatever ir_datasets raises while it loads, downloads or reads into one line."""
    try:
        with _without_downloads(dataset) if isinstance(dataset, RecordedId) else nullcontext():
            yield
    except RrarankError:
        raise
    except ImportError as error:  # some data sets need a library that ir_datasets does not install
        raise MissingPrerequisite(f"ir_datasets {dataset!r}: {error}; install it") from error
    except Exception as error:  # its download errors are OSErrors, RuntimeErrors and those of HTTP and zip libraries
        if isinstance(dataset, RecordedId):
            raise _unasked(dataset) from error
        raise MissingResource(
            f"ir_datasets {dataset!r}: its files are not on disk and could not be downloaded ({_reason(error)}); "
            "fetch them on a connected machine, or give local files instead"
        ) from error


@contextmanager
def _without_downloads(dataset: str) -> Iterator[None]:
    """Refuse to download: a sidecar names the data set, and anyone may have written it."""
    from ir_datasets import lazy_libs

    def refuse() -> None:
        raise _unasked(dataset)

    requests = lazy_libs.requests  # every download calls it
    lazy_libs.requests = refuse
    try:
        yield
    finally:
        lazy_libs.requests = requests


def _unasked(dataset: str) -> MissingResource:
    todo = f"to download it, give --dataset {dataset}, with --topics if it has no queries"
    return MissingResource(f"ir_datasets {dataset!r}: named by the run's sidecar and not on disk; {todo}")


def _reason(error: Exception) -> str:
    """The first words of an error; those of failed downloads list each attempt."""
    text = str(error.args[0] if error.args else type(error).__name__).partition("\n")[0]
    return text if len(text) <= 120 else f"{text[:119]}…"
