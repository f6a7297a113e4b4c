"""The inputs of a job: a run, its queries and its texts, found by flags or by the run's sidecar."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rrarank.data.beir import is_beir
from rrarank.data.run_files import RunFile, read_run_file
from rrarank.data.shapes import RunLike, TextsLike, as_run_file, as_texts, is_path, run_name
from rrarank.data.types import Run, is_blank
from rrarank.errors import RrarankError, say, shown, warn
from rrarank.sources.collection import Collection, find_collection
from rrarank.sources.ir_datasets import IrDatasetsTexts, is_id
from rrarank.sources.lucene import LuceneTexts
from rrarank.sources.names import TEXTS, ids_by_name
from rrarank.sources.texts import InlineTexts, Source, gather, load_topics, place_or_id
from rrarank.storage.files import STDIO, find
from rrarank.storage.packed import is_stream
from rrarank.storage.sidecar import Sidecar, check_index, fingerprint, read_sidecar


@dataclass(frozen=True)
class Inputs:
    """A run with its queries and texts.

    Args:
        missing: docids among the top `depth` that no source has a text for, or only an empty one.
        origins: name -> file, index folder or data set id, for the sidecar of the output.
    """

    run: Run
    topics: Mapping[str, str]
    texts: Mapping[str, str]
    missing: Sequence[str]
    origins: Mapping[str, str | Path]


@dataclass(frozen=True)
class Origins:
    """Where queries and texts are. If a part has no field set, the run's sidecar names it.

    Args:
        topics: file of queries, BEIR folder, Pyserini's name or ir_datasets id; or the queries themselves, as
            {qid: query} or a DataFrame. Without it, the queries of `dataset`.
        collection: JSONL or TSV file, BEIR folder or ir_datasets id; or the texts themselves, as {docid: text} or a
            DataFrame.
        index: Lucene index with stored texts, or Pyserini's name of one; ir_datasets then provides the texts.
        dataset: ir_datasets id or BEIR folder, for texts and, without `topics`, for queries.
        topic_field: the part of a topic that is the query, one of `data.topics.FIELDS`; empty: as `read_topics` does.
    """

    topics: TextsLike = ""
    collection: TextsLike = ""
    index: str | Path = ""
    dataset: str = ""
    topic_field: str = ""


def load_inputs(
    run: RunLike,
    origins: Origins = Origins(),
    *,
    depth: int = 100,
    skip_missing: bool = False,
    command: str = "rerank",
    part: Callable[[Run], Run] | None = None,
) -> Inputs:
    """Read a run, find its queries and gather the texts of its top `depth`.

    Args:
        run: file of any format; a bare name is looked up in `./`, `./runs/` and the package; `-` is stdin. Or the run
            itself, in any shape of `data.shapes.RunLike`.
        skip_missing: leave candidates without text (and queries without a topic) in first-stage order
            instead of refusing the job.
        command: the verb and its flags, shown in the error that asks for topics or texts.
        part: selects a part of the run; None: all of it.

    Raises:
        RrarankError: a file is malformed or unknown, or texts or topics are missing.
    """
    held = {name: as_texts(given, name) for name, given in _texts_of(origins).items() if not is_path(given)}
    found, places = load_run(run, replace(origins, **dict.fromkeys(held, "")), held)
    path = Path(places.get("run", run_name(run)))
    carried = found if found.topics or "requests" not in places else read_run_file(places["requests"])
    known = {"topics": carried.topics, "collection": carried.texts} | held
    _check_unknown(path, places, command, [name for name, texts in known.items() if texts])
    topics = {**carried.topics, **(held["topics"] if "topics" in held else topics_of(places))}
    asked = {qid: query for qid, query in topics.items() if query}
    hits = part(found.run) if part else found.run
    wanted = {hit.docid for qid in hits if qid in asked for hit in hits[qid][:depth]}
    texts = gather([InlineTexts(held.get("collection", {})), *sources_of(places), InlineTexts(carried.texts)], wanted)
    missing = sorted(wanted.difference(texts))
    empty = [docid for docid, text in texts.items() if is_blank(text)]
    if not skip_missing:
        without = [qid for qid in hits if qid not in asked]
        _check_missing(without, "topic, or an empty one," if set(without) & topics.keys() else "topic", path, places)
        _check_missing(missing, "text", path, places)
    return Inputs(hits, asked, texts, sorted([*missing, *empty]), places)


def _texts_of(origins: Origins) -> dict[str, TextsLike]:
    return {"topics": origins.topics, "collection": origins.collection}


def load_run(
    run: RunLike, origins: Origins = Origins(), held: Container[str] = ()
) -> tuple[RunFile, dict[str, str | Path]]:
    """A run of any format, and where its queries and texts are by the flags, the file itself or its sidecar.

    Args:
        held: `topics` or `collection`, if they are in memory.
    """
    if not is_path(run):
        return as_run_file(run), places_of(origins)
    path = Path(run) if str(run) == STDIO else find(run, "runs")
    given = places_of(origins)
    found = read_run_file(path)
    if found.topics:
        return found, {"run": path, "requests": path} | given
    if str(path) == STDIO or is_stream(path):
        return found, given
    sidecar = read_sidecar(path)
    if sidecar:
        for name in given.keys() & {"topics", "collection", "index", "dataset"}:
            _say_other(name, given[name], sidecar)
    return found, {"run": path} | _from_sidecar(given, sidecar, held) | given


def _say_other(name: str, place: str | Path, sidecar: Sidecar) -> None:
    """Say so where --topics or --collection, … names another file than the one that the run was made from."""
    recorded = sidecar.content["inputs"].get(name)
    if not recorded or (isinstance(place, str) and sidecar.recorded(name) == place):
        return
    if isinstance(place, Path):
        path = Path(os.path.normpath(sidecar.path.parent.resolve() / recorded.get("path", "")))
        if is_stream(place) or path == place.resolve() or fingerprint(place) == recorded.get("sha256"):
            return
    say(f"{sidecar.path} names the {name} {sidecar.recorded(name)}; going on with --{name} {place} instead")


def places_of(origins: Origins) -> dict[str, str | Path]:
    places: dict[str, str | Path] = {}
    folder = origins.dataset if is_beir(origins.dataset) else ""
    if topics := origins.topics or folder:
        places["topics"] = place_or_id(_path(topics))
    if collection := origins.collection or folder:
        places |= _place_of_texts(_path(collection))
    if origins.index:
        index = Path(origins.index)
        places["index"] = ids_by_name(TEXTS).get(str(index), index) if not index.exists() else index
        if isinstance(places["index"], Path):
            check_index(index)
    if origins.dataset and not folder:
        places["dataset"] = origins.dataset
    if origins.topic_field:
        places["topic_field"] = origins.topic_field
    return places


def _path(given: TextsLike) -> str | Path:
    assert is_path(given), "texts in memory have no place"
    return given


def _place_of_texts(collection: str | Path) -> dict[str, str | Path]:
    """A file or folder; an ir_datasets id goes by the name of an index, which also holds texts only."""
    try:
        return {"collection": find_collection(collection)}
    except RrarankError:
        name = ids_by_name(TEXTS).get(str(collection), str(collection))
        if not Path(collection).exists() and is_id(name):
            return {"index": name}
        raise


QUERY_PARTS = ("topics", "requests", "dataset")  # each of these gives the queries
_WITH_QUERIES = ("topic_field",)  # where the sidecar gives the queries, it says this of them
TEXT_PARTS = ("collection", "index", "requests", "dataset")


def _from_sidecar(
    given: Mapping[str, str | Path], sidecar: Sidecar | None, held: Container[str]
) -> dict[str, str | Path]:
    """The places of queries or texts that no flag gives. A flag beats the sidecar for its part only."""
    parts = (QUERY_PARTS, (*QUERY_PARTS, *_WITH_QUERIES)), (TEXT_PARTS, TEXT_PARTS)
    wanted = {name for part, names in parts if not (given.keys() & set(part) or part[0] in held) for name in names}
    return {name: place for name in sorted(wanted) if sidecar and (place := sidecar.input(name))}


def _check_unknown(run: Path, places: Mapping[str, str | Path], command: str, held: Container[str]) -> None:
    """Refuse a job whose queries or texts are neither at a place nor in memory."""
    lacks = [part[0] for part in (QUERY_PARTS, TEXT_PARTS) if not (part[0] in held or places.keys() & set(part))]
    if lacks:
        if not places.keys() & {"run", "requests"} and str(run) != STDIO:
            raise RrarankError(f"{run}: comes without {' and '.join(lacks)}; give {', '.join(f'{x}=' for x in lacks)}")
        sidecar = None if str(run) == STDIO else read_sidecar(run)
        more = f"; in Python give {' and '.join(f'{name}=' for name in lacks)}"  # in the comment that ends the command
        raise RrarankError(f"{run}: {_why_unknown(sidecar)}; type: {_complete(command, {'run': run, **places})}{more}")


def _why_unknown(sidecar: Sidecar | None) -> str:
    if sidecar is None:
        return "has no sidecar that names its topics and texts"
    gone = [name for part in ("topics", "collection", "index", "requests") if (name := sidecar.recorded(part))]
    return (
        f"{sidecar.path} names {shown(gone)}, some of which are gone"
        if gone
        else f"{sidecar.path} names no topics and texts"
    )


def _complete(command: str, places: Mapping[str, str | Path]) -> str:
    """The complete command to type, with placeholders for what is unknown."""
    flags = dict(places)
    if not flags.keys() & set(QUERY_PARTS):
        flags["topics"] = "TOPICS.tsv"
    if not flags.keys() & set(TEXT_PARTS):
        flags["collection"] = "COLLECTION.jsonl"
    typed = " ".join(f"--{name.replace('_', '-')} {shlex.quote(str(place))}" for name, place in flags.items())
    return f"python -m rrarank.{command} {typed}  # or --index INDEX, or --dataset IR_DATASETS_ID"


def topics_of(places: Mapping[str, str | Path]) -> Mapping[str, str]:
    """The queries that files and data sets give; those inside a requests file come on top."""
    topic_field = str(places.get("topic_field", ""))
    if "topics" in places:
        return load_topics(places["topics"], topic_field)
    return {} if "requests" in places or "dataset" not in places else load_topics(places["dataset"], topic_field)


def sources_of(places: Mapping[str, str | Path]) -> list[Source]:
    """The sources of texts in the order in which they are asked."""
    sources: list[Source] = []
    if "collection" in places:
        sources.append(Collection(Path(places["collection"])))
    if "dataset" in places:
        sources.append(IrDatasetsTexts(_id(places["dataset"])))
    if "index" in places:
        index = places["index"]
        sources.append(LuceneTexts(index) if isinstance(index, Path) else IrDatasetsTexts(index))
    return sources


def _id(place: str | Path) -> str:
    """An id as it is: whether a sidecar or a user named it decides whether it may be downloaded."""
    return place if isinstance(place, str) else str(place)


def check_matches(run: Run, topics: Mapping[str, str], texts: Mapping[str, str], depth: int) -> None:
    """Warn of what has no topic or no text, and refuse a run in which nothing has."""
    without = [qid for qid in run if qid not in topics]
    if without and len(without) == len(run):
        seen = f"none of its queries ({shown(run, 2)}) has a topic ({shown(topics, 2)})"
        raise RrarankError(f"run: {seen}; are the ids of one kind?")
    wanted = dict.fromkeys(hit.docid for qid in run if qid in topics for hit in run[qid][:depth])
    missing = [docid for docid in wanted if docid not in texts]
    if missing and len(missing) == len(wanted):
        seen = f"none of its candidates ({shown(missing, 2)}) has a text"
        raise RrarankError(f"run: {seen}; does the collection belong to it, and are the ids of one kind?")
    lacking = (("queries have no topic", without, run), ("candidates have no text", missing, wanted))
    counts = [f"{len(some):,} of {len(known):,} {what} ({shown(some)})" for what, some, known in lacking if some]
    if counts:
        warn(f"run: {' and '.join(counts)}; they keep their first-stage order")


def _check_missing(missing: Sequence[str], part: str, run: Path, places: Mapping[str, str | Path]) -> None:
    """Refuse a run with queries that have no topic, or documents that have no text."""
    if missing:
        what, names = ("queries", QUERY_PARTS) if part.startswith("topic") else ("documents", TEXT_PARTS)
        asked = ", ".join(str(places[name]) for name in names if name in places) or "what was given"
        raise RrarankError(
            f"{run}: {len(missing):,} {what} have no {part} in {asked} ({shown(missing)}); "
            "give their source too, or skip_missing (--skip-missing) to leave them in first-stage order"
        )
