"""Flags that several verbs share; defining them imports nothing heavy."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from rrarank.cli.parser import positive
from rrarank.data.topics import FIELDS
from rrarank.engine import registry
from rrarank.engine.ray import RayConfig
from rrarank.errors import RrarankError
from rrarank.extras import check_installed
from rrarank.sources.inputs import Origins

BACKENDS = ("torch", "onnx", "openvino", "auto")
PRECISIONS = ("fp32", "bf16", "fp16", "int8")


def add_threads(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--threads", type=positive, metavar="N", help="CPU threads (default: the library's own)")


def add_sources(parser: argparse._ActionsContainer) -> None:
    """Where queries and texts are, as `origins_of` reads it."""
    add = parser.add_argument
    add("--topics", default="", help="TSV, JSON or TREC file, a BEIR folder, or a name such as dl19-passage")
    add_topic_field(parser)
    add("--collection", default="", help="JSON or TSV file of texts, a folder of such files, or a BEIR folder")
    add("--index", default="", help="Lucene index with stored texts, or a name such as msmarco-v1-passage")
    add("--dataset", default="", help="ir_datasets id or BEIR folder, for texts and, without --topics, queries")


def origins_of(flags: argparse.Namespace) -> Origins:
    """The flags of `add_sources`."""
    return Origins(flags.topics, flags.collection, flags.index, flags.dataset, flags.topic_field)


def add_topic_field(parser: argparse._ActionsContainer) -> None:
    text = "part of a topic that is the query (default: text or query in JSON, else the title)"
    parser.add_argument(
        "--topic-field", choices=FIELDS, default="", metavar="PART", help=f"{text}: {', '.join(FIELDS)}"
    )


def add_reranker(parser: argparse._ActionsContainer) -> None:
    """--reranker and the flags that `reranker_settings` reads."""
    add = parser.add_argument
    add("--reranker", default=registry.DEFAULT, metavar="NAME", help="a registered name")
    add("--model", metavar="PATH_OR_ID", help="folder or hub id (default: the reranker's own)")
    add("--allow-pickle", action="store_true", help="load pickled weights if there are no safetensors")
    add("--max-length", type=positive, help="tokens per pair (default: the model's maximum)")
    add("--device", help="cpu, cuda, cuda:1, … (default: cuda if there is one)")
    add("--batch-size", type=positive, help="most pairs scored at once (default: as many as fit)")
    add("--backend", choices=BACKENDS, default="torch", help="what runs the model; auto: measure which is fastest")
    add("--precision", choices=PRECISIONS, help="precision of matrix products (default: fp32)")
    add("--instruction", metavar="TEXT", help="what to judge by, for models with a prompt (default: the model's own)")
    add("--query-prompt", metavar="TEXT", help="put before each query (default: the model's own)")
    add("--document-prompt", metavar="TEXT", help="put before each document (default: the model's own)")
    option = "a setting of this reranker; repeatable"
    add("--option", action="append", default=[], metavar="KEY=VALUE", help=option)
    add_threads(parser)


def add_calibration(parser: argparse._ActionsContainer) -> None:
    """--calibration, for verbs that say how relevant a document is; `reranker_settings` reads it."""
    parser.add_argument(
        "--calibration", default="", metavar="FILE", help="of rrarank.calibrate (default: the model folder's)"
    )


def check_reranker_flags(flags: argparse.Namespace) -> None:
    """Refuse flags of `add_reranker` that cannot work, before anything is loaded."""
    registry.check_known(flags.reranker)
    if flags.backend == "auto" and flags.precision:
        raise RrarankError("--precision with --backend auto: auto chooses both; give one of the two")


def reranker_settings(flags: argparse.Namespace) -> dict[str, object]:
    """The flags of `add_reranker` and `add_calibration` as settings for `registry.load_reranker`."""
    plain = ("model", "device", "threads", "batch_size", "max_length", "backend", "precision", "allow_pickle")
    names = (*plain, "instruction", "query_prompt", "document_prompt")
    given = {name: getattr(flags, name) for name in names}
    if calibration := getattr(flags, "calibration", ""):
        if not Path(calibration).is_file():
            raise RrarankError(f"--calibration {calibration}: no such file; rrarank calibrate writes it")
        given["calibration"] = calibration
    return given | registry.parse_options(flags.reranker, flags.option)


def add_engine(parser: argparse._ActionsContainer) -> None:
    """The flags that `ray_config` reads, except --threads and --device."""
    add = parser.add_argument
    add("--engine", choices=("local", "ray"), default="local", help="ray: workers of Ray Data, each with its own model")
    add("--workers", type=positive, metavar="N", help="Ray workers, each with --threads (default: 2)")
    add("--address", default="", help="Ray cluster: auto, or HOST:PORT (default: start one here)")


def check_engine_flags(flags: argparse.Namespace) -> None:
    """Refuse flags of `add_engine` that cannot work, before anything is loaded."""
    odd = next((name for name in ("workers", "address") if getattr(flags, name)), "")
    if odd and flags.engine != "ray":
        raise RrarankError(f"--{odd} without --engine ray: give both or neither")
    if flags.engine == "ray":
        check_installed("ray")


def ray_config(flags: argparse.Namespace) -> RayConfig | None:
    """What the flags of `add_engine` say of Ray; None: score in this process."""
    if flags.engine != "ray":
        return None
    workers = flags.workers or RayConfig.workers
    threads = flags.threads or (1 if flags.address else max(1, (os.cpu_count() or 1) // workers))
    gpus = 1.0 if str(flags.device or "").startswith("cuda") else 0.0
    return RayConfig(workers, threads, flags.address, gpus)
