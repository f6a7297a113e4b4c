"""Re-rank a first-stage run with small models distilled from LLMs, and prove that it helped.

    import rrarank
    run = rrarank.rerank_run("bm25.trec")  # its sidecar knows its topics and texts
    rrarank.write_run("bm25.reranked.trec", run)
    found = rrarank.evaluate_runs("sample.txt", {"bm25": "bm25.trec", "rra-bert": run})

Names load on first use (PEP 562), so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the same names for type checkers; tests/test_architecture.py compares
    from rrarank.calibrate.job import CalibrateJob as CalibrateJob
    from rrarank.calibrate.job import calibrate_model as calibrate_model
    from rrarank.calibrate.judged import JudgedRun as JudgedRun
    from rrarank.convert import ConvertJob as ConvertJob
    from rrarank.convert import convert_collection as convert_collection
    from rrarank.convert import convert_qrels as convert_qrels
    from rrarank.convert import convert_run as convert_run
    from rrarank.data.run_files import RunFile as RunFile
    from rrarank.data.run_files import read_run_file as read_run_file
    from rrarank.data.run_files import write_run_file as write_run_file
    from rrarank.data.shapes import write_run as write_run
    from rrarank.data.topics import read_topics as read_topics
    from rrarank.data.trec import parse_qrels as parse_qrels
    from rrarank.data.trec import parse_run as parse_run
    from rrarank.data.trec import read_qrels as read_qrels
    from rrarank.data.trec import read_run as read_run
    from rrarank.data.types import Candidate as Candidate
    from rrarank.data.types import Hit as Hit
    from rrarank.data.types import Query as Query
    from rrarank.data.types import Ranking as Ranking
    from rrarank.data.types import Run as Run
    from rrarank.doctor.job import check_machine as check_machine
    from rrarank.engine.blocks import RerankConfig as RerankConfig
    from rrarank.engine.interpolation import Interpolation as Interpolation
    from rrarank.engine.ranked import RankedDocument as RankedDocument
    from rrarank.engine.ranked import RankedDocuments as RankedDocuments
    from rrarank.engine.ranked import RankedLists as RankedLists
    from rrarank.engine.ranking import arank as arank
    from rrarank.engine.ranking import arank_many as arank_many
    from rrarank.engine.ranking import rank as rank
    from rrarank.engine.ranking import rank_many as rank_many
    from rrarank.engine.registry import load_reranker as load_reranker
    from rrarank.engine.registry import register as register
    from rrarank.engine.reranker import Pointwise as Pointwise
    from rrarank.engine.reranker import Reranker as Reranker
    from rrarank.engine.reranker import RerankerConfig as RerankerConfig
    from rrarank.engine.reranker import reorder as reorder
    from rrarank.engine.runs import rerank_run as rerank_run
    from rrarank.errors import RrarankError as RrarankError
    from rrarank.evaluate import EvaluateJob as EvaluateJob
    from rrarank.evaluate import evaluate_job as evaluate_job
    from rrarank.export.job import ExportJob as ExportJob
    from rrarank.export.job import export_model as export_model
    from rrarank.fuse import FuseJob as FuseJob
    from rrarank.fuse import fuse_job as fuse_job
    from rrarank.generate.job import GenerateJob as GenerateJob
    from rrarank.generate.job import generate_queries as generate_queries
    from rrarank.judge.inputs import Pooling as Pooling
    from rrarank.judge.job import JudgeJob as JudgeJob
    from rrarank.judge.job import judge_run as judge_run
    from rrarank.label.config import LabelJob as LabelJob
    from rrarank.label.config import LLMTeacherConfig as LLMTeacherConfig
    from rrarank.label.ensemble import EnsembleConfig as EnsembleConfig
    from rrarank.label.job import label_run as label_run
    from rrarank.label.selection import Selection as Selection
    from rrarank.label.teacher import ScorerConfig as ScorerConfig
    from rrarank.llm.base import LLMConfig as LLMConfig
    from rrarank.mcp.job import McpJob as McpJob
    from rrarank.mcp.job import serve_tools as serve_tools
    from rrarank.measures.evaluation import Evaluation as Evaluation
    from rrarank.measures.fusion import fuse_runs as fuse_runs
    from rrarank.measures.scores import evaluate_runs as evaluate_runs
    from rrarank.merge import merge_parts as merge_parts
    from rrarank.models import pull_model as pull_model
    from rrarank.online.analysis import Question as Question
    from rrarank.online.job import OnlineJob as OnlineJob
    from rrarank.online.job import analyse_experiment as analyse_experiment
    from rrarank.online.plan import PlanJob as PlanJob
    from rrarank.online.plan import plan_traffic as plan_traffic
    from rrarank.report.job import ReportJob as ReportJob
    from rrarank.report.job import make_report as make_report
    from rrarank.reproduce.job import ReproduceJob as ReproduceJob
    from rrarank.reproduce.job import reproduce_table as reproduce_table
    from rrarank.rerank.job import RerankJob as RerankJob
    from rrarank.rerank.job import rerank_job as rerank_job
    from rrarank.retrieve.job import RetrieveJob as RetrieveJob
    from rrarank.retrieve.job import retrieve_run as retrieve_run
    from rrarank.serve.config import ServeConfig as ServeConfig
    from rrarank.serve.job import ServeJob as ServeJob
    from rrarank.serve.job import serve_reranker as serve_reranker
    from rrarank.serve.models import ModelSettings as ModelSettings
    from rrarank.sets.acts import ExplainConfig as ExplainConfig
    from rrarank.sets.acts import ExportConfig as ExportConfig
    from rrarank.sets.acts import explain_set as explain_set
    from rrarank.sets.acts import export_set as export_set
    from rrarank.sets.acts import grade_set as grade_set
    from rrarank.sets.acts import judge_set as judge_set
    from rrarank.sets.acts import split_set as split_set
    from rrarank.sets.acts import validate_set as validate_set
    from rrarank.sets.from_clicks import ClickSetJob as ClickSetJob
    from rrarank.sets.from_clicks import set_from_clicks as set_from_clicks
    from rrarank.sources.inputs import Inputs as Inputs
    from rrarank.sources.inputs import Origins as Origins
    from rrarank.sources.inputs import load_inputs as load_inputs
    from rrarank.storage.model_folders import model_path as model_path
    from rrarank.train.config import TrainConfig as TrainConfig
    from rrarank.train.job import TrainJob as TrainJob
    from rrarank.train.job import train_model as train_model
    from rrarank.trec import check_run as check_run
    from rrarank.tune.job import TuneJob as TuneJob
    from rrarank.tune.job import tune_interpolation as tune_interpolation

_HOMES = {
    "calibrate.job": ("CalibrateJob", "calibrate_model"),
    "calibrate.judged": ("JudgedRun",),
    "convert": ("ConvertJob", "convert_collection", "convert_qrels", "convert_run"),
    "data.run_files": ("RunFile", "read_run_file", "write_run_file"),
    "data.shapes": ("write_run",),
    "data.topics": ("read_topics",),
    "data.trec": ("parse_qrels", "parse_run", "read_qrels", "read_run"),
    "data.types": ("Candidate", "Hit", "Query", "Ranking", "Run"),
    "doctor.job": ("check_machine",),
    "engine.blocks": ("RerankConfig",),
    "engine.interpolation": ("Interpolation",),
    "engine.ranked": ("RankedDocument", "RankedDocuments", "RankedLists"),
    "engine.ranking": ("arank", "arank_many", "rank", "rank_many"),
    "engine.registry": ("load_reranker", "register"),
    "engine.reranker": ("Pointwise", "Reranker", "RerankerConfig", "reorder"),
    "engine.runs": ("rerank_run",),
    "errors": ("RrarankError",),
    "evaluate": ("EvaluateJob", "evaluate_job"),
    "export.job": ("ExportJob", "export_model"),
    "fuse": ("FuseJob", "fuse_job"),
    "generate.job": ("GenerateJob", "generate_queries"),
    "judge.inputs": ("Pooling",),
    "judge.job": ("JudgeJob", "judge_run"),
    "label.config": ("LLMTeacherConfig", "LabelJob"),
    "label.ensemble": ("EnsembleConfig",),
    "label.job": ("label_run",),
    "label.selection": ("Selection",),
    "label.teacher": ("ScorerConfig",),
    "llm.base": ("LLMConfig",),
    "mcp.job": ("McpJob", "serve_tools"),
    "measures.fusion": ("fuse_runs",),
    "measures.evaluation": ("Evaluation",),
    "measures.scores": ("evaluate_runs",),
    "merge": ("merge_parts",),
    "online.analysis": ("Question",),
    "online.job": ("OnlineJob", "analyse_experiment"),
    "online.plan": ("PlanJob", "plan_traffic"),
    "report.job": ("ReportJob", "make_report"),
    "reproduce.job": ("ReproduceJob", "reproduce_table"),
    "rerank.job": ("RerankJob", "rerank_job"),
    "retrieve.job": ("RetrieveJob", "retrieve_run"),
    "serve.config": ("ServeConfig",),
    "serve.job": ("ServeJob", "serve_reranker"),
    "serve.models": ("ModelSettings",),
    "sets.acts": (
        "ExplainConfig",
        "ExportConfig",
        "explain_set",
        "export_set",
        "grade_set",
        "judge_set",
        "split_set",
        "validate_set",
    ),
    "sets.from_clicks": ("ClickSetJob", "set_from_clicks"),
    "sources.inputs": ("Inputs", "Origins", "load_inputs"),
    "train.config": ("TrainConfig",),
    "train.job": ("TrainJob", "train_model"),
    "storage.model_folders": ("model_path",),
    "models": ("pull_model",),
    "trec": ("check_run",),
    "tune.job": ("TuneJob", "tune_interpolation"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME_OF)  # one table says what is public and where it lives


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("rrarank")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'rrarank' has no attribute {name!r}")
    return getattr(import_module(f"rrarank.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
