"""The first stage as one function: index a collection if there is no index, search it, write the run."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from rrarank.cli.verbs import locked_output
from rrarank.data.own_documents import finding_themselves, own_documents_note, without_own_documents
from rrarank.data.trec import check_tag, write_run
from rrarank.data.types import Run, is_blank
from rrarank.errors import MissingResource, RrarankError, say, shown
from rrarank.retrieve.first_stages import BM25Stage, DenseStage, FirstStage
from rrarank.sources.collection import Collection, find_collection
from rrarank.sources.lucene import BM25
from rrarank.sources.names import TEXTS, file_or_id, ids_by_name
from rrarank.sources.texts import load_topics
from rrarank.storage.files import is_file
from rrarank.storage.packed import is_stream
from rrarank.storage.sidecar import check_output, fingerprint, read_sidecar, write_sidecar


@dataclass(frozen=True)
class RetrieveJob:
    """What to search, how, and where to write the run.

    Args:
        index: folder; made from `collection` if absent.
        topics: file of queries, BEIR folder, or Pyserini's name of them.
        topic_field: the part of a topic that is the query, one of `data.topics.FIELDS`; empty: as `read_topics` does.
        output: the run to write, with a sidecar beside it; `-` for stdout; empty: write nothing.
        remove_query: leave out the document whose docid is the qid, as ArguAna and Quora need.
        runtag: empty: the name of the first stage.
        language: analyser of BM25; empty: the index's own, else `en`.
        model: bi-encoder for `dense`; empty: the default of the reranker `bi-encoder`. So too `device`.
        threads: 0: the library's own number.
        batch_size: texts embedded at once; 0: 32.
    """

    index: str | Path
    topics: str | Path
    collection: str | Path = ""
    topic_field: str = ""
    output: str | Path = ""
    hits: int = 1000
    remove_query: bool = False
    runtag: str = ""
    overwrite: bool = False
    threads: int = 0
    bm25: BM25 = field(default_factory=BM25)
    language: str = ""
    dense: bool = False
    model: str = ""
    device: str = ""
    batch_size: int = 0


def retrieve_run(job: RetrieveJob) -> Run:
    """Search the topics; also writes the run and its sidecar if the job names an output.

    Raises:
        RrarankError: a setting, file or index is not usable; nothing is half-written.
    """
    stage = first_stage(job)
    topics = file_or_id(job.topics)
    collection = find_collection(job.collection) if job.collection else None
    if job.output:
        check_output(job.output, job.overwrite, [topics, collection])
    tag = check_tag(job.runtag or stage.name)
    with locked_output(job.output) if job.output else nullcontext():
        if job.output:
            check_output(job.output, job.overwrite, [topics, collection])  # what another job made meanwhile
        return _retrieve(job, stage, topics, collection, tag)


def _retrieve(job: RetrieveJob, stage: FirstStage, topics: str | Path, collection: Path | None, tag: str) -> Run:
    queries = load_topics(topics, job.topic_field)
    index = Path(job.index)
    if not index.exists():
        _build(stage, index, collection)
    texts = _check_index(stage, index, collection)
    stage.open(index)
    if texts.get("collection") and not read_sidecar(index):
        made = "the collection that it was made from is unknown, as it has no sidecar"
        raise RrarankError(f"{index}: {made}; leave --collection out to search it as it is, or give another --index")

    started = time.perf_counter()
    run = _search(stage, queries, job, tag)
    seconds = time.perf_counter() - started
    if job.output:
        write_run(job.output, run)
    if job.output and is_file(job.output):
        field_of_topics = {"topic_field": job.topic_field} if job.topic_field else {}
        write_sidecar(
            Path(job.output),
            inputs={"topics": topics, **field_of_topics, **texts},
            config={
                "hits": job.hits,
                **({"remove_query": True} if job.remove_query else {}),
                **stage.settings,
                **stage.ranking,
            },
            timings={"search_s": round(seconds, 3)},
        )
    without = sum(not run[qid] for qid in run)
    notice = f", {without} without any hit" if without else ""
    say(f"{len(run):,} queries{notice}, {sum(map(len, run.values())):,} hits in {seconds:.1f} s")
    return run


def _search(stage: FirstStage, queries: Mapping[str, str], job: RetrieveJob, tag: str) -> Run:
    """The hits of every query; an empty query has none."""
    empty = {qid: None for qid, query in queries.items() if is_blank(query)}
    if empty:
        say(f"{len(empty):,} queries are empty and get no hits ({shown(empty)})")
    asked = {qid: query for qid, query in queries.items() if qid not in empty}
    found = stage.search(asked, job.hits + job.remove_query) if asked else {}
    run = Run({qid: found.get(qid, []) for qid in queries}, tag)
    if job.remove_query:
        run = without_own_documents(run)
    elif itself := finding_themselves(run):
        say(own_documents_note(itself))
    return Run({qid: hits[: job.hits] for qid, hits in run.items()}, tag)


def first_stage(job: RetrieveJob) -> FirstStage:
    """The first stage that the job asks for.

    Raises:
        RrarankError: a setting belongs to the other first stage.
    """
    of_dense: dict[str, Any] = {"model": job.model, "device": job.device, "batch_size": job.batch_size}
    of_bm25 = {"rm3": job.bm25.rm3, "language": job.language}
    if odd := next((name for name, value in (of_bm25 if job.dense else of_dense).items() if value), ""):
        remedy = "a dense index has none; leave --dense out" if job.dense else "BM25 has none; give --dense too"
        raise RrarankError(f"--{odd.replace('_', '-')}: {remedy}")
    if job.dense:
        return DenseStage({**{name: value or None for name, value in of_dense.items()}, "threads": job.threads or None})
    return BM25Stage(job.bm25, job.language, job.threads or 1)


# -- the index --------------------------------------------------------------------------------------------------------


def _build(stage: FirstStage, index: Path, collection: Path | None) -> None:
    if collection is None:
        if str(index) in ids_by_name(TEXTS):
            raise MissingResource(
                f"{index}: a prebuilt index of Pyserini's that is not on disk; download it with Pyserini and "
                "give its folder, or give --collection COLLECTION.jsonl and a folder to make one"
            )
        raise RrarankError(f"{index}: no such index; give --collection COLLECTION.jsonl to make it")
    check_output(index, True, [collection])
    say(f"indexing {collection} into {index}")
    documents: Iterable[tuple[str, str]] = tqdm(Collection(collection), unit=" documents", disable=None)
    stage.prepare()

    def describe(folder: Path, count: int) -> None:  # before the index appears, so that none is without a sidecar
        config = {**stage.settings, "documents": count}
        write_sidecar(index, folder, inputs={"collection": collection}, config=config)

    empty = stage.build(documents, index, describe)
    if empty:
        say(f"{empty:,} empty documents left out")


def _check_index(stage: FirstStage, index: Path, collection: Path | None) -> Mapping[str, str | Path]:
    """Refuse an index that does not fit the job; returns where its texts are: in the collection or in the index."""
    sidecar = read_sidecar(index)
    stage.adopt(index, sidecar.content.get("config", {}) if sidecar else {})
    if collection and is_stream(collection) and sidecar and "collection" in sidecar.content["inputs"]:
        raise RrarankError(f"{index}: exists already, and a pipe cannot be compared with it; leave --collection out")
    if collection and is_stream(collection):
        collection = None  # read, and gone
    found: str | Path | None = collection
    if sidecar:
        recorded = sidecar.content["inputs"].get("collection", {}).get("sha256")
        if collection and fingerprint(collection) != recorded:
            named = f"{sidecar.path} names another collection than {collection}"
            raise RrarankError(f"{index}: {named}; give another --index")
        found = collection or sidecar.input("collection")
    if found:
        return {"collection": found}
    return {"index": index} if stage.holds_texts else {}
