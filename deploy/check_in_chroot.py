"""Run the Dockerfile's steps in clean root folders, start the server there without rights, and ask it.

It needs no container engine, but root, debootstrap, unshare and nsenter (util-linux) and ip (iproute2):

    python deploy/check_in_chroot.py FOLDER [--keep PATH …] [--release bookworm]

Each stage is a copy of one fresh Debian in FOLDER, whose own Python stands in for the image `python:…-slim`. pip has
the PIP_… variables of this machine there; --keep brings other files that its configuration needs, as /etc/pip.conf.
FOLDER keeps the roots, and a stage that is there is not built again. Exit 1 where a step fails, or an answer is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
DOCKERFILE = CHECKOUT / "deploy" / "Dockerfile"
PATHS = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
KEY = "a-key-that-is-made-for-this-check"
SECONDS = 60  # most for the server's start
ASK = f"""
import json, urllib.request as u
body = {{"query": "how long to boil an egg", "documents": ["eggs keep for weeks", "boil an egg for ten minutes"]}}
headers = {{"content-type": "application/json", "authorization": "Bearer {KEY}"}}
print(u.urlopen(u.Request("http://127.0.0.1:8080/v2/rerank", json.dumps(body).encode(), headers)).read().decode())
"""


@dataclass
class Stage:
    """A FROM and what follows it."""

    name: str
    root: Path
    steps: list[tuple[str, str, str]] = field(default_factory=list)  # (RUN or COPY, the rest, the folder)
    variables: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str = "0"
    health: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)  # ENTRYPOINT and CMD


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the Dockerfile's steps in clean root folders.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--keep", type=Path, nargs="+", default=[], metavar="PATH", help="also there while pip runs")
    parser.add_argument("--release", default="bookworm", help="of Debian")
    flags = parser.parse_args()
    base = flags.folder.resolve() / "base"
    if not base.exists():
        print(f"debootstrap {flags.release}", flush=True)
        packages = "--include=python3,python3-venv,ca-certificates"
        call("debootstrap", "--variant=minbase", packages, flags.release, f"{base}.part")
        (Path(f"{base}.part") / "usr/local/bin/python").symlink_to("/usr/bin/python3")  # as the image has it
        Path(f"{base}.part").rename(base)
    stages = read_stages(base.parent)
    for stage in stages.values():
        if not stage.root.exists():
            build(stage, stages, base, flags.keep)
    sys.exit(check(stages["final"]))


def call(*command: object) -> None:
    subprocess.run(list(map(str, command)), check=True)


# -- the Dockerfile ---------------------------------------------------------------------------------------------------


def read_stages(folder: Path) -> dict[str, Stage]:
    stages: dict[str, Stage] = {}
    for word, rest in instructions():
        if word == "FROM":
            name = rest.partition(" AS ")[2] or "final"
            stage = stages[name] = Stage(name, folder / name)
        elif word in ("RUN", "COPY"):
            stage.steps.append((word, rest, stage.folder))
        elif word == "ENV":
            for pair in rest.split():
                name, _, value = pair.partition("=")
                stage.variables[name] = value.replace("$PATH", PATHS)
        elif word == "WORKDIR":
            stage.folder = rest
        elif word == "USER":
            stage.user = rest
        elif word == "HEALTHCHECK":
            stage.health = json.loads(rest.partition("CMD ")[2])
        elif word in ("ENTRYPOINT", "CMD"):
            stage.command += json.loads(rest)
        elif word not in ("ARG", "EXPOSE"):
            sys.exit(f"{DOCKERFILE}: {word} is not known here")
    return stages


def instructions() -> Iterator[tuple[str, str]]:
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield word, " ".join(rest.split())


# -- building ---------------------------------------------------------------------------------------------------------


def build(stage: Stage, stages: Mapping[str, Stage], base: Path, keep: list[Path]) -> None:
    part = stage.root.with_suffix(".part")
    call("rm", "-rf", part)
    call("cp", "-a", base, part)
    with within(part, [Path("/etc/resolv.conf"), *keep]):
        for word, rest, folder in stage.steps:
            print(f"{stage.name}: {word} {rest}", flush=True)
            (part / folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
            if word == "RUN":
                call(*inside(part, stage, "0", ["/bin/sh", "-c", f"cd {folder} && {rest}"], pip_variables()))
            else:
                copy(rest, part / folder.lstrip("/"), part, stages)
    part.rename(stage.root)


def copy(rest: str, folder: Path, root: Path, stages: Mapping[str, Stage]) -> None:
    *options, source, target = rest.split()
    if not options:  # COPY . .: what git has
        piped = 'set -o pipefail; git ls-files -z | tar -c --null -T - | tar -x -C "$0"'
        subprocess.run(["bash", "-c", piped, str(folder)], cwd=CHECKOUT, check=True)
        return
    other = stages[options[0].removeprefix("--from=")].root
    shutil.copytree(other / source.lstrip("/"), root / target.lstrip("/"), symlinks=True)


def pip_variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("PIP_")}


@contextmanager
def within(root: Path, keep: list[Path]) -> Iterator[None]:
    """The root with /proc and these paths of this machine in it."""
    with ExitStack() as stack:
        for source in keep:
            target = root / str(source).lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.mkdir(exist_ok=True) if source.is_dir() else target.touch()
            call("mount", "--bind", source.resolve(), target)
            stack.callback(call, "umount", target)
        call("mount", "-t", "proc", "proc", root / "proc")
        stack.callback(call, "umount", root / "proc")
        yield


def inside(root: Path, stage: Stage, user: str, command: list[str], more: Mapping[str, str]) -> list[str]:
    variables = {"PATH": PATHS, "HOME": "/root", "LANG": "C.UTF-8", **more, **stage.variables}
    named = [f"{name}={value}" for name, value in variables.items()]
    return ["chroot", f"--userspec={user}:{user}", str(root), "/usr/bin/env", "-i", *named, *command]


# -- the server -------------------------------------------------------------------------------------------------------


def check(stage: Stage) -> int:
    """Start it in a network of its own, and ask as the health check and as a client do."""
    server = inside(stage.root, stage, stage.user, stage.command, {"RRARANK_API_KEYS": KEY})
    loopback = ["unshare", "--net", "--", "sh", "-c", 'ip link set lo up && exec "$@"', "-"]
    with within(stage.root, []), subprocess.Popen([*loopback, *server]) as process:
        there = ["nsenter", f"--net=/proc/{process.pid}/ns/net", "--"]
        try:
            seconds = until_healthy([*there, *inside(stage.root, stage, stage.user, stage.health, {})])
            asked = [*there, *inside(stage.root, stage, stage.user, ["python", "-c", ASK], {})]
            reply = json.loads(subprocess.run(asked, check=True, capture_output=True, text=True).stdout)
            status = Path(f"/proc/{process.pid}/status").read_text().split()
        finally:
            process.terminate()
    user, order = status[status.index("Uid:") + 1], [one["index"] for one in reply["results"]]
    size = subprocess.run(["du", "-sm", stage.root], check=True, capture_output=True, text=True).stdout.split()[0]
    print(f"healthy after {seconds:.1f} s, as user {user}; order {order}; exit {process.returncode}; {size} MB")
    return 0 if (user, order, process.returncode) == (stage.user, [1, 0], 0) else 1


def until_healthy(command: list[str]) -> float:
    started = time.monotonic()
    while subprocess.run(command, capture_output=True).returncode:
        if time.monotonic() - started > SECONDS:
            sys.exit(f"not healthy within {SECONDS} s")
        time.sleep(0.5)
    return time.monotonic() - started


if __name__ == "__main__":
    main()
