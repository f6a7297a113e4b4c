"""Passages in, synthetic queries out. `python -m rrarank.generate --collection C.jsonl --index INDEX --model M`"""

from __future__ import annotations

import argparse
import sys

from rrarank.cli.llm import FREE, add_llm, llm_config
from rrarank.cli.parser import Parser, positive
from rrarank.cli.verbs import Arguments, run_verb
from rrarank.generate.job import GenerateJob, generate_queries


def main(arguments: Arguments = None) -> int:
    return run_verb(_generate, parser(), arguments)


def parser() -> argparse.ArgumentParser:
    parser = Parser("generate", "Let an LLM write a query for each passage; keep the queries that find their passage.")
    default = GenerateJob
    what = parser.add_argument_group("passages")
    what.add_argument("--collection", required=True, help="JSONL (id, contents) or TSV file, plain or .gz")
    what.add_argument("--index", required=True, help="Lucene index of it, made by rrarank.retrieve")
    what.add_argument("--passages", type=positive, default=default.passages, help="how many are drawn at random")
    what.add_argument("--seed", type=int, default=default.seed, help="another seed draws others")
    what.add_argument(
        "--shortest-passage",
        type=positive,
        default=default.shortest_passage,
        metavar="WORDS",
        help="shorter ones are not drawn",
    )
    how = parser.add_argument_group("questions")
    how.add_argument("--model", required=True, metavar="NAME", help="a model folder, or a name at the endpoint")
    how.add_argument(
        "--prompt", default=default.prompt, metavar="FILE", help="a shipped prompt, or YAML: body, system_message"
    )
    how.add_argument("--examples", default="", metavar="FILE", help="query<TAB>docid, a few of yours, shown to the LLM")
    how.add_argument("--passage-tokens", type=positive, default=default.passage_tokens, help="longest passage")
    add_llm(how, max_tokens=128)
    which = parser.add_argument_group("what is kept")
    which.add_argument(
        "--longest-query", type=positive, default=default.longest_query, metavar="WORDS", help="longer ones are dropped"
    )
    which.add_argument(
        "--keep-top", type=positive, default=default.keep_top, metavar="N", help="BM25 must find the passage this high"
    )
    which.add_argument("--language", default="", help="analyser, ISO code such as ko (default: the index's, else en)")
    out = parser.add_argument_group("output")
    out.add_argument("--output", default=default.output, help="topics; <stem>.qrels.txt is written beside them")
    out.add_argument("--dry-run", action="store_true", help="estimate tokens and cost, print the first prompt, stop")
    out.add_argument("--overwrite", action="store_true", help="replace existing outputs")
    return parser


def _generate(flags: argparse.Namespace) -> None:
    names = ["passages", "seed", "shortest_passage", "passage_tokens", "longest_query", "keep_top", "language"]
    names += ["prompt", "examples", "output", "overwrite", "dry_run"]
    settings = {name: getattr(flags, name) for name in names}
    llm = llm_config(flags, flags.model, flags.base_url)
    for path in generate_queries(
        GenerateJob(flags.collection, flags.index, llm, price=flags.price or FREE, **settings)
    ):
        print(path)


if __name__ == "__main__":
    sys.exit(main())
