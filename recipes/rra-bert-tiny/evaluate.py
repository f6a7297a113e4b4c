"""dl21's nDCG@10 and nq dev's MRR@10 of students: `python evaluate.py DATA WORK MODEL … [--queries 400]`"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from scores import read_texts
from students import STUDENTS
from transformers import AutoModelForMaskedLM, AutoTokenizer

import rrarank
from rrarank import Hit, Run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("models", nargs="+", type=Path, help="folders, or weights that train.py kept beside its model/")
    parser.add_argument("--student", choices=STUDENTS, default="sparse")
    parser.add_argument("--queries", type=int, default=400, help="of nq dev, the first ones")
    parser.add_argument("--terms", type=int, default=96)
    parser.add_argument("--max-length", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    flags = parser.parse_args()
    torch.set_num_threads(flags.threads)
    sets = {
        "dl21": ("dl21/topics.tsv", "dl21/qrels.txt", flags.data / "dl21/runs/bm25.trec", 100, "ndcg@10"),
        "nq": ("nq/topics.dev.tsv", "nq/qrels.dev.txt", flags.work / "nqdev.bm25.trec", 20, "mrr@10"),
    }
    for path in flags.models:
        tokenizer, model = load(path)
        student = STUDENTS[flags.student](model, flags.terms)
        row: dict[str, object] = {"model": str(path)}
        for name, (topics, qrels, run, depth, measure) in sets.items():
            texts = read_texts(flags.data / name / "corpus.jsonl.gz")
            asked = rrarank.read_topics(flags.data / topics)
            first, found = rrarank.read_run(run), {}
            qids = [qid for qid in asked if qid in first][: flags.queries if name == "nq" else None]
            for qid in qids:
                docids = [hit.docid for hit in first[qid][:depth]]
                ids = tokenizer([texts[d] for d in docids], truncation=True, max_length=flags.max_length)["input_ids"]
                with torch.inference_mode():
                    scores = student.scores([[tokenizer(asked[qid])["input_ids"]]], [ids])[0, 0].numpy()
                found[qid] = [Hit(docids[place], float(scores[place])) for place in np.argsort(-scores, kind="stable")]
            judged = {qid: grades for qid, grades in rrarank.read_qrels(flags.data / qrels).items() if qid in found}
            [result] = rrarank.evaluate_runs(judged, {"own": Run(found, "own")}, measures=[measure]).rows
            row[f"{name} {measure}"] = round(result.means[measure], 4)
        print(json.dumps(row), flush=True)


def load(path: Path) -> tuple[object, torch.nn.Module]:
    """Tokenizer and model."""
    folder = path if path.is_dir() else path.parent / "model"
    model = AutoModelForMaskedLM.from_pretrained(folder, dtype=torch.float32).eval()
    if not path.is_dir():
        model.load_state_dict(torch.load(path, weights_only=True))
    return AutoTokenizer.from_pretrained(folder), model


if __name__ == "__main__":
    main()
