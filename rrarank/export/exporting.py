"""A model folder with an exported model in it, compared with torch in float32 before it appears."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from rrarank.engine.agreement import Agreement, Lists, agreement
from rrarank.engine.batches import Batch
from rrarank.errors import MissingPrerequisite, RrarankError
from rrarank.export.onnx_graph import write_graph
from rrarank.rerankers.backends.exported import FILES, LIBRARIES, files_of
from rrarank.rerankers.cross_encoder import CrossEncoder
from rrarank.sources.sample import sample_rankings
from rrarank.storage.files import sha256
from rrarank.storage.model_folders import EXPORT_MANIFEST, EXPORTED, fingerprint, loading, locate
from rrarank.storage.sidecar import versions

FORMAT = "rrarank.export/1"
DEPTH = 40  # candidates a query that the two are compared on
_NOT_OURS = ("*.bin", "*.pt", "*.h5", "*.msgpack", "*.ot", ".*")  # weights of other libraries, caches


@dataclass(frozen=True)
class ExportConfig:
    """What is exported, from where.

    Args:
        model: folder or hub id of a cross-encoder.
        backend: `onnx` or `openvino`.
        precision: of the exported file.
        threads: CPU threads; 0 for each library's default.
        max_length: most tokens of a pair where the two are compared; the exported file has no limit of its own.
    """

    model: str
    backend: str
    precision: str = "fp32"
    threads: int = 0
    max_length: int = 0


@dataclass(frozen=True)
class Exported:
    """How the exported model did beside torch in float32: agreement, and pairs a second of either."""

    agreement: Agreement
    rate: float
    torch_rate: float

    def __str__(self) -> str:
        return f"{self.agreement}; {self.rate:,.0f} pairs/s, torch fp32 {self.torch_rate:,.0f}"


def export_model(config: ExportConfig, output: Path, *, overwrite: bool, follow: Callable[[str], None]) -> Exported:
    """Write to `output` the model's folder with the exported model in it, whole or not at all; what else was exported
    there from the same model is kept.

    Args:
        overwrite: replace the same export, or exports of another model.
        follow: is told what is being done.

    Raises:
        MissingPrerequisite: a library is not installed.
        RrarankError: `output` is something else, or the exported model ranks too unlike torch.
    """
    _check_config(config)
    source = locate(config.model)
    whole = fingerprint(source)
    kept = _kept(output, whole, config, overwrite)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent.resolve()) as work:
        made = Path(work, "model")
        shutil.copytree(source, made, ignore=shutil.ignore_patterns(*EXPORTED, *_NOT_OURS))
        for path in {path for export in kept for path in files_of(_target(output, export))}:
            place = made / path.relative_to(output)
            place.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, place)
        done = _export(config, source, made, follow)
        exports = [*kept, _entry(config, made, done)]
        manifest = {"format": FORMAT, "source": {"name": _name(config.model), "fingerprint": whole}}
        (made / EXPORT_MANIFEST).write_text(json.dumps(manifest | {"exports": exports}, indent=2) + "\n", "utf-8")
        if output.exists():
            os.replace(output, Path(work, "replaced"))
        os.replace(made, output)
    return done


# -- before -----------------------------------------------------------------------------------------------------------


def _check_config(config: ExportConfig) -> None:
    """Before anything is loaded."""
    if config.precision not in FILES[config.backend]:
        offered = ", ".join(FILES[config.backend])
        raise RrarankError(f"--precision {config.precision}: {config.backend} offers {offered}")
    import_module(f"rrarank.rerankers.{config.backend}_backend")  # raises if its library is not installed
    if lacking := [name for name in ("onnx", "onnxscript") if find_spec(name) is None]:
        raise MissingPrerequisite(
            f"to export needs {' and '.join(lacking)}; type: pip install 'rrarank[{config.backend}]'"
        )


def _kept(output: Path, whole: str, config: ExportConfig, overwrite: bool) -> Sequence[Mapping[str, Any]]:
    """The exports that `output` holds and that stay: of the same model, in other precisions.

    Raises:
        RrarankError: it is no export, or something would be replaced without `overwrite`.
    """
    if not output.exists():
        return []
    try:
        manifest = json.loads((output / EXPORT_MANIFEST).read_text(encoding="utf-8"))
        known, same = manifest["format"] == FORMAT, manifest["source"]["fingerprint"] == whole
        held = [export for export in manifest["exports"] if _target(output, export).is_file()]
    except (OSError, ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise RrarankError(f"{output}: in the way, and not an export of rrarank; give another --output")
    if not overwrite and not same:
        raise RrarankError(f"{output}: holds an export of another model; give --overwrite, or another --output")
    asked = (config.backend, config.precision)
    kept = [export for export in held if (export["backend"], export["precision"]) != asked]
    if not overwrite and len(kept) < len(held):
        raise RrarankError(f"{output}: holds {' '.join(asked)} already; give --overwrite to redo it")
    return kept if same else []


def _target(folder: Path, export: Mapping[str, Any]) -> Path:
    """Where a manifest's export lies."""
    return folder / FILES[export["backend"]][export["precision"]]


