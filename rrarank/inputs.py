"""What a job starts from: a run, its queries, its texts; from flags, else from the run's sidecar."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rrarank.data import Run
from rrarank.errors import RrarankError, shown
from rrarank.files import STDIO, find
from rrarank.lucene import LuceneTexts
from rrarank.names import TEXTS, TOPICS, file_or_id, known
from rrarank.requests import is_requests, read_requests
from rrarank.sidecar import Sidecar, fingerprint, read_sidecar
from rrarank.texts import Collection, InlineTexts, IrDatasetsTexts, Source, gather, load_topics
from rrarank.trec import read_run


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
        topics: file of queries, or Pyserini's name of them; else those of `dataset`.
        collection: JSONL or TSV file.
        index: Lucene index with stored texts, or Pyserini's name of one, whose texts ir_datasets then gives.
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
    places = _given(origins)
    if is_requests(path):
        hits, topics, inline = read_requests(path)
        asked: Mapping[str, str] = {**topics, **(_topics(places) if origins.topics else {})}
        sources = [InlineTexts(inline), *_sources(places)]
    else:
        hits = read_run(path)
        places |= _from_sidecar(places, None if str(path) == STDIO else read_sidecar(path), path)
        asked = _topics(places)
        sources = _sources(places)
    wanted = {hit.docid for qid in hits if qid in asked for hit in hits[qid][:depth]}
    texts = gather(sources, wanted)
    missing = sorted(wanted.difference(texts))
    if not skip_missing:
        _refuse_missing([qid for qid in hits if qid not in asked], "topic", path, places)
        _refuse_missing(missing, "text", path, places)
    run_place: dict[str, str | Path] = {} if str(path) == STDIO else {"run": path}
    return Inputs(hits, asked, texts, missing, run_place | places)


def _given(origins: Origins) -> dict[str, str | Path]:
    places: dict[str, str | Path] = {}
    if origins.topics:
        places["topics"] = file_or_id(origins.topics, TOPICS)
    if origins.collection:
        places["collection"] = find(origins.collection)
    if origins.index:
        folder = Path(origins.index)
        places["index"] = known(TEXTS).get(str(folder), folder) if not folder.exists() else folder
        if isinstance(places["index"], Path):
            fingerprint(folder)  # refuses what is no index, before any work
    if origins.dataset:
        places["dataset"] = origins.dataset
    return places


_QUERIES = ("topics", "dataset")
_TEXTS = ("collection", "index", "dataset")


def _from_sidecar(given: Mapping[str, str | Path], sidecar: Sidecar | None, run: Path) -> dict[str, str | Path]:
    """What the flags leave open: queries, texts or both. Flags beat the sidecar, each for its own part."""
    wanted = {name for part in (_QUERIES, _TEXTS) if not given.keys() & set(part) for name in part}
    found = {name: place for name in sorted(wanted) if sidecar and (place := sidecar.input(name))}
    places = given.keys() | found.keys()
    if not (places & set(_QUERIES) and places & set(_TEXTS)):
        raise RrarankError(f"{run}: {_why_unknown(sidecar)}; type: {_command({'run': run, **found, **given})}")
    return found


def _why_unknown(sidecar: Sidecar | None) -> str:
    if sidecar is None:
        return "has no sidecar that names its topics and texts"
    gone = [name for part in ("topics", "collection", "index") if (name := sidecar.recorded(part))]
    return f"{sidecar.path} names {shown(gone)}, not all of which are there" if gone else f"{sidecar.path} names none"


def _command(places: Mapping[str, str | Path]) -> str:
    """The complete command to type, with place-holders for what is unknown."""
    flags = dict(places)
    if not flags.keys() & set(_QUERIES):
        flags["topics"] = "TOPICS.tsv"
    if not flags.keys() & set(_TEXTS):
        flags["collection"] = "COLLECTION.jsonl"
    typed = " ".join(f"--{name} {shlex.quote(str(place))}" for name, place in flags.items())
    return f"python -m rrarank.rerank {typed} (or --index INDEX, or --dataset IR_DATASETS_ID)"


def _topics(places: Mapping[str, str | Path]) -> Mapping[str, str]:
    return load_topics(places["topics"] if "topics" in places else places["dataset"])


def _sources(places: Mapping[str, str | Path]) -> list[Source]:
    """In the order in which they are asked."""
    sources: list[Source] = []
    if "collection" in places:
        sources.append(Collection(Path(places["collection"])))
    if "dataset" in places:
        sources.append(IrDatasetsTexts(str(places["dataset"])))
    if "index" in places:
        index = places["index"]
        sources.append(LuceneTexts(index) if isinstance(index, Path) else IrDatasetsTexts(index))
    return sources


def _refuse_missing(missing: Sequence[str], part: str, run: Path, places: Mapping[str, str | Path]) -> None:
    """Refuse a run some of whose queries (part `topic`) or documents (part `text`) are unknown."""
    if missing:
        what, names = ("queries", _QUERIES) if part == "topic" else ("documents", _TEXTS)
        asked = ", ".join(str(places[name]) for name in names if name in places) or "the file"
        raise RrarankError(
            f"{run}: {len(missing):,} {what} have no {part} in {asked} ({shown(missing)}); "
            "give their source too, or --skip-missing to leave them in first-stage order"
        )
