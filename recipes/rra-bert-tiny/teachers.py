"""Which teachers, alone and together, order dl21's and nq's candidates best: `python teachers.py DATA WORK`

WORK holds what make.sh put there: `texts/`, `vectors/<model>/<set>`, `nqdev.bm25.trec`. Together: per query, z-scores
averaged with the weights given.
"""

import argparse
from itertools import combinations
from pathlib import Path

import numpy as np
from scores import Stored, products, read_texts, z_scores

import rrarank
from rrarank import Hit, Run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--queries", type=int, default=400, help="of nq dev, the first ones")
    parser.add_argument("--models", nargs="+", default=["minilm", "mpnet", "splade"])
    flags = parser.parse_args()
    sets = {
        "dl21 ndcg@10": Lists(flags, "dl21", flags.data / "dl21/runs/bm25.trec", 100, flags.data / "dl21/qrels.txt"),
        "nq dev mrr@10": Lists(flags, "nq", flags.work / "nqdev.bm25.trec", 20, flags.data / "nq/qrels.dev.txt"),
    }
    names = [*flags.models, "bm25"]
    mixes = [dict.fromkeys(mix, 1.0) for size in range(1, len(names) + 1) for mix in combinations(names, size)]
    mixes += [{a: 2.0, b: 1.0} for a in flags.models for b in flags.models if a != b]
    if len(flags.models) > 2:
        mixes += [{**dict.fromkeys(flags.models, 1.0), twice: 2.0} for twice in flags.models]
    print(f"| teacher | {' | '.join(sets)} |\n|---|{'---|' * len(sets)}")
    for mix in mixes:
        label = " + ".join(f"{weight:g} {name}" if weight != 1 else name for name, weight in mix.items())
        print(f"| {label} | {' | '.join(f'{lists.measure(mix):.4f}' for lists in sets.values())} |")


class Lists:
    """A run's candidates with every teacher's z-scores."""

    def __init__(self, flags: argparse.Namespace, name: str, run: Path, depth: int, qrels: Path) -> None:
        self.measured = "ndcg@10" if name == "dl21" else "mrr@10"
        texts_of = "dl21" if name == "dl21" else "train"
        unique = {text: docid for docid, text in read_texts(flags.work / f"texts/{texts_of}.jsonl").items()}
        texts = read_texts(flags.data / name / "corpus.jsonl.gz")
        first = rrarank.read_run(run)
        topics = rrarank.read_topics(flags.data / name / ("topics.dev.tsv" if name == "nq" else "topics.tsv"))
        qids = [qid for qid in topics if qid in first][: flags.queries]
        self.docids = {qid: [hit.docid for hit in first[qid][:depth]] for qid in qids}
        self.qrels = {qid: grades for qid, grades in rrarank.read_qrels(qrels).items() if qid in self.docids}
        self.scores = {qid: {"bm25": z_scores(np.array([h.score for h in first[qid][:depth]]))} for qid in qids}
        for model in flags.models:
            folder = flags.work / "vectors" / model
            if not (folder / texts_of / "ids.json").exists() and not (folder / "nqdev/ids.json").exists():
                continue
            stored = texts_of if (folder / texts_of / "ids.json").exists() else "nqdev"
            passages = Stored(folder, [stored])
            queries = Stored(folder, [f"queries-{name}"])
            for qid, docids in self.docids.items():
                rows = passages[[unique[texts[docid]] for docid in docids]]
                self.scores[qid][model] = z_scores(products(queries[[qid]], rows)[0])

    def measure(self, mix: dict[str, float]) -> float:
        """Not a number where a member has no vectors."""
        run = {}
        if mix.keys() - next(iter(self.scores.values())).keys():
            return float("nan")
        for qid, docids in self.docids.items():
            mixed = sum(weight * self.scores[qid][name] for name, weight in mix.items())
            order = np.argsort(-mixed, kind="stable")
            run[qid] = [Hit(docids[place], float(mixed[place])) for place in order]
        [row] = rrarank.evaluate_runs(self.qrels, {"mix": Run(run, "mix")}, measures=[self.measured]).rows
        return row.means[self.measured]


if __name__ == "__main__":
    main()