# -- the file, and what it is worth -----------------------------------------------------------------------------------


def _export(config: ExportConfig, source: Path, made: Path, follow: Callable[[str], None]) -> Exported:
    """Write the file below `made` and compare it with the checkpoint in `source`."""
    follow("scoring the sample by torch fp32")
    reference, torch_rate, unseen = _score_sample(config, source, "torch", "fp32")
    follow(f"writing {FILES[config.backend][config.precision]}")
    _write(config, source, made, unseen)
    follow(f"scoring the sample by {config.backend} {config.precision}")
    found, rate, _ = _score_sample(config, made, config.backend, config.precision)
    done = Exported(agreement(found, reference), rate, torch_rate)
    if lacks := done.agreement.lacks(same_scores=config.precision == "fp32"):
        raise RrarankError(
            f"{config.model}: {config.backend} {config.precision} ranks too unlike torch fp32, nothing is written: "
            f"{done.agreement}; expected {lacks}"
        )
    return done


def _score_sample(config: ExportConfig, folder: Path, backend: str, precision: str) -> tuple[Lists, float, Batch]:
    """The scores of the sample, pairs a second, and some pairs that are not in it: each query with another's texts."""
    settings = CrossEncoder.Config(str(folder), "cpu", config.threads, 0, config.max_length, backend, precision)
    reranker = CrossEncoder(settings)
    rankings = sample_rankings(DEPTH)
    texts = [[candidate.text for candidate in ranking.candidates] for ranking in rankings]
    pairs = [reranker.encode(r.query.text, own) for r, own in zip(rankings, texts, strict=True)]
    started = time.perf_counter()
    scores = iter(reranker.score_all([pair for own in pairs for pair in own]))
    rate = sum(map(len, pairs)) / (time.perf_counter() - started)
    others = zip(rankings, texts[1:] + texts[:1], strict=True)
    unseen = [pair for ranking, other in others for pair in reranker.encode(ranking.query.text, other[:4])]
    return [[next(scores) for _ in own] for own in pairs], rate, unseen


def _write(config: ExportConfig, source: Path, made: Path, batch: Batch) -> None:
    """Write the file, unless it is there for another precision that shares it."""
    target = made / FILES[config.backend][config.precision]
    if target.is_file():
        return
    target.parent.mkdir(exist_ok=True)
    graph = target if config.backend == "onnx" else made.with_name("graph.onnx")
    with loading(config.model, "cpu", config.threads):
        tokenizer: Any = AutoTokenizer.from_pretrained(source)
        write_graph(source, config.model, tokenizer, batch, graph, backend=config.backend, precision=config.precision)
    if config.backend == "openvino":
        from rrarank.rerankers.backends.openvino import convert

        convert(graph, target)


def _name(model: str) -> str:
    """A hub id as it is; of a folder its name, for a path would tell of this machine."""
    folder = Path(model).expanduser()
    return folder.resolve().name if folder.is_dir() else model


def _entry(config: ExportConfig, made: Path, done: Exported) -> Mapping[str, Any]:
    """What the manifest says of it."""
    target = made / FILES[config.backend][config.precision]
    library = LIBRARIES[config.backend]
    return {
        "backend": config.backend,
        "precision": config.precision,
        "files": {path.relative_to(made).as_posix(): sha256(path) for path in files_of(target)},
        "agreement": asdict(done.agreement),
        "rates": {"pairs_s": round(done.rate, 1), "torch_fp32_pairs_s": round(done.torch_rate, 1)},
        "threads": config.threads,
        "max_length": config.max_length,
        "versions": {**versions(), library: import_module(library).__version__},
    }
