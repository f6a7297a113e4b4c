"""Checks of the machine: threads, memory, disk space, leftovers of earlier jobs."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import psutil

from rrarank.doctor.checks import FAIL, OK, WARN, Check
from rrarank.errors import shown
from rrarank.storage.leftovers import is_abandoned

CGROUP = Path("/sys/fs/cgroup")  # the limits of a container
GB = 10**9
LITTLE_ROOM, NO_ROOM = 5 * GB, 200 * 10**6  # free bytes; a base model with its cache takes 1 to 2 GB
LITTLE_MEMORY = 2 * GB  # torch and the shipped model take 1 GB
STALE_S = 3600.0  # a file being written changes more often
PROBE_S = 120.0  # torch's first import from a slow disk takes a minute


# -- processors, memory -----------------------------------------------------------------------------------------------


def usable_cores() -> int:
    """Cores that this process may use: those it may run on, or fewer if its container is given less time."""
    process = psutil.Process()
    allowed = len(process.cpu_affinity()) if hasattr(process, "cpu_affinity") else psutil.cpu_count() or 1
    return max(1, math.ceil(min(allowed, _quota())))


def _quota() -> float:
    """The container's limit in cores, by cgroup v2 or v1; infinite if there is none."""
    text = _read(CGROUP / "cpu.max") or " ".join(_read(CGROUP / f"cpu/cpu.cfs_{x}_us") for x in ("quota", "period"))
    found = re.fullmatch(r"(\d+) (\d+)", text)
    return int(found[1]) / int(found[2]) if found else math.inf


def threads() -> Iterator[Check]:
    most = usable_cores()
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        text = os.environ.get(variable, "")
        number = re.match(r"\s*(\d{1,6})\s*(,|$)", text)  # OpenMP takes a list, one for each level of nesting
        if not text:
            yield Check(variable, OK, "not set")
        elif not number:
            yield Check(variable, WARN, "not a number", f"export {variable}={most}, or unset it")
        elif int(number[1]) > most:
            seen = f"{number[1]}, but {most} cores are usable"
            yield Check(variable, WARN, seen, f"export {variable}={most}; more threads than cores are slower")
        else:
            yield Check(variable, OK, number[1])


_PROBE = """
import json, torch
gpus = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
print(json.dumps({"threads": torch.get_num_threads(), "gpus": gpus, "cuda": torch.version.cuda or ""}))
"""


def torch() -> Iterator[Check]:
    """Load torch in a separate process: a torch built for another processor or driver would kill this one."""
    done = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=PROBE_S, check=False)
    if done.returncode:
        yield Check("torch loads", FAIL, f"no ({_death(done)})", "install a torch for this machine: pytorch.org")
        return
    found = json.loads(done.stdout.splitlines()[-1])
    yield _torch_threads(found["threads"])
    yield _gpu(found["gpus"], found["cuda"])


def _death(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode < 0:
        return f"killed by {signal.Signals(-done.returncode).name}"
    return next(reversed(done.stderr.strip().splitlines()), f"exit {done.returncode}")


def _torch_threads(number: int) -> Check:
    if number <= (most := usable_cores()):
        return Check("torch threads", OK, str(number))
    seen = f"{number}, but {most} cores are usable"
    return Check("torch threads", WARN, seen, f"give --threads {most}, or export OMP_NUM_THREADS={most}")


def _gpu(names: list[str], cuda: str) -> Check:
    if names:
        return Check("GPU", OK, f"{', '.join(names)} (CUDA {cuda})")
    if Path("/dev/nvidiactl").exists():
        build = f"CUDA {cuda}" if cuda else "CPUs only"
        todo = "to use it, install the torch for its driver from pytorch.org"
        return Check("GPU", WARN, f"found, but this torch is built for {build} and cannot use it", todo)
    return Check("GPU", OK, "none, models run on the CPU")


def memory() -> Iterator[Check]:
    limits = [_read(CGROUP / name) for name in ("memory.max", "memory/memory.limit_in_bytes")]
    available = min([psutil.virtual_memory().available, *(int(limit) for limit in limits if limit.isdecimal())])
    if available < LITTLE_MEMORY:
        todo = "end other programs, or give a small --batch-size"
        yield Check("memory", WARN, f"{_gb(available)} available", todo)
    else:
        yield Check("memory", OK, f"{_gb(available)} available")


def _read(path: Path) -> str:
    """A file of the kernel; empty if there is none."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


# -- disks, files -----------------------------------------------------------------------------------------------------


def disks() -> Iterator[Check]:
    from huggingface_hub import constants

    yield _disk("working folder", Path(), "work in another folder")
    yield _disk("temporary folder", Path(tempfile.gettempdir()), "set TMPDIR to another folder")
    # models in a read-only cache still load
    yield _disk("model cache", Path(constants.HF_HUB_CACHE), "set HF_HOME to another folder", read_only=WARN)


def _disk(what: str, folder: Path, todo: str, *, read_only: str = FAIL) -> Check:
    name = f"disk of the {what}"
    if not _is_writable(folder):
        return Check(name, read_only, f"{folder} cannot be written", todo)
    free = shutil.disk_usage(_existing(folder)).free
    if free < LITTLE_ROOM:
        return Check(name, FAIL if free < NO_ROOM else WARN, f"{_gb(free)} free", f"make room, or {todo}")
    return Check(name, OK, f"{_gb(free)} free, writable")


def _is_writable(folder: Path) -> bool:
    """Whether a file can be made in `folder`, or `folder` itself in its parent; leaves nothing behind."""
    try:
        tempfile.TemporaryFile(dir=_existing(folder)).close()
    except OSError:
        return False
    return True


def _existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.absolute().parents) if place.exists())


def data_sets() -> Iterator[Check]:
    folder = Path(os.environ.get("IR_DATASETS_HOME") or Path.home() / ".ir_datasets")  # as ir_datasets reads it
    if _is_writable(folder):
        yield Check("ir_datasets home", OK, f"{folder}, writable")
    else:
        yield Check("ir_datasets home", WARN, f"{folder}, not writable", "set IR_DATASETS_HOME to a folder you own")


def leftovers() -> Iterator[Check]:
    begun = [*_below("*.journal"), *(work for work in _below("*.work") if work.is_dir())]  # of train, too
    journals = sorted(map(str, begun))
    todo = "type the same command again to resume, or remove it to start again"
    yield Check("journals", WARN, f"unfinished: {shown(journals)}", todo) if journals else Check("journals", OK, "none")
    old = sorted(str(path) for path in _below(".*.tmp") if is_abandoned(path) or _is_stale(path))
    todo = "remove them; no job writes them any more"
    yield Check("temporary files", WARN, shown(old), todo) if old else Check("temporary files", OK, "none left behind")


def _below(pattern: str) -> Iterator[Path]:
    """What matches here and in the folders here."""
    return chain(Path().glob(pattern), Path().glob(f"*/{pattern}"))


def _is_stale(path: Path) -> bool:
    return time.time() - path.stat().st_mtime > STALE_S


def _gb(size: int) -> str:
    return f"{size / GB:,.1f} GB"
