"""Compare BM25 and its re-ranking in a PyTerrier Experiment; Terrier's Java is not needed.

pip install -c constraints.txt '.[pyterrier,retrieve]' && make demo && python examples/pyterrier_experiment.py
"""

import pandas as pd
import pyterrier as pt

from rrarank import read_qrels, read_topics
from rrarank.integrations.pyterrier import FirstStage, Rerank

topics = pd.DataFrame(read_topics("prebuilt/sample/topics.tsv").items(), columns=["qid", "query"])
qrels = [
    (qid, docno, grade) for qid, grades in read_qrels("qrels/sample.txt").items() for docno, grade in grades.items()
]
bm25 = FirstStage("demo/bm25.trec")
rra_bert = bm25 >> Rerank(texts="prebuilt/sample/collection.jsonl")
print(
    pt.Experiment(
        [bm25, rra_bert],
        topics,
        pd.DataFrame(qrels, columns=["qid", "docno", "label"]),
        ["ndcg_cut_10", "map"],
        names=["BM25", "BM25 >> RRA-BERT"],
    )
)
