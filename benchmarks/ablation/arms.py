"""What does each part of RRA-BERT add? Students that differ in one thing each, on the same queries, for as many steps.

    python -m benchmarks ablation arms --data DATA --base MODEL_FOLDER --work DIR [--arms A B …] [--seeds 1 2 3]

DATA holds dl21/, dl22/ and nq/: passages, topics, judgments, BM25 runs, participants' runs. All students start from
MODEL_FOLDER, a student that was warmed up, and learn from dl22's BM25 candidates in the order of its participants'
runs, fused; `configs/*.yaml` says what each arm is. They are measured on dl21's BM25 top 100, where choices are made.
The same command goes on where it was stopped; the tables hold every arm and seed that is scored in DIR.

Beside the method's arms stand those of what a teacher leaves out. `drop` and `random` treat it otherwise than C.
`tied-80` and the like learn from simulated omissions: as many documents in all of them, 80 % of which were missing, and
the rest listed. `A-20` and the like learn from the first 20 lists, as often as needed for as many steps.
"""

from __future__ import annotations

import argparse
import math
import random
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.ablation.graph import load_graph
from benchmarks.ablation.tables import (
    CURVES,
    LISTS,
    PRECISIONS,
    Board,
    Grid,
    Measured,
    Report,
    as_json,
    board_facts,
    markdown,
    pooled,
)
from rrarank.cli.parser import positive
from rrarank.cli.verbs import run_verb
from rrarank.data.distillation_set import pairs, read_set, teacher_name, write_set
from rrarank.data.types import Hit, LabelledRanking, Qrels, Ranking, Run, ranking_of
from rrarank.engine.blocks import RerankConfig, rerank_queries
from rrarank.engine.registry import load_reranker
from rrarank.engine.reranker import reorder
from rrarank.errors import RrarankError, say
from rrarank.label import __main__ as label
from rrarank.measures.scores import random_floor
from rrarank.measures.values import judged_at, per_query_scores
from rrarank.sets.statistics import statistics
from rrarank.sources.collection import Collection
from rrarank.sources.inputs import Origins, load_inputs
from rrarank.sources.texts import gather, load_qrels
from rrarank.storage.files import atomic_write
from rrarank.storage.journal import Journal, work_key
from rrarank.storage.model_folders import locate, quiet
from rrarank.storage.sidecar import read_sidecar, versions
from rrarank.train.card import recipe
from rrarank.train.config import TrainConfig, load_config
from rrarank.train.lists import Treatment, training_list
from rrarank.train.trainer import read_logs, read_sets, train_stages


@dataclass(frozen=True)
class Arm:
    """What a student learns from and how, apart from the seed.

    Args:
        config: its file in configs/.
        set: in place of the configuration's; empty: as there. So too `missing`.
        lists: how many of the set's, from its first; 0 for all. The steps stay as many.
    """

    what: str
    config: str
    set: str = ""
    missing: Treatment | None = None
    lists: int = 0


METHOD = {
    "A": Arm("RankGPT (bert)", "a"),
    "B": Arm("A with top-bottom selection", "b"),
    "C": Arm("B with missing as hard negatives", "c"),
    "D": Arm("C with TS and TCL: RRA-BERT", "d"),
    "D1": Arm("D, TCL over all tokens", "d1"),
    "D2": Arm("D, TCL over as many random tokens", "d2"),
    "D3": Arm("D, TCL over [CLS] and the query", "d3"),
    "naive": Arm("binary relevance of nq's questions, no label of a teacher", "bert-naive"),
}
TREATMENTS: Mapping[str, Treatment] = {
    "tied": "hard-negative",
    "re-append": "re-append",
    "drop": "drop",
    "random": "random",
}
OMISSIONS = {
    f"{name}-{share}": Arm(f"C, {share} % of what is left out belongs below: {missing}", "c", f"omit-{share}", missing)
    for share in PRECISIONS
    for name, missing in TREATMENTS.items()
}
CURVE = {
    f"{arm}-{lists}": replace(METHOD[arm], what=f"{arm}, {lists} lists", lists=lists)
    for lists in LISTS
    for arm in CURVES
}
ARMS = METHOD | {
    "drop": Arm("C, missing dropped", "c", missing="drop"),
    "random": Arm("C, missing below in random order", "c", missing="random"),
    **OMISSIONS,
    **CURVE,
}
SETS = {
    "top": ["--preranker", "bm25", "--k-top", "20", "--k-bottom", "0"],
    "top-bottom": ["--preranker", "bi-encoder", "--k-top", "10", "--k-bottom", "10"],
}
SHOWN = ["--depth", "50"]
DEPTH = 100  # candidates that are scored


