"""Fill a table of systems and test sets from one YAML file. `python -m rrarank.reproduce rradistill`"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rrarank.cli.parser import Parser, positive
from rrarank.cli.verbs import Arguments, run_verb
from rrarank.errors import RrarankError
from rrarank.reproduce.config import PLACES
from rrarank.reproduce.job import ReproduceJob, conclude, reproduce_table
from rrarank.reproduce.layout import as_markdown
from rrarank.storage.yaml_settings import shipped


def main(arguments: Arguments = None) -> int:
    return run_verb(_reproduce, parser(), arguments)


def parser() -> argparse.ArgumentParser:
    parser = Parser("reproduce", "Make a table of systems by test sets: re-rank, measure, compare; skip what is done.")
    parser.add_argument(
        "table", metavar="TABLE", help=f"a table that ships ({', '.join(shipped('tables'))}), or a YAML file"
    )
    parser.add_argument("--data", default="", metavar="FOLDER", help="what {data} in the table stands for")
    parser.add_argument(
        "--model", action="append", default=[], metavar="ROW=PATH_OR_ID", help="the model of a row; repeatable"
    )
    parser.add_argument("--rows", nargs="+", metavar="ROW", help="only these, and the baseline (default: all)")
    parser.add_argument("--columns", nargs="+", metavar="COLUMN", help="only these (default: all)")
    own = parser.add_argument_group("your own test set (for columns that use it), as in rrarank.rerank")
    for place in PLACES:
        own.add_argument(f"--{place}", default="", metavar=place.upper())
    parser.add_argument(
        "--online", default="", metavar="FILE", help="the online test, as rrarank.online --output FILE.json wrote it"
    )
    parser.add_argument("--allow-pickle", action="store_true", help="read weights that are there as a pickle only")
    parser.add_argument("--precision", help="of the matrix products, for rerankers that offer it (default: fp32)")
    parser.add_argument("--device", help="cpu, cuda, …")
    parser.add_argument("--threads", type=positive, metavar="N", help="CPU threads")
    parser.add_argument(
        "--output", default="table", metavar="FOLDER", help="runs, table.md, table.tex, table.json, figures, reports"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="make the candidates and print each command; re-rank nothing"
    )
    return parser


def _reproduce(flags: argparse.Namespace) -> None:
    given = vars(flags)
    places = {place: given.pop(place) for place in ("data", *PLACES)}
    models = _models(given.pop("model"))
    job = ReproduceJob(**given, models=models, places=places)
    table = reproduce_table(job)
    if not job.dry_run:
        print(as_markdown(table), end="")
        conclude(table, job.folder)


def _models(given: Sequence[str]) -> dict[str, str]:
    models = {}
    for text in given:
        row, equals, model = text.partition("=")
        if not (row and equals and model):
            raise RrarankError(f"--model {text!r}: expected ROW=PATH_OR_ID")
        models[row] = model
    return models


if __name__ == "__main__":
    sys.exit(main())
