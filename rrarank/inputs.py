"""What a job starts from: a run, its queries, its texts; from flags, else from the run's sidecar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rrarank.data import Run
from rrarank.errors import RrarankError, shown
from rrarank.files import STDIO, find
from rrarank.lucene import LuceneTexts
from rrarank.requests import is_requests, read_requests
from rrarank.sidecar import Sidecar, read_sidecar
from rrarank.texts import Collection, InlineTexts, IrDatasetsTexts, Source, gather, ir_dataset_topics
from rrarank.trec import read_run, read_topics


@dataclass(frozen=True)
class Inputs:
    """A run with its queries and texts.

    Args:
        missing: docids among the top `depth` that no source has a text for.
        origins: name -> file, index folder or data set id; what the next sidecar names.
    """

    run: Run
    topics: Mapping[str, str]
    texts: Mapping[str, str]
    missing: Sequence[str]
    origins: Mapping[str, str | Path]


@dataclass(frozen=True)
class Origins:
    """Where a user says that queries and texts are; empty where the sidecar is to say it.

    Args:
        topics: file of queries; else those of `dataset`.
        collection: JSONL or TSV file.
        index: Lucene index with stored texts.
        dataset: ir_datasets id, for texts and, without `topics`, for queries.
    """

    topics: str | Path = ""
    collection: str | Path = ""
    index: str | Path = ""
    dataset: str = ""


def load_inputs(
    run: str | Path, origins: Origins = Origins(), *, depth: int = 100, skip_missing: bool = False
) -> Inputs:
    """Read a run, find its queries and gather the texts of its top `depth`.

    Args:
        run: TREC or requests file; a bare name is looked up in `./`, `./runs/` and the package; `-` is stdin.
        skip_missing: leave candidates without text (and queries without a topic) in first-stage order
            instead of refusing the job.

    Raises:
        RrarankError: a file is malformed or unknown, or texts or topics are missing.
    """
    path = Path(run) if str(run) == STDIO else find(run, "runs")
    if is_requests(path):
        hits, asked, inline = read_requests(path)
        topics: Mapping[str, str] = asked
        places: dict[str, str | Path] = {"run": path}
        sources: list[Source] = [InlineTexts(inline)]
    else:
        hits = read_run(path)
        known = None if str(path) == STDIO else read_sidecar(path)
        places = {"run": path, **_places(origins, known, path)}
        topics = _topics(places)
        sources = _sources(places)
    wanted = {hit.docid for qid in hits if qid in topics for hit in hits[qid][:depth]}
    texts = gather(sources, wanted)
    missing = sorted(wanted.difference(texts))
    if not skip_missing:
        _refuse_missing([qid for qid in hits if qid not in topics], "queries", "topic", places)
        _refuse_missing(missing, "documents", "text", places)
    origins_named = {name: place for name, place in places.items() if str(place) != STDIO}
    return Inputs(hits, topics, texts, missing, origins_named)


def _places(origins: Origins, sidecar: Sidecar | None, run: Path) -> dict[str, str | Path]:
    """Flags beat the sidecar, each for its own part: queries, and texts."""
    places: dict[str, str | Path] = {}
    if origins.topics:
        places["topics"] = find(origins.topics)
    if origins.collection:
        places["collection"] = find(origins.collection)
    if origins.index:
        places["index"] = Path(origins.index)
    if origins.dataset:
        places["dataset"] = origins.dataset
    has_texts = places.keys() & {"collection", "index", "dataset"}
    wanted = [] if places.keys() & {"topics", "dataset"} else ["topics"]
    wanted += [] if has_texts else ["collection", "index", "dataset"]
    for name in wanted if sidecar else ():
        assert sidecar
        if place := sidecar.input(name):
            places[name] = place
    _refuse_incomplete(places, sidecar, run)
    return places


def _refuse_incomplete(places: Mapping[str, str | Path], sidecar: Sidecar | None, run: Path) -> None:
    if places.keys() & {"topics", "dataset"} and places.keys() & {"collection", "index", "dataset"}:
        return
    topics = f" --topics {places['topics']}" if "topics" in places else " --topics TOPICS.tsv"
    why = "has no sidecar that names its topics and texts"
    if sidecar:
        gone = [sidecar.recorded(name) for name in ("topics", "collection", "index") if sidecar.recorded(name)]
        why = (
            f"{sidecar.path} names {shown(gone)}, not all of which are there" if gone else f"{sidecar.path} names none"
        )
    raise RrarankError(
        f"{run}: {why}; type: python -m rrarank.rerank --run {run}{topics} --collection COLLECTION.jsonl "
        "(or --index INDEX, or --dataset IR_DATASETS_ID)"
    )


def _topics(places: Mapping[str, str | Path]) -> Mapping[str, str]:
    return read_topics(places["topics"]) if "topics" in places else ir_dataset_topics(str(places["dataset"]))


def _sources(places: Mapping[str, str | Path]) -> list[Source]:
    """In the order in which they are asked."""
    sources: list[Source] = []
    if "collection" in places:
        sources.append(Collection(Path(places["collection"])))
    if "dataset" in places:
        sources.append(IrDatasetsTexts(str(places["dataset"])))
    if "index" in places:
        sources.append(LuceneTexts(Path(places["index"])))
    return sources


def _refuse_missing(missing: Sequence[str], what: str, part: str, places: Mapping[str, str | Path]) -> None:
    if missing:
        asked = ", ".join(str(place) for name, place in places.items() if name != "run")
        raise RrarankError(
            f"{places['run']}: {len(missing):,} {what} have no {part} in {asked} ({shown(missing)}); "
            "give their source too, or --skip-missing to leave them in first-stage order"
        )