def main() -> int:
    parser = argparse.ArgumentParser(description="Train the arms, score them, tell them apart.")
    parser.add_argument("--data", type=Path, required=True, metavar="DATA", help="folder of dl21, dl22, …")
    parser.add_argument("--base", required=True, metavar="MODEL_FOLDER", help="the warm-up that all arms start from")
    parser.add_argument("--work", type=Path, required=True, metavar="DIR", help="sets, trained graphs, scores")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(METHOD), help="default: the method's")
    parser.add_argument("--seeds", nargs="+", type=positive, default=[1, 2, 3])
    parser.add_argument(
        "--output", metavar="JSON", help="file to write, anew after every seed; the tables go to stdout"
    )
    parser.add_argument("--nq-set", metavar="SET", help="what `naive` learns from: nq's questions with judgments")
    parser.add_argument("--report", action="store_true", help="measure on DL19, a test set, too: choose nothing by it")
    parser.add_argument("--nq-run", metavar="RUN", help="BM25 run of nq's dev questions: measure MRR@10 on them too")
    parser.add_argument("--nq-queries", type=positive, metavar="N", help="only the first N of that run")
    parser.add_argument(
        "--trial", type=positive, metavar="N", help="only N queries of everything, to try the machinery"
    )
    parser.add_argument("--threads", type=positive, default=0, metavar="N", help="CPU threads")
    return run_verb(experiment, parser, None)


def experiment(flags: argparse.Namespace) -> None:
    locate(flags.base)  # before any work
    if not (flags.data / "dl22").is_dir():
        raise RrarankError(f"{flags.data}: no folder dl22 in it; give --data, which holds dl21, dl22, …")
    with redirect_stdout(sys.stderr), quiet():  # stdout is for the tables
        labels = make_sets(flags)
        judged = [(one, references(one, flags)) for one in judged_sets(flags)]
        for seed in flags.seeds:  # outermost: a grid that is stopped holds whole seeds
            for arm in flags.arms:
                student = Cell.of(arm, seed, flags)
                train(student, flags.threads)
                for one, _ in judged:
                    score(student, one, flags.threads)
            found = report(judged, labels, flags)
            if flags.output:
                with atomic_write(flags.output) as file:
                    file.write(as_json(found))
    print(markdown(found))


# -- the two sets -----------------------------------------------------------------------------------------------------


def make_sets(flags: argparse.Namespace) -> dict[str, list[LabelledRanking]]:
    """All sets, of the queries with a pair to learn from in both of `SETS`; so every arm takes as many steps."""
    work = flags.work
    for name, how in SETS.items():
        label_set(flags.data / "dl22", work / f"{name}.all.jsonl", how, flags.trial)
    asked = {name: read_set(work / f"{name}.all.jsonl") for name in SETS}
    teaching = ({one.query.qid for one in labels if any(pairs(one))} for labels in asked.values())
    common = set.intersection(*teaching)
    kept = {name: [one for one in labels if one.query.qid in common] for name, labels in asked.items()}
    for share in PRECISIONS:
        kept[f"omit-{share}"] = [with_omissions(one, share / 100) for one in kept["top-bottom"]]
    if flags.nq_set:
        kept["nq"] = read_set(Path(flags.nq_set))[: len(common)]
    for name, labels in kept.items():
        write_set(work / f"{name}.jsonl", labels)  # equal labels give equal bytes
    return kept


def with_omissions(label: LabelledRanking, precision: float) -> LabelledRanking:
    """The label as if the teacher had left out some listed documents and fewer missing ones.

    As many are left out at every precision: what the lowest one allows if two listed ones stay. What is no longer
    missing becomes unknown.
    """
    left_out = min(len(label.missing), int((len(label.listed) - 2) / (1 - min(PRECISIONS) / 100)))
    if left_out < 1:
        return replace(label, missing=(), unknown=(*label.unknown, *label.missing))
    draw = random.Random(label.query.qid)  # the same order at every precision
    wrong, right = draw.sample(label.listed, len(label.listed)), draw.sample(label.missing, len(label.missing))
    slips = round((1 - precision) * left_out)
    missing = {*wrong[:slips], *right[: left_out - slips]}
    return replace(
        label,
        listed=tuple(docid for docid in label.listed if docid not in missing),
        missing=tuple(candidate.docid for candidate in label.shown if candidate.docid in missing),
        unknown=(*label.unknown, *(docid for docid in label.missing if docid not in missing)),
    )


