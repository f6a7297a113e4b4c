"""Write an HTML page that shows what changed, query by query. `python -m rrarank.report`"""

from __future__ import annotations

import argparse
import sys

from rrarank.cli.parser import Parser, positive
from rrarank.cli.verbs import Arguments, run_verb
from rrarank.report.job import ReportJob, make_report
from rrarank.storage.files import is_file


def main(arguments: Arguments = None) -> int:
    return run_verb(_report, parser(), arguments)


def _report(flags: argparse.Namespace) -> None:
    given = vars(flags)
    del given["threads"]
    job = ReportJob(**given)
    make_report(job)
    if is_file(job.output):
        print(job.output)


def parser() -> argparse.ArgumentParser:
    """Its flags are the fields of `ReportJob`."""
    parser = Parser("report", "Write one HTML page of runs, to sort, to filter and to open query by query.")
    parser.add_argument("--qrels", required=True, help="judgments, as in rrarank.evaluate")
    parser.add_argument(
        "--runs", required=True, nargs="+", metavar="RUN", help="the first stage, then re-ranked runs; of any format"
    )
    where = parser.add_argument_group("queries and texts (default: from the runs' sidecars, else none are shown)")
    where.add_argument("--topics", default="", help="as in rrarank.rerank, like the next three")
    where.add_argument("--collection", default="", help="JSONL or TSV file of texts, or a BEIR folder")
    where.add_argument("--index", default="", help="Lucene index with stored texts, or a name")
    where.add_argument("--dataset", default="", help="ir_datasets id or BEIR folder")
    parser.add_argument(
        "--measures",
        nargs="+",
        default=ReportJob.measures,
        metavar="M",
        help=f"the query table shows the first (default: {' '.join(ReportJob.measures)})",
    )
    parser.add_argument("--rel-level", type=positive, metavar="GRADE", help="as in rrarank.evaluate (default: 1)")
    parser.add_argument("--depth", type=positive, default=ReportJob.depth, help="documents shown per query and run")
    parser.add_argument("--title", default="", help="of the page (default: the runs' names)")
    parser.add_argument("--seed", type=int, default=ReportJob.seed, help="of the randomisation test and the bootstrap")
    parser.add_argument("--threads", help=argparse.SUPPRESS)  # of older command lines; nothing here uses several
    parser.add_argument("--output", default=ReportJob.output, help="the page to write; - for stdout")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    return parser


if __name__ == "__main__":
    sys.exit(main())
