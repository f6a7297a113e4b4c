"""A log goes into PostgreSQL and comes back the same, by the statements of `deploy/ubi.sql`."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from rrarank.data.ubi import LoggedQuery, click, line_of
from rrarank.data.ubi_files import read_log, write_log

SQL = Path(__file__).parents[2] / "deploy" / "ubi.sql"
PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
QUERIES = [
    LoggedQuery(
        f"i{n}", "u", "2026-01-31T12:00:00+00:00", ("a\\b", "c,d"), query_attributes={"words": n, "teams": ["x"]}
    )
    for n in range(3)
]
EVENTS = [click(query, 2, 1769860800 + n, {"dwell_time": 1.5}) for n, query in enumerate(QUERIES)]


@pytest.fixture
def psql():
    """Asks a server of its own, on a socket; it does not run as root."""
    if not PROGRAMS:
        pytest.skip("PostgreSQL is not installed: apt install postgresql")
    user = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="rrarank-pg-"))
    if user:
        shutil.chown(folder, user)

    def control(*arguments):
        program = str(PROGRAMS[-1].with_name(arguments[0]))
        subprocess.run([program, "-D", str(folder / "data"), *arguments[1:]], check=True, user=user, cwd="/", stdout=-3)

    def ask(*arguments, given=""):
        command = ["psql", "-h", str(folder), "-U", user or "", "-d", "postgres", "-v", "ON_ERROR_STOP=1", *arguments]
        done = subprocess.run([part for part in command if part], input=given, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    control("initdb", "-A", "trust", "-U", user or os.environ.get("USER", "postgres"))
    control("pg_ctl", "-o", f"-k {folder} -c listen_addresses=", "-l", str(folder / "log"), "-w", "start")
    yield ask
    control("pg_ctl", "-m", "immediate", "-w", "stop")
    shutil.rmtree(folder)


@pytest.mark.slow
def test_a_log_goes_into_postgresql_and_comes_back(psql, tmp_path):
    write_log(tmp_path / "log", QUERIES, EVENTS)
    lines = "".join(file.read_text() for file in sorted((tmp_path / "log").iterdir()))
    for torn in ('{"action_name": "cli', ""):  # the second time everything is there already
        psql("-q", "-f", str(SQL), given=lines + torn)
    exports = re.findall(r'psql -Atc "(.+)" > (\S+)', SQL.read_text())
    (tmp_path / "back").mkdir()
    for statement, name in exports:
        (tmp_path / "back" / name).write_text(psql("-Atc", statement))
    back = read_log(tmp_path / "back")
    assert sorted(back.queries, key=lambda one: one.query_id) == QUERIES
    assert [one.event_attributes for one in sorted(back.events, key=lambda one: one.query_id)] == [
        one.event_attributes for one in EVENTS
    ]
    with_nul = click(QUERIES[0], 1, 1769860800, action="cl\0ick")
    psql("-q", "-f", str(SQL), given=line_of(with_nul) + "\n")
    assert psql("-Atc", "select count(*) from ubi_events where action_name = 'cl\ufffdick'") == "1\n"
    assert psql("-Atc", "select count(*) from ubi_events where event_attributes->'position'->>'ordinal' = '2'") == "3\n"
