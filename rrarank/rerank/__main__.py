"""Re-rank a first-stage run. `python -m rrarank.rerank --run bm25.trec`"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

from rrarank.cli.flags import (
    add_calibration,
    add_engine,
    add_reranker,
    add_sources,
    check_engine_flags,
    check_reranker_flags,
    origins_of,
    ray_config,
    reranker_settings,
)
from rrarank.cli.parser import Parser, positive
from rrarank.cli.verbs import Arguments, run_verb
from rrarank.data.own_documents import REMOVE_QUERY
from rrarank.engine.blocks import RerankConfig
from rrarank.engine.floor import Floor
from rrarank.engine.interpolation import NORMS, Interpolation
from rrarank.engine.interpolation_files import read_interpolation
from rrarank.engine.passages import AGGREGATES, Passages
from rrarank.engine.shards import Shard
from rrarank.rerank.job import RerankJob, rerank_job
from rrarank.rerank.weights import AUTO

TUNED = (".yaml", ".yml", ".json")  # suffixes by which a name is a file of rrarank.tune, even if it is not there


def main(arguments: Arguments = None) -> int:
    return run_verb(_rerank, parser(), arguments)


def parser() -> argparse.ArgumentParser:
    parser = Parser("rerank", "Re-rank a first-stage run. A run made by rrarank.retrieve needs no other flag.")
    parser.add_argument("--run", required=True, help="a run: TREC, MS MARCO, .jsonl, .json; or - for stdin")
    where = parser.add_argument_group("queries and texts (default: as the run's sidecar says)")
    add_sources(where)
    where.add_argument("--skip-missing", action="store_true", help="keep what has no text in first-stage order")
    where.add_argument("--remove-query", action="store_true", help=REMOVE_QUERY)
    how = parser.add_argument_group("re-ranking")
    add_reranker(how)
    how.add_argument("--depth", type=positive, help="candidates re-ranked per query (default: 100, or as tuned)")
    how.add_argument(
        "--budget-ms",
        type=_milliseconds,
        default=0.0,
        help="most time per query: as many as fit, or of a cascade as many by its second reranker; 0: any",
    )
    how.add_argument("--passage-words", type=int, default=0, help="split documents into passages of N words; 0: no")
    how.add_argument("--passage-stride", type=int, default=0, help="words between passage starts; 0: no overlap")
    how.add_argument("--aggregate", choices=AGGREGATES, default="max", help="a document's score from its passages'")
    how.add_argument(
        "--interpolate",
        type=_weight,
        metavar="W",
        help="W x the reranker's score + (1 - W) x the first stage's, both normalised; auto: by the rule that the "
        "model carries; or a file of rrarank.tune (default: by that rule over a dense or learned-sparse first stage, "
        "else 1, the reranker alone)",
    )
    how.add_argument("--norm", choices=tuple(NORMS), help="how --interpolate normalises scores (default: z-score)")
    how.add_argument("--min-score", type=_score, metavar="S", help="leave out documents that score less, and the tail")
    how.add_argument(
        "--min-relevance",
        type=_probability,
        metavar="P",
        help="leave out documents less likely to be relevant, and the tail; needs a calibrated model",
    )
    add_calibration(how)
    many = parser.add_argument_group("many processes and machines")
    add_engine(many)
    many.add_argument("--shard", default="", metavar="I/N", help="only part I of N of the queries; then rrarank.merge")
    out = parser.add_argument_group("output")
    out.add_argument("--output", help="the run to write; - for stdout (default: <run>.<reranker>.trec here)")
    out.add_argument("--hits", type=positive, default=1000, help="documents written per query")
    out.add_argument("--runtag", help="1-20 of A-Z a-z 0-9 _ . - (default: the reranker's name)")
    out.add_argument(
        "--submission", action="store_true", help="write only what TREC would take; see rrarank.trec check"
    )
    out.add_argument(
        "--explain",
        type=positive,
        default=0,
        metavar="N",
        help="reasons for the first N documents a query, into <output>.reasons.jsonl (default: none)",
    )
    out.add_argument(
        "--relevance",
        default="",
        metavar="FILE",
        help="also write qid, docid, score and relevance of each re-ranked document as TSV; needs a calibrated model",
    )
    out.add_argument("--overwrite", action="store_true", help="replace an existing output")
    out.add_argument("--dry-run", action="store_true", help="check everything, say what would be done, and stop")
    return parser


def _milliseconds(text: str) -> float:
    if not 0 <= (value := _number(text)) < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r}, expected milliseconds from 0")
    return value


def _score(text: str) -> float:
    if not math.isfinite(value := _number(text)):
        raise argparse.ArgumentTypeError(f"{text!r}, expected a number")
    return value


def _probability(text: str) -> float:
    if not 0 <= (value := _number(text)) <= 1:
        raise argparse.ArgumentTypeError(f"{text!r}, expected a number from 0 to 1")
    return value


def _weight(text: str) -> str:
    """A number from 0 to 1, `auto`, or the name of a file."""
    is_name = text == AUTO or Path(text).suffix in TUNED or Path(text).is_file()
    if not 0 <= _number(text) <= 1 and not is_name:
        raise argparse.ArgumentTypeError(f"{text!r}, expected a number from 0 to 1, auto, or a file of rrarank.tune")
    return text


def _number(text: str) -> float:
    """NaN, which lies within no bounds, for what is no number."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _rerank(flags: argparse.Namespace) -> None:
    for path in rerank_job(_job(flags)):
        print(path)


def _job(flags: argparse.Namespace) -> RerankJob:
    check_reranker_flags(flags)
    check_engine_flags(flags)
    number = _number(flags.interpolate or "nan")
    file = (flags.interpolate or "") if math.isnan(number) else ""
    tuned = read_interpolation(file).depth if file and file != AUTO else 0
    return RerankJob(
        run=flags.run,
        origins=origins_of(flags),
        reranker=flags.reranker,
        settings=reranker_settings(flags),
        config=RerankConfig(
            depth=flags.depth or tuned or RerankConfig.depth,
            hits=flags.hits,
            passages=Passages(flags.passage_words, flags.passage_stride, flags.aggregate),
            budget_ms=flags.budget_ms,
            interpolation=None if math.isnan(number) else Interpolation(number, flags.norm or Interpolation.norm),
            floor=Floor(flags.min_score, flags.min_relevance),
        ),
        interpolate=file,
        norm=flags.norm or "",
        output=flags.output or "",
        tag=flags.runtag or "",
        skip_missing=flags.skip_missing,
        remove_query=flags.remove_query,
        shard=Shard.parse(flags.shard) if flags.shard else None,
        ray=ray_config(flags),
        submission=flags.submission,
        explain=flags.explain,
        relevance=flags.relevance,
        overwrite=flags.overwrite,
        dry_run=flags.dry_run,
    )


if __name__ == "__main__":
    sys.exit(main())
