"""The first stage: topics and an index in, a run out, by BM25 or a bi-encoder. `python -m rrarank.retrieve`"""

from __future__ import annotations

import argparse
import sys

from rrarank.cli.flags import add_threads, add_topic_field
from rrarank.cli.parser import Parser, positive
from rrarank.cli.verbs import Arguments, run_verb
from rrarank.data.own_documents import REMOVE_QUERY
from rrarank.retrieve.job import RetrieveJob, retrieve_run
from rrarank.sources.lucene import BM25
from rrarank.sources.names import file_or_id
from rrarank.storage.files import is_file, output_stem


def main(arguments: Arguments = None) -> int:
    return run_verb(_retrieve, parser(), arguments)


def parser() -> argparse.ArgumentParser:
    parser = Parser("retrieve", "Search a collection by BM25 or a bi-encoder; index it first if there is no index.")
    parser.add_argument("--index", required=True, help="folder of the index; made from --collection if absent")
    parser.add_argument("--collection", help="JSON or TSV file to index, plain or packed, or a folder of them")
    parser.add_argument("--topics", required=True, help="TSV, JSON or TREC file, or a name such as dl19-passage")
    add_topic_field(parser)
    parser.add_argument("--output", help="the run to write; - for stdout (default: <topics>.<bm25 or dense>.trec)")
    parser.add_argument("--hits", type=positive, default=1000, help="documents per query")
    parser.add_argument("--remove-query", action="store_true", help=REMOVE_QUERY)
    parser.add_argument("--runtag", help="1-20 of A-Z a-z 0-9 _ . - (default: bm25 or dense)")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    add_threads(parser)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--bm25", action="store_true", help="rank by BM25 in a Lucene index (the default)")
    how.add_argument("--dense", action="store_true", help="rank by a bi-encoder's embeddings in a faiss index")
    bm25 = parser.add_argument_group("--bm25")
    bm25.add_argument("--k1", type=float, default=0.9, help="term saturation")
    bm25.add_argument("--b", type=float, default=0.4, help="length normalisation")
    bm25.add_argument("--rm3", action="store_true", help="expand queries by RM3 (10 terms, 10 documents, weight .5)")
    bm25.add_argument("--language", help="analyser, ISO code such as ko (default: the index's own, else en)")
    dense = parser.add_argument_group("--dense")
    dense.add_argument("--model", metavar="PATH_OR_ID", help="bi-encoder (default: the reranker bi-encoder's own)")
    dense.add_argument("--device", help="cpu, cuda, cuda:1, … (default: cuda if there is one)")
    dense.add_argument("--batch-size", type=positive, help="texts embedded at once (default: 32)")
    return parser


def _retrieve(flags: argparse.Namespace) -> None:
    stage = "dense" if flags.dense else "bm25"
    output = flags.output or f"{output_stem(file_or_id(flags.topics))}.{stage}.trec"
    job = RetrieveJob(
        index=flags.index,
        topics=flags.topics,
        collection=flags.collection or "",
        topic_field=flags.topic_field,
        output=output,
        hits=flags.hits,
        remove_query=flags.remove_query,
        runtag=flags.runtag or "",
        overwrite=flags.overwrite,
        threads=flags.threads or 0,
        bm25=BM25(k1=flags.k1, b=flags.b, rm3=flags.rm3),
        language=flags.language or "",
        dense=flags.dense,
        model=flags.model or "",
        device=flags.device or "",
        batch_size=flags.batch_size or 0,
    )
    retrieve_run(job)
    if is_file(output):
        print(output)


if __name__ == "__main__":
    sys.exit(main())