def label_set(folder: Path, output: Path, how: Sequence[str], trial: int | None) -> None:
    sidecar = read_sidecar(output) if output.is_file() else None
    if sidecar:
        for name in sidecar.content["inputs"]:
            sidecar.input(name)  # refuses one that has changed since
        if sidecar.content["config"]["limit"] != trial:
            raise RrarankError(f"{output}: made with another --trial; give another --work")
        return
    flags = ["--run", folder / "runs" / "bm25.trec", "--topics", folder / "topics.tsv"]
    flags += ["--collection", folder / "corpus.jsonl.gz", *SHOWN, *how, "--output", output, "--overwrite"]
    flags += ["--teacher", "runs", "--teacher-runs", *sorted((folder / "teacher-runs").glob("*.trec.gz"))]
    if code := label.main([*map(str, flags), *(["--limit", str(trial)] if trial else [])]):
        sys.exit(code)


# -- students ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """One student of the grid.

    Args:
        folder: its checkpoints, its trained graph, its scores.
    """

    arm: str
    seed: int
    config: TrainConfig
    folder: Path

    @classmethod
    def of(cls, arm: str, seed: int, flags: argparse.Namespace) -> Cell:
        about = ARMS[arm]
        config = load_config(str(Path(__file__).parent / "configs" / f"{about.config}.yaml"))
        [stage] = config.stages
        names = (f"{about.set}.jsonl",) if about.set else stage.sets
        stage = replace(stage, sets=tuple(str(flags.work / name) for name in names))
        stage = replace(stage, missing=about.missing or stage.missing)
        if about.lists:
            whole = len(read_set(Path(stage.sets[0])))
            lists = min(about.lists, whole)
            stage = replace(stage, max_queries=lists, epochs=stage.epochs * whole / lists)
        config = replace(config, base=str(flags.base), stages=(stage,), seed=seed)
        return cls(arm, seed, config, flags.work / arm / f"seed-{seed}")

    @property
    def trained(self) -> bool:
        return (self.folder / f"stage-{len(self.config.stages)}" / "done.safetensors").is_file()

    @cached_property
    def identity(self) -> str:
        return work_key(recipe(self.config, read_sets(self.config)))

    def key(self, ranking: Ranking) -> str:
        """Of its scores: those of another training, list or text are not taken for it."""
        texts = [[candidate.docid, candidate.text] for candidate in ranking.candidates]
        return work_key("arms", self.identity, ranking.query.qid, ranking.query.text, texts)

    def scores(self, judged: Judged) -> Path:
        return self.folder / f"{judged.name}.scores"


def train(student: Cell, threads: int) -> None:
    if student.trained:
        return

    def follow(entry: Mapping[str, Any]) -> None:
        if "loss" in entry:
            say(
                f"{student.arm} seed {student.seed}: step {entry['step']} of {entry['steps']}, loss {entry['loss']:.4g}"
            )

    train_stages(student.config, student.folder, threads=threads, follow=follow)
    for checkpoint in student.folder.glob("stage-*/checkpoint-*"):  # the graph stays; they are thrice its size
        shutil.rmtree(checkpoint)


def score(student: Cell, judged: Judged, threads: int) -> None:
    """(s_base, s_TCL) of every query's candidates, from the trained graph, into a journal."""
    journal = Journal(student.scores(judged))
    unscored = [ranking for ranking in judged.rankings if student.key(ranking) not in journal]
    if unscored:
        graph = load_graph(student.config, student.folder, threads=threads)
        name = f"{student.arm} seed {student.seed}, {judged.name}"
        for ranking in tqdm(unscored, unit=" queries", desc=name, disable=None):
            found = graph.score(ranking)
            journal.add(student.key(ranking), [found.base, found.term])
    journal.close()


