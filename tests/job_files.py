"""Rankings as the files of a re-ranking job."""

import json
from pathlib import Path


def write_inputs(rankings):
    """Write run, topics and texts into the working folder, and return the flags that name them.

    A document's id is its query's and its own.
    """
    rows = [(r.query.qid, f"{r.query.qid}-{c.docid}", c.text) for r in rankings for c in r.candidates]
    run = (f"{qid} Q0 {docid} 1 {-place} bm25\n" for place, (qid, docid, _) in enumerate(rows))
    Path("bm25.trec").write_text("".join(run))
    Path("topics.tsv").write_text("".join(f"{r.query.qid}\t{r.query.text}\n" for r in rankings))
    texts = (json.dumps({"id": docid, "contents": text}) + "\n" for _, docid, text in rows)
    Path("texts.jsonl").write_text("".join(texts))
    return ["--run", "bm25.trec", "--topics", "topics.tsv", "--collection", "texts.jsonl"]
