"""What interpolation with the first stage gives: the first stage, the student alone, and both joined.

    python -m benchmarks quality interpolation --data DL19 --runs bm25 splade-pp … [--weights 0.75] [--rule auto]
        [--topics topics.tsv] [--qrels qrels.txt] [--reranker NAME] [--model MODEL] [--scored RUN] [--cells FILE]

DATA holds corpus.jsonl.gz, topics, qrels and runs/NAME.trec; a run is such a NAME or a file. Each run's top candidates
are scored once; the weights and the rule (as the default of `rerank`, and as `--interpolate auto`) are applied to the
same scores. Intervals are over queries, of the differences to the first stage and to the student; p-values are by
Fisher's randomisation, with Holm's correction over a column.
`--scored` takes the student's scores from a run that it re-ranked before, such as the union of all first stages.
`--cells` keeps what `quality interpolation_rule` learns from.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.common import machine, show
from rrarank import Origins, Reranker, Run, load_inputs, load_reranker, read_qrels, read_run, rerank_run
from rrarank.data.trec import best_first
from rrarank.data.types import Hit, Qrels
from rrarank.engine.first_stage import kind_of
from rrarank.engine.interpolation import Interpolation, interpolate, mean_agreement
from rrarank.engine.interpolation_files import read_interpolation
from rrarank.errors import say
from rrarank.measures.significance import Comparison, compare, holm
from rrarank.measures.values import per_query_scores
from rrarank.rerank.weights import AUTO, carried_by
from rrarank.storage.files import stem

MEASURE = "ndcg@10"
GRID = [round(place / 20, 2) for place in range(21)]


def main() -> None:
    parser = argparse.ArgumentParser(description="nDCG@10 of a first stage, of the student, and of both joined.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", nargs="+", required=True, metavar="NAME")
    parser.add_argument("--topics", default="topics.tsv", help="in DATA, as --qrels")
    parser.add_argument("--qrels", default="qrels.txt")
    parser.add_argument("--weights", nargs="+", type=float, default=[])
    parser.add_argument("--rule", default="", help="auto, or a file that holds a rule")
    parser.add_argument("--norm", default="z-score")
    parser.add_argument("--reranker", default="rra-bert")
    parser.add_argument("--model", default="")
    parser.add_argument("--scored", type=Path, help="a run that the student re-ranked before, with all candidates")
    parser.add_argument("--depth", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument(
        "--cells", type=Path, help="append the values of every weight and the agreement, a line a query"
    )
    flags = parser.parse_args()
    qrels = read_qrels(flags.data / flags.qrels)
    settings = {"model": flags.model or None, "threads": flags.threads, "precision": flags.precision}
    reranker = None if flags.scored else load_reranker(flags.reranker, **settings)
    ways = {f"W {weight:g}": Interpolation(weight, flags.norm) for weight in flags.weights}
    if flags.rule:
        path = carried_by(flags.reranker, settings) if flags.rule == AUTO else Path(flags.rule)
        assert path, "this model carries no rule"
        auto = read_interpolation(path).interpolation()
        ways = {"default": by_default(auto), "auto": auto, **ways}
    cells = []
    for name in flags.runs:
        say(name)
        cells.append(scored(flags, name, qrels, reranker))
        if flags.cells:
            keep(flags.cells, flags.data.name, cells[-1])
    rows = [row(cell, ways) for cell in cells]
    show([one.means for one in rows], {}, default=".3f")
    for name in ways:
        show(differences(rows, name), {}, default=".3f")
    facts = {**machine(flags.threads), "precision": flags.precision}
    print("; ".join(f"{key} {value}" for key, value in facts.items()))


def by_default(auto: Interpolation) -> Interpolation:
    """As `rerank` does unless it is told otherwise: the student alone over any but learned first stages."""
    return replace(auto, rule=auto.rule and replace(auto.rule, lexical=1.0, agreeing=1.0, differing=1.0))


@dataclass(frozen=True)
class Cell:
    """A first stage and what the student made of it; only judged queries.

    Args:
        kind: of the first stage, as its sidecar or tag says; empty: unknown.
    """

    name: str
    kind: str
    qrels: Qrels
    first: Mapping[str, Sequence[Hit]]
    own: Mapping[str, Sequence[Hit]]

    def values(self, how: Interpolation) -> Mapping[str, float]:
        how = replace(how, first_stage=self.kind).settled(self.own, self.first)
        run = Run({qid: interpolate(self.own[qid], hits, how) for qid, hits in self.first.items()})
        return per_query_scores(self.qrels, run, [MEASURE])[MEASURE]


def scored(flags: argparse.Namespace, name: str, qrels: Qrels, reranker: Reranker | None) -> Cell:
    path = Path(name) if Path(name).is_file() else flags.data / "runs" / f"{name}.trec"
    if reranker is None:
        return read_scored(path, flags.scored, flags.depth, qrels)
    origins = Origins(topics=flags.data / flags.topics, collection=flags.data / "corpus.jsonl.gz")

    def judged(run: Run) -> Run:
        return Run({qid: run[qid][: flags.depth] for qid in run if qid in qrels and run[qid]})

    inputs = load_inputs(path, origins, depth=flags.depth, skip_missing=True, part=judged)
    own = rerank_run(
        inputs.run,
        reranker,
        topics=inputs.topics,
        texts=inputs.texts,
        depth=flags.depth,
        top_k=flags.depth,
        interpolation=Interpolation(),
    )
    known = {qid: qrels[qid] for qid in inputs.run}
    return Cell(stem(path), kind_of(path, inputs.run.tag), known, inputs.run, own)


def read_scored(path: Path, scores: Path, depth: int, qrels: Qrels) -> Cell:
    """The candidates that the run of scores holds; its queries only."""
    after = {qid: dict(hits) for qid, hits in read_run(scores).items() if qid in qrels}
    run = read_run(path)
    first = {qid: [hit for hit in run[qid][:depth] if hit.docid in after[qid]] for qid in run if qid in after}
    first = {qid: hits for qid, hits in first.items() if hits}
    asked, found = (sum(len(one[qid][:depth]) for qid in first) for one in (run, first))
    say(f"{found:,} of {asked:,} candidates have a score")
    own = {qid: best_first(Hit(hit.docid, after[qid][hit.docid]) for hit in hits) for qid, hits in first.items()}
    return Cell(stem(path), kind_of(path, run.tag), {qid: qrels[qid] for qid in first}, first, own)


def keep(path: Path, data: str, cell: Cell) -> None:
    curve = [cell.values(Interpolation(weight)) for weight in GRID]
    with path.open("a", encoding="utf-8") as file:
        for qid, hits in cell.first.items():
            agreement = mean_agreement({qid: cell.own[qid]}, {qid: hits})
            values = [round(one[qid], 5) for one in curve]
            about = {"set": data, "first": cell.name, "kind": cell.kind, "qid": qid, "agreement": round(agreement, 4)}
            file.write(json.dumps({**about, "values": values}) + "\n")


@dataclass(frozen=True)
class Row:
    means: Mapping[str, Any]
    compared: Mapping[tuple[str, str], Comparison]


def row(cell: Cell, ways: Mapping[str, Interpolation]) -> Row:
    """The means of all ways, and each way's differences to the first stage and to the student."""
    values = {"itself": cell.values(Interpolation(0.0)), "student": cell.values(Interpolation(1.0))}
    joined = {name: cell.values(how) for name, how in ways.items()}
    means = {name: sum(found.values()) / len(found) for name, found in (values | joined).items()}
    compared = {
        (name, other): compare(name, MEASURE, list(found.values()), list(values[other].values()))
        for name, found in joined.items()
        for other in values
    }
    about = {"kind": cell.kind, "agreement": mean_agreement(cell.own, cell.first), "ms a query": milliseconds(cell)}
    return Row({"first stage": cell.name, "queries": len(cell.first), **means, **about}, compared)


def milliseconds(cell: Cell) -> float:
    """Processor time of agreement and interpolation together."""
    started = time.process_time()
    mean_agreement(cell.own, cell.first)
    for qid, hits in cell.first.items():
        interpolate(cell.own[qid], hits, Interpolation(0.5))
    return (time.process_time() - started) / len(cell.first) * 1000


def differences(rows: Sequence[Row], name: str) -> list[dict[str, object]]:
    """A table: the way minus the first stage, minus the student; p corrected over the rows."""
    found: list[dict[str, object]] = [{"first stage": one.means["first stage"]} for one in rows]
    for other in ("itself", "student"):
        compared = [one.compared[name, other] for one in rows]
        for cells, one, p in zip(found, compared, holm([one.fisher for one in compared]), strict=True):
            reading = replace(one, fisher_holm=p).reading
            cells[f"{name} - {other}"] = f"{one.mean:+.3f} [{one.low:+.3f}, {one.high:+.3f}]"
            cells[f"p ({other})"] = f"{p:.2g}, {reading}"
    return found


if __name__ == "__main__":
    main()