# -- what they are measured on ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judged:
    """A first stage whose candidates are scored, with its judgments.

    Args:
        texts: how many of the judged passages have one.
    """

    name: str
    measure: str
    rankings: Sequence[Ranking]
    qrels: Qrels
    texts: str

    @property
    def first_stage(self) -> list[list[float]]:
        """Its scores."""
        return [[candidate.score for candidate in ranking.candidates] for ranking in self.rankings]

    def ordered(self, scores: Sequence[Sequence[float]]) -> Run:
        """The candidates of each query by these scores, one a candidate."""
        ranked = [reorder(*one) for one in zip(self.rankings, scores, strict=True)]
        return Run({one.query.qid: [Hit(c.docid, c.score) for c in one.candidates] for one in ranked})


def judged_sets(flags: argparse.Namespace) -> Iterator[Judged]:
    for name in ("dl21", "dl19") if flags.report else ("dl21",):
        folder = flags.data / name
        yield load_judged(name, "ndcg@10", folder, folder / "runs" / "bm25.trec", "", flags.trial)
    if flags.nq_run:
        limit = min(filter(None, (flags.nq_queries, flags.trial)), default=None)
        yield load_judged("nq", "mrr@10", flags.data / "nq", Path(flags.nq_run), ".dev", limit)


def load_judged(name: str, measure: str, folder: Path, run: Path, part: str, limit: int | None) -> Judged:
    """Args: part: of the names of topics and judgments; limit: only so many queries, 0 for all."""
    corpus = folder / "corpus.jsonl.gz"
    inputs = load_inputs(run, Origins(folder / f"topics{part}.tsv", corpus), depth=DEPTH)
    rankings = [
        ranking_of(qid, hits[:DEPTH], inputs.topics, inputs.texts) for qid, hits in islice(inputs.run.items(), limit)
    ]
    there = {ranking.query.qid for ranking in rankings}
    known = load_qrels(folder / f"qrels{part}.txt")
    qrels = {qid: grades for qid, grades in known.items() if qid in there or not limit}  # unanswered ones count as 0
    passages = {docid for grades in qrels.values() for docid in grades}
    texts = f"{len(gather([Collection(corpus)], passages)):,} of {len(passages):,} judged passages have text"
    return Judged(name, measure, rankings, qrels, texts)


def references(judged: Judged, flags: argparse.Namespace) -> dict[str, Measured]:
    """BM25's own order, and the warm-up's as it is, if that has a head."""
    found = {"bm25": measured(judged, {"s_base": judged.first_stage})}
    settings = {"max_length": Cell.of("A", 0, flags).config.max_length, "threads": flags.threads}
    try:
        reranker = load_reranker("cross-encoder", model=str(flags.base), **settings)
    except RrarankError as error:
        say(f"no row `base`: {error}")
        return found
    topics = {ranking.query.qid: ranking.query.text for ranking in judged.rankings}
    texts = {c.docid: c.text for ranking in judged.rankings for c in ranking.candidates}
    journal, config = Journal(flags.work / f"base.{judged.name}.scores"), RerankConfig(depth=DEPTH)
    first_stage = judged.ordered(judged.first_stage)
    ranked = rerank_queries(first_stage, reranker, topics=topics, texts=texts, config=config, journal=journal)
    scores = [dict(hits) for _, hits in tqdm(ranked, unit=" queries", desc=f"base, {judged.name}", disable=None)]
    journal.close()
    given = [[s[c.docid] for c in ranking.candidates] for ranking, s in zip(judged.rankings, scores, strict=True)]
    return found | {"base": measured(judged, {"s_base": given})}


# -- values -----------------------------------------------------------------------------------------------------------


def measured(judged: Judged, scores: Mapping[str, Sequence[Sequence[float]]]) -> Measured:
    """What scores are worth: name -> query -> candidate."""
    runs = {name: judged.ordered(one) for name, one in scores.items()}
    found = {name: per_query_scores(judged.qrels, run, [judged.measure]) for name, run in runs.items()}
    values = {name: np.array(list(one[judged.measure].values())) for name, one in found.items()}
    both = correlation(scores["s_TCL"], scores["s_base"]) if "s_TCL" in scores else math.nan
    return Measured(values, judged_at(10, judged.qrels, runs["s_base"]), both)


