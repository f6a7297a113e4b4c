"""Check a run by TREC's rules before it is submitted. `python -m rrarank.trec check RUN --topics TOPICS`"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rrarank.cli.parser import Parser, positive
from rrarank.cli.verbs import Arguments, run_verb
from rrarank.data.submission import check_submission
from rrarank.errors import say
from rrarank.sources.names import file_or_id
from rrarank.sources.texts import load_qrels, load_topics
from rrarank.storage.files import find


def main(arguments: Arguments = None) -> int:
    return run_verb(_check, parser(), arguments)


def parser() -> argparse.ArgumentParser:
    parser = Parser("trec", "Check a run by TREC's rules before it is submitted.")
    parser.add_argument("what", choices=["check"], help="name each fault for which TREC would refuse the run")
    parser.add_argument("run", help="TREC run, plain or .gz; a bare name: ./, ./runs/, the package")
    parser.add_argument("--topics", required=True, help="file of queries; the run must answer all of them")
    parser.add_argument("--qrels", help="judgments; the run must answer their queries too")
    parser.add_argument("--max-hits", type=positive, default=1000, help="most documents per query")
    return parser


def _check(flags: argparse.Namespace) -> None:
    count = check_run(flags.run, flags.topics, flags.qrels or "", max_hits=flags.max_hits)
    say(f"{find(flags.run, 'runs')}: {count:,} queries, fit to submit")


def check_run(run: str | Path, topics: str | Path, qrels: str | Path = "", *, max_hits: int = 1000) -> int:
    """Check a run by TREC's rules; returns the number of queries that it had to answer.

    Raises:
        RrarankError: naming each rule that the run breaks, and the line.
    """
    wanted = set(load_topics(file_or_id(topics)))
    if qrels:
        wanted |= load_qrels(file_or_id(qrels, "qrels")).keys()
    check_submission(find(run, "runs"), wanted, max_hits)
    return len(wanted)


if __name__ == "__main__":
    sys.exit(main())
