"""A first stage in a real PostgreSQL, re-ranked by a real server: the script of examples/ as a reader runs it."""

import json
import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path
from typing import Any

import pytest

from rrarank.sources.sample import sample_rankings

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "serve"))

from server_process import serving  # type: ignore[import-not-found]  # noqa: E402

BINARIES = [str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"))]  # where Debian has them
PG_CTL = shutil.which("pg_ctl", path=os.pathsep.join([os.environ["PATH"], *BINARIES]))
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not PG_CTL, reason="no PostgreSQL: apt-get install postgresql")]
FILL = """
import json, sys, psycopg
rows = [(one["id"], one["contents"]) for one in map(json.loads, open(sys.argv[2]))]
with psycopg.connect(sys.argv[1]) as connection:
    connection.execute("CREATE TABLE passages (id text PRIMARY KEY, body text NOT NULL)")
    connection.execute("CREATE INDEX ON passages USING gin (to_tsvector('english', body))")
    connection.cursor().executemany("INSERT INTO passages VALUES (%s, %s)", rows)
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """A Python that has psycopg, beside the packages of this one."""
    folder = tmp_path_factory.mktemp("psycopg")
    venv.create(folder, with_pip=True)
    [own] = (folder / "lib").glob("python*/site-packages")
    (own / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")
    command = [folder / "bin" / "python", "-m", "pip", "install", "-q", "psycopg[binary]"]
    installed = subprocess.run(command, capture_output=True, text=True)
    if installed.returncode:
        pytest.skip(f"psycopg cannot be installed: {installed.stderr.strip().splitlines()[-1]}")
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def database():
    """A cluster in a folder of its own that is asked through a socket only; PostgreSQL does not run as root."""
    user = pwd.getpwnam("postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name)
    as_user: dict[str, Any] = (
        {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if os.getuid() == 0 else {}
    )
    folder = Path(tempfile.mkdtemp(prefix="rrarank-postgresql-"))
    os.chown(folder, user.pw_uid, user.pw_gid)
    folder.chmod(0o755)

    def run(*command):
        subprocess.run([str(one) for one in command], check=True, cwd=folder, stdout=subprocess.DEVNULL, **as_user)

    try:
        run(PG_CTL, "-D", folder / "data", "-s", "-o", "-A trust -U rrarank -E UTF8 --locale=C.UTF-8", "init")
        options = f"-k {folder} -c listen_addresses="
        run(PG_CTL, "-D", folder / "data", "-s", "-w", "-l", folder / "log", "-o", options, "start")
        yield f"host={folder} user=rrarank dbname=postgres"
        run(PG_CTL, "-D", folder / "data", "-s", "-m", "fast", "stop")
    finally:
        shutil.rmtree(folder)


def test_full_text_of_postgresql_is_reranked(python, database, tmp_path):
    subprocess.run([python, "-c", FILL, database, ROOT / "prebuilt/sample/collection.jsonl"], check=True)
    query = sample_rankings(depth=1)[0].query.text
    with serving(tmp_path, "--device", "cpu") as server:
        command = [python, ROOT / "examples" / "postgresql_rerank.py", server.url, database, query]
        shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
        found = [line.split(" ", 2) for line in shown]
        lines = (ROOT / "prebuilt/sample/collection.jsonl").read_text().splitlines()
        texts = {one["id"]: one["contents"] for one in map(json.loads, lines)}
        wanted = server.post({"query": query, "documents": [text for *_, text in found]}).json()["results"]
    assert len(found) == 10
    assert [texts[ident] for ident, *_ in found] == [text for *_, text in found]
    assert [one["index"] for one in wanted] == list(range(10))  # best first
    assert [float(score) for _, score, _ in found] == [round(one["relevance_score"], 3) for one in wanted]
