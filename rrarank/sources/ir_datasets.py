"""Queries, texts and judgments from ir_datasets (no other file imports it)."""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass

from rrarank.errors import MissingPrerequisite, MissingResource, RrarankError


@dataclass(frozen=True)
class IrDatasetsTexts:
    """The documents of an ir_datasets id, such as `msmarco-passage`."""

    dataset: str

    def stream(self, wanted: Set[str]) -> Iterator[tuple[str, str]]:
        store = ir_dataset(self.dataset, "docs").docs_store()
        try:
            for doc in store.get_many_iter(sorted(wanted)):
                yield str(doc.doc_id), doc.default_text()
        except (OSError, ImportError) as error:
            raise unreachable(self.dataset, error) from error


def ir_dataset_topics(dataset: str) -> dict[str, str]:
    """qid -> query text of an ir_datasets id."""
    try:
        return {str(query.query_id): query.default_text() for query in ir_dataset(dataset, "queries").queries_iter()}
    except (OSError, ImportError) as error:
        raise unreachable(dataset, error) from error


def ir_dataset_qrels(dataset: str) -> dict[str, dict[str, int]]:
    """qid -> docid -> grade of an ir_datasets id."""
    qrels: dict[str, dict[str, int]] = {}
    try:
        for judged in ir_dataset(dataset, "qrels").qrels_iter():
            qrels.setdefault(str(judged.query_id), {})[str(judged.doc_id)] = int(judged.relevance)
    except (OSError, ImportError) as error:
        raise unreachable(dataset, error) from error
    return qrels


def ir_dataset(name: str, needs: str):  # type: ignore[no-untyped-def]  # ir_datasets has no types
    """Load a data set.

    Args:
        needs: what it must have: `docs`, `queries` or `qrels`.
    """
    import ir_datasets

    try:
        dataset = ir_datasets.load(name)
    except KeyError:
        raise RrarankError(f"no ir_datasets id {name!r}; see https://ir-datasets.com for the list") from None
    except (OSError, ImportError) as error:
        raise unreachable(name, error) from error
    if not getattr(dataset, f"has_{needs}")():
        raise RrarankError(f"the ir_datasets id {name!r} has no {needs}; give a data set that has them")
    return dataset


def unreachable(dataset: str, error: Exception) -> RrarankError:
    if isinstance(error, ImportError):  # some data sets need a library that ir_datasets does not install
        return MissingPrerequisite(f"ir_datasets {dataset!r}: {error}; install it")
    return MissingResource(
        f"ir_datasets {dataset!r}: its files are not on disk and could not be downloaded ({error}); "
        "fetch them on a connected machine, or give --topics and --collection"
    )
