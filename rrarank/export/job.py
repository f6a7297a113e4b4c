"""Export a model folder for a faster back end, and compare the export with torch before it appears."""

from __future__ import annotations

import json
import shlex
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rrarank.engine.agreement import Agreement, Lists, agreement
from rrarank.errors import RrarankError, say
from rrarank.extras import check_installed
from rrarank.rerankers.backends.exported import FILES, LIBRARIES, files_of
from rrarank.rerankers.uses import is_sparse_encoder
from rrarank.sources.sample import sample_rankings
from rrarank.storage.files import read_json, sha256
from rrarank.storage.folders import replace_folder
from rrarank.storage.model_folders import EXPORT_MANIFEST, EXPORTED, fingerprint, loading, locate
from rrarank.storage.sidecar import versions

if TYPE_CHECKING:
    from rrarank.engine.batches import Batch
    from rrarank.engine.reranker import Pointwise

FORMAT = "rrarank.export/1"
DEPTH = 40  # candidates per query in the comparison
_IGNORED = ("*.bin", "*.pt", "*.h5", "*.msgpack", "*.ot", ".*")  # weights of other libraries, caches


@dataclass(frozen=True)
class ExportJob:
    """What to export, and where to.

    Args:
        model: folder or hub id of a cross-encoder, or of a sparse encoder.
        output: folder to write: a copy of the model with the export in it.
        backend: `onnx` or `openvino`.
        precision: of the exported file.
        threads: CPU threads; 0 for each library's default.
        max_length: most tokens per pair in the comparison; the exported file itself has no limit.
        overwrite: replace the same export, or exports of another model.
    """

    model: str
    output: str | Path
    backend: str
    precision: str = "fp32"
    threads: int = 0
    max_length: int = 0
    overwrite: bool = False


@dataclass(frozen=True)
class Exported:
    """How the export compares with torch in float32: agreement, and pairs per second of each."""

    agreement: Agreement
    rate: float
    torch_rate: float

    def __str__(self) -> str:
        return f"{self.agreement}; {self.rate:,.0f} pairs/s, torch fp32 {self.torch_rate:,.0f}"


def export_model(job: ExportJob) -> Exported:
    """Write the output folder, whole or not at all. Other exports of the same model in it are kept.

    Raises:
        MissingPrerequisite: a library is not installed.
        RrarankError: `output` is something else, or the export does not rank as torch does.
    """
    _check_libraries(job)
    source, output = locate(job.model), Path(job.output)
    model_fingerprint = fingerprint(source)
    output.parent.mkdir(parents=True, exist_ok=True)
    with replace_folder(output, overwrite=True) as made:  # a folder that may not be replaced is refused in `_kept`
        kept = _kept(job, model_fingerprint)
        shutil.copytree(source, made, ignore=partial(_skipped, source), dirs_exist_ok=True)
        for path in {path for export in kept for path in files_of(_target(output, export))}:
            place = made / path.relative_to(output)
            place.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, place)
        done = _export(job, source, made)
        exports = [*kept, _entry(job, made, done)]
        manifest = {"format": FORMAT, "source": {"name": _name(job.model), "fingerprint": model_fingerprint}}
        (made / EXPORT_MANIFEST).write_text(json.dumps(manifest | {"exports": exports}, indent=2) + "\n", "utf-8")
    return done


def _skipped(source: Path, folder: str, names: list[str]) -> set[str]:
    """The files that are not copied.

    Raises:
        RrarankError: a link leads out of the model's folder: its target may be no part of the model.
    """
    skipped = shutil.ignore_patterns(*EXPORTED, *_IGNORED)(folder, names)
    root = source.resolve()
    cache = [root.parent.parent / "blobs"] if root.parent.name == "snapshots" else []  # where the hub's files lie
    for path in (Path(folder, name) for name in names if name not in skipped):
        if path.is_symlink() and not any(path.resolve().is_relative_to(place) for place in [root, *cache]):
            raise RrarankError(
                f"{path}: a link out of the model's folder, which is not followed; replace it by the file: "
                f"cp --remove-destination {shlex.quote(str(path.resolve()))} {shlex.quote(str(path))}"
            )
    return skipped


# -- checks -----------------------------------------------------------------------------------------------------------


def _check_libraries(job: ExportJob) -> None:
    """Check the back end, its precision and its libraries before anything is loaded."""
    if job.backend not in FILES:
        raise RrarankError(f"--backend {job.backend}: expected {' or '.join(FILES)}")
    if job.precision not in FILES[job.backend]:
        raise RrarankError(f"--precision {job.precision}: {job.backend} offers {', '.join(FILES[job.backend])}")
    check_installed(LIBRARIES[job.backend], "onnx", "onnxscript", extra=job.backend)


