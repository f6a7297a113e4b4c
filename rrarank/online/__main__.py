"""Analyse the log of an online experiment. `python -m rrarank.online --log FOLDER`"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import fields

from rrarank.cli.clicks import click_columns, pairs_of
from rrarank.cli.parser import Parser
from rrarank.cli.verbs import Arguments, run_verb
from rrarank.data.click_logs import ClickColumns
from rrarank.data.impressions import Rules
from rrarank.errors import RrarankError
from rrarank.measures.click_models import MODELS as CLICK_MODELS
from rrarank.measures.clicks import MEASURES
from rrarank.online.analysis import Question
from rrarank.online.job import SUFFIXES, OnlineJob, analyse_experiment
from rrarank.online.plan import PlanJob, plan_traffic
from rrarank.storage.files import STDIO


def main(arguments: Arguments = None) -> int:
    return run_verb(_online, parser(), arguments)


def parser() -> argparse.ArgumentParser:
    parser = Parser(
        "online", "Did users gain? Compare the arms of an A/B test, or interleaved rankers, by a click log."
    )
    parser.add_argument(
        "--log", default="", help="folder of UBI's queries and events, or a .csv, .tsv or .jsonl file of clicks"
    )
    parser.add_argument("--experiment", default="", metavar="NAME", help="as the log names it (default: the only one)")
    parser.add_argument("--baseline", default="", metavar="ARM", help="compare with it (default: bm25, else the first)")
    parser.add_argument(
        "--shares", nargs="+", default=[], metavar="ARM=SHARE", help="of the users that each arm was meant to get"
    )
    parser.add_argument(
        "--measures", nargs="+", default=[], choices=MEASURES, metavar="M", help=f"of {', '.join(MEASURES)}"
    )
    parser.add_argument(
        "--look-at", default=Question.looked_at, choices=MEASURES, metavar="M", help="measure to look at day by day"
    )
    parser.add_argument(
        "--plan", type=_effect, default=0.0, metavar="EFFECT",
        help="how much traffic would show it: a relative lift such as 2%%, or a preference such as 0.05",
    )  # fmt: skip
    parser.add_argument(
        "--rate", type=_effect, metavar="SHARE",
        help="without --log: plan from this share of queries with a click today, such as 25%%",
    )  # fmt: skip
    parser.add_argument(
        "--queries",
        type=float,
        default=PlanJob.queries,
        metavar="N",
        help="of a user, during the experiment; for --rate",
    )
    parser.add_argument("--seed", type=int, default=Question.seed, help="of resampling and permutation")
    rules = parser.add_argument_group("who is left out, and what is capped")
    rules.add_argument("--most-queries", type=int, default=Rules.most_queries, metavar="N", help="a user's, on a day")
    rules.add_argument(
        "--click-all", type=float, default=Rules.click_all, metavar="SHARE", help="of the shown documents clicked on"
    )
    rules.add_argument(
        "--fastest", type=float, default=Rules.fastest, metavar="S", help="seconds to the first click, half of them"
    )
    rules.add_argument("--dwell-cap", type=float, default=Rules.dwell_cap, metavar="S", help="seconds that count")
    rules.add_argument(
        "--wait-cap", type=float, default=Rules.wait_cap, metavar="S", help="seconds to the first click that count"
    )
    other = parser.add_argument_group("rankers that were not shown")
    other.add_argument(
        "--estimate", nargs="+", default=[], metavar="RUN", help="estimate their clicks by IPS and SNIPS"
    )
    other.add_argument(
        "--click-model", default=OnlineJob.click_model, choices=CLICK_MODELS, help="how often a place is looked at"
    )
    other.add_argument("--clip", type=float, default=OnlineJob.clip, metavar="W", help="largest weight of a click")
    names = ", ".join(field.name for field in fields(ClickColumns))
    parser.add_argument(
        "--columns", nargs="+", default=[], metavar="NAME=COLUMN", help=f"of a file of clicks; NAME: {names}"
    )
    parser.add_argument("--simulated", action="store_true", help="the users are simulated; every output says so")
    parser.add_argument(
        "--output", nargs="+", default=[STDIO], metavar="FILE",
        help=f"by suffix: {' '.join(SUFFIXES)} (default: -, stdout)",
    )  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace existing outputs")
    return parser


def _online(flags: argparse.Namespace) -> None:
    if flags.rate is not None:
        return _plan(flags)
    if not flags.log:
        raise RrarankError("give --log, or --plan with --rate if there is no log yet")
    if flags.queries != PlanJob.queries:
        raise RrarankError("--queries: only with --rate; a log has its own")
    question = Question(
        baseline=flags.baseline,
        shares={arm: _number(share, "--shares") for arm, share in pairs_of(flags.shares, "--shares").items()},
        measures=flags.measures,
        looked_at=flags.look_at,
        effect=flags.plan,
        seed=flags.seed,
    )
    rules = Rules(flags.most_queries, flags.click_all, flags.fastest, flags.dwell_cap, flags.wait_cap)
    analyse_experiment(
        OnlineJob(
            flags.log,
            flags.experiment,
            question,
            rules,
            click_columns(flags.columns),
            flags.estimate,
            flags.click_model,
            flags.clip,
            flags.simulated,
            flags.output,
            flags.overwrite,
        )
    )


def _plan(flags: argparse.Namespace) -> None:
    """Plan without a log; flags that are about one are refused."""
    used = ("rate", "plan", "queries", "output", "overwrite")
    usual = vars(parser().parse_args([]))
    if odd := [name for name, value in vars(flags).items() if name not in used and value != usual[name]]:
        raise RrarankError(
            f"--{odd[0].replace('_', '-')} is about a log, and --rate plans without one; give one of them"
        )
    if not flags.plan:
        raise RrarankError("--rate: give --plan EFFECT too, such as --plan 5%")
    plan_traffic(PlanJob(flags.rate, flags.plan, flags.queries, flags.output, flags.overwrite))


def _number(text: str, flag: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < math.inf:
        raise RrarankError(f"{flag} {text!r}: expected a number above 0")
    return number


def _effect(text: str) -> float:
    try:
        number = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        number = math.nan
    if not _LEAST <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}, expected a number above 0 such as 2% or 0.05")
    return number


_LEAST = 1e-9  # less than anyone could show


if __name__ == "__main__":
    sys.exit(main())
