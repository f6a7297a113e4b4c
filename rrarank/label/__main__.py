"""A run and its texts in, a distillation set out. `python -m rrarank.label --run bm25.trec --model M --base-url URL`"""

from __future__ import annotations

import argparse
import sys

from tabulate import tabulate

from rrarank.cli.flags import add_engine, add_sources, add_threads, check_engine_flags, origins_of, ray_config
from rrarank.cli.llm import FREE, add_llm, llm_config
from rrarank.cli.parser import Parser, positive
from rrarank.cli.verbs import Arguments, run_verb
from rrarank.data.distillation_set import read_set
from rrarank.errors import RrarankError
from rrarank.label.audit import audit, table
from rrarank.label.config import LabelJob, LLMTeacherConfig
from rrarank.label.ensemble import EnsembleConfig
from rrarank.label.job import label_run
from rrarank.label.selection import Selection
from rrarank.label.teacher import ScorerConfig
from rrarank.sources.names import file_or_id
from rrarank.sources.texts import load_qrels
from rrarank.storage.files import find


def main(arguments: Arguments = None) -> int:
    return run_verb(lambda flags: _audit(flags) if flags.audit else _label(flags), parser(), arguments)


def parser() -> argparse.ArgumentParser:
    parser = Parser("label", "Let a teacher rank a list of each query's candidates, or audit a set of such labels.")
    parser.add_argument("--run", help="first stage, as in rrarank.rerank")
    where = parser.add_argument_group("queries and texts (default: as the run's sidecar says)")
    add_sources(where)
    where.add_argument("--skip-missing", action="store_true", help="leave out documents without text")
    what = parser.add_argument_group("the list")
    what.add_argument("--preranker", default="bi-encoder", metavar="NAME", help="a reranker; bm25: order of the run")
    what.add_argument("--preranker-model", default="", metavar="PATH_OR_ID", help="its model (default: its own)")
    what.add_argument(
        "--preranker-index", default="", metavar="INDEX", help="dense index with its embeddings of the collection"
    )
    what.add_argument("--depth", type=positive, default=Selection.depth, help="candidates that the pre-ranker orders")
    what.add_argument("--k-top", type=int, default=Selection.k_top, help="how many of the most relevant are shown")
    what.add_argument("--k-bottom", type=int, default=Selection.k_bottom, help="how many of the least relevant")
    _add_teacher(parser.add_argument_group("the teacher"))
    _add_llm(parser.add_argument_group("--teacher llm"))
    out = parser.add_argument_group("output")
    out.add_argument("--output", default="", help="the set to write, JSONL (default: <run>.<teacher>.jsonl)")
    out.add_argument("--limit", type=positive, metavar="N", help="only the first N queries")
    out.add_argument("--dry-run", action="store_true", help="estimate tokens and cost, print the first prompt, stop")
    out.add_argument("--overwrite", action="store_true", help="replace an existing output")
    check = parser.add_argument_group("audit: is what the teacher left out a judgment?")
    check.add_argument("--audit", metavar="QRELS", help="people's judgments; needs --set")
    check.add_argument("--set", dest="labels", metavar="SET", help="a distillation set")
    check.add_argument("--rel-level", type=positive, default=2, help="lowest relevant grade")
    return parser