def _kept(job: ExportJob, model_fingerprint: str) -> Sequence[Mapping[str, Any]]:
    """The exports in the output folder that stay: other precisions of the same model.

    Raises:
        RrarankError: the folder is not an export, or something would be replaced without `overwrite`.
    """
    output = Path(job.output)
    if not output.exists():
        return []
    try:
        manifest = json.loads((output / EXPORT_MANIFEST).read_text(encoding="utf-8"))
        known, same = manifest["format"] == FORMAT, manifest["source"]["fingerprint"] == model_fingerprint
        held = [export for export in manifest["exports"] if _target(output, export).is_file()]
    except (OSError, ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise RrarankError(f"{output}: exists and is not an export of rrarank; give another --output")
    if not job.overwrite and not same:
        raise RrarankError(f"{output}: holds an export of another model; give --overwrite, or another --output")
    asked = (job.backend, job.precision)
    kept = [export for export in held if (export["backend"], export["precision"]) != asked]
    if not job.overwrite and len(kept) < len(held):
        raise RrarankError(f"{output}: holds {' '.join(asked)} already; give --overwrite to redo it")
    return kept if same else []


def _target(folder: Path, export: Mapping[str, Any]) -> Path:
    """The file of an export that the manifest lists."""
    return folder / FILES[export["backend"]][export["precision"]]


# -- the exported file, and how it compares ---------------------------------------------------------------------------


def _export(job: ExportJob, source: Path, made: Path) -> Exported:
    """Write the file below `made` and compare it with the checkpoint in `source`."""
    say("scoring the sample with torch fp32")
    reference, torch_rate, unseen = _score_sample(job, source, "torch", "fp32")
    say(f"writing {FILES[job.backend][job.precision]}")
    _write(job, source, made, unseen)
    say(f"scoring the sample with {job.backend} {job.precision}")
    found, rate, _ = _score_sample(job, made, job.backend, job.precision)
    done = Exported(agreement(found, reference), rate, torch_rate)
    if lacks := done.agreement.lacks(same_scores=job.precision == "fp32"):
        raise RrarankError(
            f"{job.model}: {job.backend} {job.precision} ranks too differently from torch fp32, nothing is written: "
            f"{done.agreement}; expected {lacks}"
        )
    return done


def _score_sample(job: ExportJob, folder: Path, backend: str, precision: str) -> tuple[Lists, float, Batch]:
    """The sample's scores, pairs per second, and a few pairs outside the sample: each query with another's texts."""
    reranker = _load(folder, (str(folder), "cpu", job.threads, 0, job.max_length, backend, precision))
    rankings = sample_rankings(DEPTH)
    texts = [[candidate.text for candidate in ranking.candidates] for ranking in rankings]
    pairs = [reranker.encode(r.query.text, own) for r, own in zip(rankings, texts, strict=True)]
    started = time.perf_counter()
    scores = iter(reranker.score_all([pair for own in pairs for pair in own]))
    rate = sum(map(len, pairs)) / (time.perf_counter() - started)
    others = zip(rankings, texts[1:] + texts[:1], strict=True)
    unseen = [pair for ranking, other in others for pair in reranker.encode(ranking.query.text, other[:4])]
    return [[next(scores) for _ in own] for own in pairs], rate, unseen


def _load(folder: Path, settings: tuple[str, str, int, int, int, str, str]) -> Pointwise:
    """The reranker that the folder is for.

    Args:
        settings: the first of `RerankerConfig`.
    """
    if is_sparse_encoder(folder):
        from rrarank.rerankers.sparse_encoder import SparseEncoder

        return SparseEncoder(SparseEncoder.Config(*settings))
    from rrarank.rerankers.cross_encoder import CrossEncoder

    labels = (read_json(folder / "config.json") or {}).get("id2label") or {}
    either = str(labels.get("1", ""))  # of two labels: which one means relevant does not matter here
    return CrossEncoder(CrossEncoder.Config(*settings, relevant=either))


def _write(job: ExportJob, source: Path, made: Path, batch: Batch) -> None:
    """Write the file, unless another precision that shares it has written it."""
    from rrarank.export.onnx_graph import write_graph
    from rrarank.rerankers.checkpoints import Checkpoint
    from rrarank.rerankers.reading import keep_reading

    target = made / FILES[job.backend][job.precision]
    target.parent.mkdir(exist_ok=True)
    graph = target if job.backend == "onnx" else made.with_name("graph.onnx")
    with loading(job.model, "cpu", job.threads):
        checkpoint = Checkpoint.open(source, job.model)
        keep_reading(checkpoint, made)
        if target.is_file():
            return
        write_graph(checkpoint, batch, graph, backend=job.backend, precision=job.precision)
    if job.backend == "openvino":
        from rrarank.rerankers.backends.openvino import convert

        convert(graph, target)


def _name(model: str) -> str:
    """A hub id, or a folder's name without the path, which would tell of this machine."""
    folder = Path(model).expanduser()
    return folder.resolve().name if folder.is_dir() else model


def _entry(job: ExportJob, made: Path, done: Exported) -> Mapping[str, Any]:
    """The manifest's record of this export."""
    target = made / FILES[job.backend][job.precision]
    library = LIBRARIES[job.backend]
    return {
        "backend": job.backend,
        "precision": job.precision,
        "files": {path.relative_to(made).as_posix(): sha256(path) for path in files_of(target)},
        "agreement": asdict(done.agreement),
        "rates": {"pairs_s": round(done.rate, 1), "torch_fp32_pairs_s": round(done.torch_rate, 1)},
        "threads": job.threads,
        "max_length": job.max_length,
        "versions": {**versions(), library: import_module(library).__version__},
    }