def correlation(some: Sequence[Sequence[float]], others: Sequence[Sequence[float]]) -> float:
    """Pearson's within each query, the mean over the queries in which both vary."""
    both = [one for one in zip(some, others, strict=True) if len(one[0]) > 1 and min(np.std(one, axis=1)) > 0]
    return fmean(float(np.corrcoef(*one)[0, 1]) for one in both) if both else math.nan


def measured_student(student: Cell, judged: Judged) -> Measured | None:
    """None if it is not wholly scored."""
    if not student.scores(judged).is_file():
        return None
    journal = Journal(student.scores(judged))
    keys = [student.key(ranking) for ranking in judged.rankings]
    scores = [journal[key] for key in keys if key in journal]
    journal.close()
    if len(scores) < len(keys):
        return None
    base, terms = [one for one, _ in scores], [term for _, term in scores]
    if not student.config.term_control:
        return measured(judged, {"s_base": base})
    both = [np.add(*one).tolist() for one in scores]
    return measured(judged, {"s_base": base, "s_TCL": terms, "sum": both})


def grid(judged: Judged, flags: argparse.Namespace) -> Grid:
    """Every arm and seed that is wholly scored, whether or not it was asked for now."""
    found: dict[str, dict[int, Measured]] = {arm: {} for arm in ARMS}
    for arm, seeds in found.items():
        folders = (flags.work / arm).glob("seed-*")
        for seed in sorted(int(folder.name.removeprefix("seed-")) for folder in folders):
            if one := measured_student(Cell.of(arm, seed, flags), judged):
                seeds[seed] = one
    return found


# -- the report -------------------------------------------------------------------------------------------------------


def report(
    judged: Sequence[tuple[Judged, Mapping[str, Measured]]],
    labels: Mapping[str, Sequence[LabelledRanking]],
    flags: argparse.Namespace,
) -> Report:
    boards = [board(one, references, flags) for one, references in judged]
    seeds = {arm: sorted(set.intersection(*(set(one.grid[arm]) for one in boards))) for arm in ARMS}
    seeds = {arm: own for arm, own in seeds.items() if own or arm in METHOD}
    if flags.report:
        boards.append(pooled(boards[0], boards[1]))
    return {
        "teacher_runs": teacher_name(labels["top"][0]),
        "trial": flags.trial,
        "grid": seeds,
        "partial": any(set(flags.seeds) - set(own) for own in seeds.values()),
        "sets": {name: asdict(statistics(found)) | {"teacher": teacher(found)} for name, found in labels.items()},
        "arms": {arm: arm_facts(arm, own, labels, flags) for arm, own in seeds.items() if own},
        "boards": [board_facts(one) for one in boards],
        "versions": versions(),
    }


def board(judged: Judged, references: Mapping[str, Measured], flags: argparse.Namespace) -> Board:
    floor = random_floor(judged.qrels, judged.ordered(judged.first_stage), judged.measure)
    qids, texts = list(judged.qrels), judged.texts
    return Board(judged.name, judged.measure, qids, floor, texts, references, grid(judged, flags))


def teacher(labels: Sequence[LabelledRanking]) -> str:
    runs = labels[0].provenance.get("runs")
    return f"{len(runs)} fused TREC runs" if isinstance(runs, Sequence) else "people"


def arm_facts(
    arm: str, seeds: Sequence[int], labels: Mapping[str, Sequence[LabelledRanking]], flags: argparse.Namespace
) -> Report:
    """What a student of the arm learns from, and what its training took, by its log."""
    config = Cell.of(arm, 0, flags).config
    [stage] = config.stages
    name = Path(stage.sets[0]).stem
    taught = labels[name][: stage.max_queries or None]
    lists = [training_list(one, stage.missing, random.Random(0)) for one in taught]
    levels = [one.levels for one in lists if one]  # best first
    ends = [read_logs(Cell.of(arm, seed, flags).folder)[-1][-1] for seed in seeds]
    return {
        "what": ARMS[arm].what,
        "teacher": teacher(labels[name]),
        "set": name,
        "missing": stage.missing,
        "lists": len(levels),
        "pairs": sum(better > worse for one in levels for i, better in enumerate(one) for worse in one[i + 1 :]),
        "documents_read": round(sum(map(len, levels)) * stage.epochs),
        "steps": sorted({end["step"] for end in ends}),
        "seconds": [round(end["train_runtime"], 1) for end in ends],
        "recipe": recipe(config, read_sets(config)),
    }


if __name__ == "__main__":
    sys.exit(main())