def _add_teacher(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--teacher", default="llm", metavar="llm|runs|ensemble|RERANKER", help="who ranks the list")
    group.add_argument("--teacher-runs", nargs="+", metavar="RUN", help="for runs: TREC runs")
    group.add_argument(
        "--teachers", nargs="+", metavar="RERANKER[=MODEL]", help="for ensemble: rerankers, or first-stage"
    )
    group.add_argument(
        "--teacher-weights", nargs="+", type=float, metavar="W", help="for ensemble (default: all equal)"
    )
    group.add_argument(
        "--model", default="", metavar="NAME", help="llm: a model folder or a name at the endpoint; RERANKER: its model"
    )
    group.add_argument(
        "--teacher-index", default="", metavar="INDEX", help="for bi-encoder: dense index with its embeddings"
    )
    group.add_argument("--device", help="of pre-ranker and RERANKER: cpu, cuda, … (default: cuda if there is one)")
    group.add_argument("--batch-size", type=positive, help="most pairs scored at once (default: 32)")
    add_threads(group)
    add_engine(group)


def _add_llm(group: argparse._ArgumentGroup) -> None:
    add_llm(group)
    default = LLMTeacherConfig
    group.add_argument("--prompt", default=default.prompt, help="rank-all, relevant-only, or a rank_llm YAML file")
    group.add_argument("--context", type=positive, default=default.context, help="tokens of question and answer")
    group.add_argument("--passage-tokens", type=positive, default=default.passage_tokens, help="longest passage")
    group.add_argument("--reasons", action="store_true", help="ask a second question: why?")
    group.add_argument("--reason-model", default="", metavar="NAME", help="model for reasons (default: --model)")
    group.add_argument("--reason-base-url", default="", help="its endpoint (default: --base-url)")
    group.add_argument("--reason-api-key-env", default="", metavar="VAR", help="its key (default: --api-key-env)")
    group.add_argument("--reason-prompt", default=default.explainer_prompt, metavar="FILE", help="YAML file")


def _label(flags: argparse.Namespace) -> None:
    check_engine_flags(flags)
    if not flags.run:
        raise RrarankError("--run is needed: the first stage whose candidates the teacher ranks")
    written = label_run(
        LabelJob(
            flags.run,
            _teacher(flags),
            origins_of(flags),
            ScorerConfig(flags.preranker, flags.preranker_model, flags.preranker_index),
            Selection(flags.depth, flags.k_top, flags.k_bottom),
            flags.output,
            limit=flags.limit or 0,
            skip_missing=flags.skip_missing,
            overwrite=flags.overwrite,
            device=flags.device or "",
            batch_size=flags.batch_size or 0,
            threads=flags.threads or 0,
            ray=ray_config(flags),
            price=flags.price or FREE,
            dry_run=flags.dry_run,
        )
    )
    for path in written:
        print(path)


def _teacher(flags: argparse.Namespace) -> LLMTeacherConfig | list[str] | ScorerConfig | EnsembleConfig:
    _check_teacher(flags)
    if flags.teacher == "runs":
        return list(flags.teacher_runs or ())
    if flags.teacher == "ensemble":
        named = (text.partition("=") for text in flags.teachers or ())
        return EnsembleConfig([ScorerConfig(name, model) for name, _, model in named], flags.teacher_weights or ())
    if flags.teacher != "llm":
        return ScorerConfig(flags.teacher, flags.model, flags.teacher_index)
    if not flags.model:
        raise RrarankError("--teacher llm needs --model: a model folder, or the name of a model at the endpoint")
    explainer = None
    if flags.reasons:
        model, url = flags.reason_model or flags.model, flags.reason_base_url or flags.base_url
        explainer = llm_config(flags, model, url, flags.reason_api_key_env)
    return LLMTeacherConfig(
        llm_config(flags, flags.model, flags.base_url),
        flags.prompt,
        explainer,
        flags.reason_prompt,
        flags.context,
        flags.passage_tokens,
    )


def _check_teacher(flags: argparse.Namespace) -> None:
    """Refuse flags of an ensemble without one, and flags of a single reranker with one: they would change nothing."""
    if flags.teacher == "ensemble":
        unused, why = {"--model": flags.model, "--teacher-index": flags.teacher_index}, "name models as NAME=MODEL"
    else:
        unused, why = {"--teachers": flags.teachers, "--teacher-weights": flags.teacher_weights}, "give ensemble"
    given = [flag for flag, value in unused.items() if value]
    if given and (flags.teachers or flags.teacher_weights):
        raise RrarankError(f"{given[0]} with --teacher {flags.teacher}: has no effect there; leave it out, or {why}")


def _audit(flags: argparse.Namespace) -> None:
    if not flags.labels:
        raise RrarankError("--audit needs --set SET.jsonl, the labels to audit")
    labels = read_set(find(flags.labels))
    found = audit(labels, load_qrels(file_or_id(flags.audit, "qrels")), flags.rel_level)
    print(tabulate(table(found), headers=["documents", "P(relevant)", "95% interval", "judged"], disable_numparse=True))
    print(found.verdict)
    if found.echoes:
        print(f"{found.echoed} of {found.orders} lists are the order that was shown: this teacher does not read")


if __name__ == "__main__":
    sys.exit(main())
