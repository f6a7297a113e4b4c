"""Choose how much the first stage counts. `python -m rrarank.tune --run bm25.trec --qrels qrels.txt`"""

from __future__ import annotations

import argparse
import sys

from rrarank.cli.flags import add_reranker, add_sources, check_reranker_flags, origins_of, reranker_settings
from rrarank.cli.parser import Parser, positive
from rrarank.cli.verbs import Arguments, run_verb
from rrarank.engine.interpolation import NORMS
from rrarank.tune.job import TuneJob, tune_interpolation


def main(arguments: Arguments = None) -> int:
    return run_verb(_tune, parser(), arguments)


def parser() -> argparse.ArgumentParser:
    parser = Parser(
        "tune", "Choose a reranker's weight beside the first stage on judged queries, for rerank --interpolate FILE."
    )
    parser.add_argument("--run", required=True, help="the first stage: a run of any format")
    parser.add_argument("--qrels", required=True, help="judgments, as in rrarank.evaluate")
    parser.add_argument(
        "--reranked", default="", metavar="RUN", help="the run re-ranked with --interpolate 1 (default: re-rank here)"
    )
    where = parser.add_argument_group("queries and texts, without --reranked (default: as the run's sidecar says)")
    add_sources(where)
    where.add_argument("--skip-missing", action="store_true", help="keep what has no text in first-stage order")
    add_reranker(parser.add_argument_group("re-ranking, without --reranked"))
    how = parser.add_argument_group("choosing")
    how.add_argument("--depths", type=positive, nargs="+", default=TuneJob.depths, metavar="N", help="to choose from")
    how.add_argument("--step", type=float, default=TuneJob.step, help="between the weights, from 0 to 1")
    how.add_argument("--norm", choices=tuple(NORMS), default=TuneJob.norm, help="how both scores are normalised")
    how.add_argument("--measure", default=TuneJob.measure, metavar="M", help="the measure to raise")
    how.add_argument("--rel-level", type=positive, default=1, metavar="GRADE", help="as in rrarank.evaluate")
    how.add_argument("--folds", type=positive, default=TuneJob.folds, help="of the cross-validation over queries")
    how.add_argument("--repeats", type=positive, default=TuneJob.repeats, help="random partitions into folds")
    how.add_argument("--seed", type=int, default=TuneJob.seed, help="of the partitions")
    out = parser.add_argument_group("output")
    out.add_argument("--output", default="", help="the file to write (default: <run>.interpolation.yaml here)")
    out.add_argument("--figure", default="", metavar="FILE", help="draw the curve: .png, .svg or .pdf")
    out.add_argument("--overwrite", action="store_true", help="replace existing outputs")
    return parser


def _tune(flags: argparse.Namespace) -> None:
    check_reranker_flags(flags)
    own = ("depths", "step", "norm", "measure", "rel_level", "folds", "repeats", "seed", "skip_missing", "overwrite")
    job = TuneJob(
        run=flags.run,
        qrels=flags.qrels,
        reranked=flags.reranked,
        origins=origins_of(flags),
        reranker=flags.reranker,
        settings=reranker_settings(flags),
        output=flags.output,
        figure=flags.figure,
        **{name: getattr(flags, name) for name in own},
    )
    for path in tune_interpolation(job).written:
        print(path)


if __name__ == "__main__":
    sys.exit(main())
