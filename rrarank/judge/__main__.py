"""Runs in, an LLM's judgments out. `python -m rrarank.judge --qrels Q --runs R --model M --base-url URL`"""

from __future__ import annotations

import argparse
import sys

from rrarank.cli.flags import add_sources, origins_of
from rrarank.cli.llm import FREE, add_llm, llm_config
from rrarank.cli.parser import Parser, positive
from rrarank.cli.verbs import Arguments, run_verb
from rrarank.judge.inputs import Pooling
from rrarank.judge.job import JudgeJob, judge_run


def main(arguments: Arguments = None) -> int:
    return run_verb(_judge, parser(), arguments)


def parser() -> argparse.ArgumentParser:
    parser = Parser("judge", "Let an LLM grade documents that nobody judged, or measure how far it agrees with people.")
    default, pooling = JudgeJob, Pooling
    what = parser.add_argument_group("which documents")
    what.add_argument("--qrels", default="", help="people's judgments, as in rrarank.evaluate (default: none)")
    what.add_argument("--runs", nargs="+", default=[], metavar="RUN", help="systems whose top documents are pooled")
    what.add_argument("--depth", type=positive, default=pooling.depth, help="how deep each run is pooled")
    what.add_argument(
        "--sample",
        type=positive,
        metavar="N",
        help="grade N judged documents of the pool instead, and say how far the LLM agrees with the assessors",
    )
    what.add_argument("--unjudged", action="store_true", help="with --sample: grade the unjudged documents too")
    what.add_argument("--seed", type=int, default=pooling.seed, help="another seed draws another sample")
    where = parser.add_argument_group("queries and texts (default: as the runs' sidecars say)")
    add_sources(where)
    where.add_argument("--skip-missing", action="store_true", help="leave out documents without text")
    how = parser.add_argument_group("questions")
    how.add_argument("--model", required=True, metavar="NAME", help="a model folder, or a name at the endpoint")
    how.add_argument("--prompt", default=default.prompt, metavar="FILE", help="a shipped prompt, or a YAML file")
    how.add_argument("--passage-tokens", type=positive, default=default.passage_tokens, help="longest passage")
    add_llm(how, max_tokens=256)
    said = parser.add_argument_group("agreement")
    said.add_argument("--rel-level", type=positive, default=default.rel_level, help="lowest relevant grade")
    said.add_argument("--measure", default=default.measure, metavar="M", help="ranks the systems, for Kendall's tau")
    out = parser.add_argument_group("output")
    out.add_argument("--output", default="", help="qrels (default: <qrels>.llm.txt, or <qrels>.llm-sample.txt)")
    out.add_argument("--dry-run", action="store_true", help="count questions and tokens, print the first prompt, stop")
    out.add_argument("--overwrite", action="store_true", help="replace an existing output")
    return parser


def _judge(flags: argparse.Namespace) -> None:
    names = ["prompt", "passage_tokens", "rel_level", "measure", "output", "skip_missing", "overwrite", "dry_run"]
    settings = {name: getattr(flags, name) for name in names}
    for path in judge_run(
        JudgeJob(
            llm_config(flags, flags.model, flags.base_url),
            flags.qrels,
            flags.runs,
            Pooling(flags.depth, flags.unjudged or not flags.sample, flags.sample or 0, flags.seed),
            origins_of(flags),
            price=flags.price or FREE,
            **settings,
        )
    ):
        print(path)


if __name__ == "__main__":
    sys.exit(main())
