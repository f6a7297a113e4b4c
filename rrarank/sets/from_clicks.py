"""A distillation set from what users clicked, freed of the bias of places by a click model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rrarank.data.click_logs import ClickColumns, open_log
from rrarank.data.distillation_set import write_set
from rrarank.data.impressions import Impression, Rules, check_experiment, check_rules, impressions, keep
from rrarank.data.types import Candidate, LabelledRanking, Query, Run, is_blank
from rrarank.errors import RrarankError, say
from rrarank.measures.click_models import ClickModel, fit
from rrarank.sources.inputs import Origins, load_run, places_of, sources_of, topics_of
from rrarank.sources.texts import gather
from rrarank.storage.files import find, is_file
from rrarank.storage.sidecar import check_output, write_sidecar


@dataclass(frozen=True)
class Evidence:
    """When clicks say something of a document.

    Args:
        model: the click model, as in `click_models.fit`.
        looks: a document without a click is missing if it was looked at so often, in expectation, and else unknown.
        prior: looks with the mean number of clicks that each document has before any are counted.
    """

    model: str = "pbm"
    looks: float = 3.0
    prior: float = 1.0


@dataclass(frozen=True)
class ClickSetJob:
    """What to read, and what to write.

    Args:
        log: as in `OnlineJob`, with `experiment`, `columns` and `rules`.
        origins: where the documents' texts are, and the queries' where the log has none.
        run: the first stage, whose candidates that nobody was shown are unknown; empty: only what was shown.
        depth: of the run.
    """

    log: str | Path
    output: str
    origins: Origins = field(default_factory=Origins)
    experiment: str = ""
    columns: ClickColumns | None = None
    rules: Rules = field(default_factory=Rules)
    evidence: Evidence = field(default_factory=Evidence)
    run: str | Path = ""
    depth: int = 100
    overwrite: bool = False


def set_from_clicks(job: ClickSetJob) -> list[LabelledRanking]:
    """Write a set whose teacher is the users: one label for each query of the log that somebody clicked on.

    Documents are listed by their clicks per look; what was looked at often enough and is below the mean is missing;
    what was hardly looked at, or not shown, is unknown.

    Raises:
        RrarankError: the output exists, a number is out of range, the log is malformed, has no such experiment or no
            clicks, or no query has text.
    """
    check_output(job.output, job.overwrite, [job.log], packed=True)
    _check(job)
    log = open_log(job.log, job.columns)
    if job.experiment:
        check_experiment(log, job.experiment, job.log)
    everyone, _ = impressions(log, job.experiment)
    found = [one for one in keep(everyone, job.rules).impressions if one.name]
    model = fit(found, job.evidence.model)
    run, places = _first_stage(job)
    queries = _queries(found, topics_of(places) if places.keys() & {"topics", "dataset"} else {})
    documents = _documents(found, run, job.depth)
    texts = gather(sources_of(places), {docid for own in documents.values() for docid in own})
    labels = list(_labels(queries, documents, texts, model, job.evidence))
    if not labels:
        raise RrarankError(
            f"{job.log}: none of its {len(documents):,} queries has a text, clicks, and texts of documents"
        )
    write_set(job.output, labels)
    say(f"{job.output}: {len(labels):,} of {len(documents):,} queries, from {len(found):,} impressions")
    _describe(job, model, labels, places)
    return labels


def _check(job: ClickSetJob) -> None:
    if not job.evidence.looks >= 0:
        raise RrarankError(f"--looks {job.evidence.looks:g}: expected 0 looks or more")
    check_rules(job.rules)


def _first_stage(job: ClickSetJob) -> tuple[Run, Mapping[str, str | Path]]:
    if not job.run:
        return Run({}), places_of(job.origins)
    file, places = load_run(find(job.run, "runs"), job.origins)
    return file.run, places


def _queries(found: Sequence[Impression], topics: Mapping[str, str]) -> dict[str, str]:
    """Query's name -> its text: the topics', else the log's."""
    logged = {one.name: one.query.user_query for one in found if one.query.user_query}
    return {one.name: topics.get(one.name, logged.get(one.name, "")) for one in found}


def _documents(found: Sequence[Impression], run: Run, depth: int) -> dict[str, list[str]]:
    """Query's name -> documents shown, in the order in which they first were, then those of the first stage."""
    documents: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for one in found:
        documents[one.name].update(dict.fromkeys(one.query.shown))
    for name, own in documents.items():
        own.update(dict.fromkeys(hit.docid for hit in run.get(name, ())[:depth]))
    return {name: list(own) for name, own in documents.items()}


def _labels(
    queries: Mapping[str, str],
    documents: Mapping[str, Sequence[str]],
    texts: Mapping[str, str],
    model: ClickModel,
    evidence: Evidence,
) -> Iterator[LabelledRanking]:
    for number, (name, docids) in enumerate(documents.items(), start=1):
        known = [docid for docid in docids if not is_blank(texts.get(docid, ""))]
        if is_blank(queries[name]) or not any(model.clicked.get((name, docid)) for docid in known):
            continue
        qid = name if " " not in name else f"query-{number}"
        yield _label(Query(qid, queries[name]), name, {docid: texts[docid] for docid in known}, model, evidence)


def _label(query: Query, name: str, texts: Mapping[str, str], model: ClickModel, evidence: Evidence) -> LabelledRanking:
    value = {docid: model.attraction((name, docid), evidence.prior) for docid in texts}
    looks = {docid: model.examined.get((name, docid), 0.0) for docid in texts}
    clicked = {docid for docid in texts if model.clicked.get((name, docid))}
    enough = {docid for docid in texts if docid in clicked or looks[docid] >= evidence.looks}
    best = sorted(enough, key=lambda docid: -value[docid])
    listed = tuple(docid for docid in best if docid in clicked and value[docid] >= model.mean)
    listed = listed or tuple(docid for docid in best if docid in clicked)[:1]
    provenance = {
        "teacher": "clicks",
        "rule": "clicks per look, by a click model",
        "model": model.name,
        "looks": {docid: round(looks[docid], 3) for docid in best},
        "clicks": {docid: model.clicked[name, docid] for docid in best if docid in clicked},
    }
    return LabelledRanking(
        query,
        tuple(Candidate(docid, text, value[docid]) for docid, text in texts.items()),
        listed,
        tuple(docid for docid in best if docid not in listed),
        tuple(docid for docid in texts if docid not in enough),
        provenance=provenance,
    )


def _describe(
    job: ClickSetJob, model: ClickModel, labels: Sequence[LabelledRanking], places: Mapping[str, str | Path]
) -> None:
    if not is_file(job.output):
        return
    config = {"evidence": asdict(job.evidence), "rules": asdict(job.rules), "experiment": job.experiment}
    pairs = {kind: sum(len(getattr(one, kind)) for one in labels) for kind in ("listed", "missing", "unknown")}
    looked = [round(one, 4) for one in model.examination]
    inputs = {name: place for name, place in places.items() if name != "topic_field"}
    inputs |= {} if Path(job.log).is_dir() else {"log": job.log}
    facts = {"config": config, "teacher": f"clicks: {model.name}", "examination": looked, "documents": pairs}
    write_sidecar(Path(job.output), inputs=inputs, **facts)
