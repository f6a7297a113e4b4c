"""Export a cross-encoder or a sparse encoder. `python -m rrarank.export --model M --backend onnx --output FOLDER`"""

from __future__ import annotations

import argparse
import sys

from rrarank.cli.flags import add_threads
from rrarank.cli.parser import Parser, positive
from rrarank.cli.verbs import Arguments, run_verb
from rrarank.errors import say


def main(arguments: Arguments = None) -> int:
    return run_verb(_export, parser(), arguments)


def parser() -> argparse.ArgumentParser:
    parser = Parser(
        "export", "Export a cross-encoder or a sparse encoder for rrarank.rerank --backend, if it ranks as torch does."
    )
    parser.add_argument("--model", required=True, metavar="PATH_OR_ID", help="folder or hub id, or a model that ships")
    parser.add_argument("--backend", required=True, choices=("onnx", "openvino"), help="what will run it")
    parser.add_argument("--precision", choices=("fp32", "bf16", "int8"), default="fp32", help="bf16: openvino only")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="a copy of the model with the export in it")
    parser.add_argument(
        "--max-length", type=positive, help="tokens per pair in the comparison with torch (default: the model's)"
    )
    add_threads(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace the same export, or another model's")
    return parser


def _export(flags: argparse.Namespace) -> None:
    from rrarank.export.job import ExportJob, export_model

    job = ExportJob(
        flags.model,
        flags.output,
        flags.backend,
        flags.precision,
        threads=flags.threads or 0,
        max_length=flags.max_length or 0,
        overwrite=flags.overwrite,
    )
    say(f"on the sample, compared with torch fp32: {export_model(job)}")
    print(flags.output)


if __name__ == "__main__":
    sys.exit(main())
