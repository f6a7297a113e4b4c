"""The judgments, runs, queries and texts of a judging job, and the documents that it asks about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rrarank.data.judges import Judgments
from rrarank.data.run_files import RunFile
from rrarank.data.types import Run, is_blank
from rrarank.errors import RrarankError, say, shown
from rrarank.judge.pool import Pair, judged, pool, sample, unjudged
from rrarank.sources.inputs import QUERY_PARTS, TEXT_PARTS, Origins, load_run, places_of, sources_of, topics_of
from rrarank.sources.names import file_or_id
from rrarank.sources.texts import InlineTexts, gather, load_judgments
from rrarank.storage.files import stem


@dataclass(frozen=True)
class Pooling:
    """Which documents are graded.

    Args:
        depth: how deep each run is pooled.
        unjudged: grade the documents of the pool that nobody judged.
        sample: grade so many judged documents of the pool too (without runs: of all judgments), to measure agreement.
        seed: draws the sample.
    """

    depth: int = 10
    unjudged: bool = True
    sample: int = 0
    seed: int = 42

    def __post_init__(self) -> None:
        if self.depth < 1 or self.sample < 0:
            raise RrarankError(f"depth {self.depth} and sample {self.sample}: expected 1 or more, and 0 or more")
        if not self.unjudged and not self.sample:
            raise RrarankError("nothing to grade: neither unjudged documents nor a sample of judged ones is asked for")


@dataclass(frozen=True)
class JudgeInputs:
    """What a judging job works on.

    Args:
        pairs: the documents to grade; `sampled` ones have a judgment already.
        origins: name -> file, index folder or data set id, for the sidecar.
    """

    judgments: Judgments
    runs: Mapping[str, Run]
    pairs: Sequence[Pair]
    sampled: frozenset[Pair]
    topics: Mapping[str, str]
    texts: Mapping[str, str]
    origins: Mapping[str, str | Path]


def load_judge_inputs(
    qrels: str, runs: Sequence[str], origins: Origins, pooling: Pooling, *, skip_missing: bool = False
) -> JudgeInputs:
    """Read judgments and runs, choose the documents, and gather their queries and texts.

    Raises:
        RrarankError: a file is malformed, topics or texts are unknown or missing, or nothing is left to grade.
    """
    place = file_or_id(qrels, "qrels") if qrels else ""
    judgments = load_judgments(place) if place else Judgments({}, {})
    _check(pooling, runs, judgments, qrels)
    loaded = {run: load_run(run, origins) for run in runs}
    sources = list(loaded.values()) or [(RunFile(Run({})), places_of(origins))]
    for name, (_, places) in zip([*loaded] or [qrels], sources, strict=True):
        _check_known(name, places)
    topics = _topics(loaded) if loaded else dict(topics_of(sources[0][1]))
    people = judgments.people
    pooled = pool((file.run for file, _ in sources), pooling.depth) if runs else _all_pairs(people)
    wanted = unjudged(pooled, judgments.every) if pooling.unjudged and runs else []
    drawn_from = judged(pooled, people) if pooling.sample else []
    texts = _texts(sources, {pair.docid for pair in [*wanted, *drawn_from]})
    known = {pair for pair in [*wanted, *drawn_from] if pair.qid in topics and pair.docid in texts}
    if (without := [pair for pair in wanted if pair not in known]) and not skip_missing:
        raise RrarankError(
            f"{len(without):,} of {len(wanted):,} unjudged documents have no text, or their query no topic "
            f"({shown(map(' '.join, without))}); give their source too, or --skip-missing to leave them out"
        )
    found = [pair for pair in drawn_from if pair in known]
    _say_left_out(without, len(drawn_from) - len(found), pooled, people)
    drawn = sample(found, people, pooling.sample, pooling.seed)
    pairs = [pair for pair in wanted if pair in known] + drawn
    if not pairs:
        raise RrarankError(f"nothing to grade: {_why_nothing(pooling, runs)}")
    origin = ({"qrels": place} if place else {}) | _origins(loaded or {qrels: sources[0]})
    named = {_name(run, runs): file.run for run, (file, _) in loaded.items()}
    return JudgeInputs(judgments, named, pairs, frozenset(drawn), topics, texts, origin)


def _check(pooling: Pooling, runs: Sequence[str], judgments: Judgments, qrels: str) -> None:
    if pooling.unjudged and not runs:
        raise RrarankError("--runs is needed: their top documents are graded; or give --sample N to grade judged ones")
    if pooling.sample and not judgments.people:
        where = f"{qrels}: an LLM made all of its judgments" if qrels else "--sample without --qrels"
        raise RrarankError(f"{where}; a sample is drawn from people's judgments")


def _check_known(name: str, places: Mapping[str, object]) -> None:
    if not (places.keys() & set(QUERY_PARTS) and places.keys() & set(TEXT_PARTS)):
        raise RrarankError(
            f"{name}: no sidecar names its topics and texts; give --topics TOPICS.tsv and --collection TEXTS.jsonl, "
            "or --index INDEX, or --dataset IR_DATASETS_ID"
        )


def _topics(loaded: Mapping[str, tuple[RunFile, Mapping[str, str | Path]]]) -> dict[str, str]:
    topics: dict[str, str] = {}
    for run, (file, places) in loaded.items():
        for qid, query in {**file.topics, **topics_of(places)}.items():
            if query and topics.setdefault(qid, query) != query:
                raise RrarankError(f"{run}: query {qid!r} has another text than in an earlier run; give --topics")
    return topics


def _all_pairs(people: Mapping[str, Mapping[str, int]]) -> dict[Pair, None]:
    return {Pair(qid, docid): None for qid, grades in people.items() for docid in grades}


def _texts(sources: Sequence[tuple[RunFile, Mapping[str, str | Path]]], wanted: set[str]) -> dict[str, str]:
    """docid -> text that is not blank."""
    places = {str(sorted(map(str, places.items()))): places for _, places in sources}
    readers = [source for one in places.values() for source in sources_of(one)]
    store = gather([*readers, *(InlineTexts(file.texts) for file, _ in sources if file.texts)], wanted)
    return {docid: text for docid, text in store.items() if not is_blank(text)}


def _say_left_out(
    without: Sequence[Pair], untold: int, pooled: Mapping[Pair, None], people: Mapping[str, object]
) -> None:
    if without:
        say(f"{len(without):,} unjudged documents have no text or no topic and are left out")
    if untold:
        say(f"{untold:,} judged documents have no text or no topic; the sample is drawn from the others")
    if people and (others := dict.fromkeys(pair.qid for pair in pooled if pair.qid not in people)):
        say(f"{len(others):,} queries of the runs have no judgment and are left out ({shown(others)})")


def _why_nothing(pooling: Pooling, runs: Sequence[str]) -> str:
    top = f"the top {pooling.depth} of {len(runs)} runs" if runs else "the judgments"
    return f"{top} hold no {'judged' if pooling.sample else 'unjudged'} document; give another --depth, or other --runs"


def _origins(loaded: Mapping[str, tuple[RunFile, Mapping[str, str | Path]]]) -> dict[str, str | Path]:
    """Each place once: the runs as run-1, run-2, …; a second collection as collection-2."""
    found: dict[str, str | Path] = {}
    for number, (_, places) in enumerate(loaded.values(), start=1):
        for name, place in places.items():
            if name == "run":
                found[f"run-{number}"] = place
            elif found.setdefault(name, place) != place:
                found[f"{name}-{number}"] = place
    return found


def _name(run: str, runs: Sequence[str]) -> str:
    """The run's name in tables: its file stem, or the whole path where two stems are equal."""
    return stem(run) if [stem(one) for one in runs].count(stem(run)) == 1 else run
