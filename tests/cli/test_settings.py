"""The server's settings: the command line before the environment before a file."""

import pytest

from rrarank.serve.__main__ import main

TOML = 'port = 8099\nmax-documents = 7\nmodel = "x"\noption = ["a=1"]\n'


@pytest.fixture
def shown(capsys):
    """The lines of --show-config."""

    def shown(*flags):
        assert main([*map(str, flags), "--show-config"]) == 0
        return capsys.readouterr().out.splitlines()

    return shown


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(shown, tmp_path, monkeypatch):
    (tmp_path / "s.toml").write_text(TOML)
    monkeypatch.setenv("RRARANK_MAX_DOCUMENTS", "8")
    monkeypatch.setenv("RRARANK_PORT", "8098")
    lines = shown("--config", tmp_path / "s.toml", "--port", "81", "--option", "b=2")
    assert "port: 81  # the command line" in lines
    assert "max-documents: 8  # RRARANK_MAX_DOCUMENTS" in lines
    assert f"model: x  # {tmp_path}/s.toml" in lines
    assert "option: [a=1, b=2]  # the command line" in lines
    assert "queue: 64  # the default" in lines


def test_flags_of_the_reranker_are_settings_too(shown, monkeypatch):
    monkeypatch.setenv("RRARANK_RERANKER", "bi-encoder")
    monkeypatch.setenv("RRARANK_ALLOW_PICKLE", "true")
    lines = shown()
    assert "reranker: bi-encoder  # RRARANK_RERANKER" in lines
    assert "allow-pickle: true  # RRARANK_ALLOW_PICKLE" in lines


def test_what_is_shown_is_a_file_of_the_same_settings(shown, tmp_path):
    (tmp_path / "s.toml").write_text(TOML)
    lines = shown("--config", tmp_path / "s.toml", "--keys", "k: #")
    (tmp_path / "again.yaml").write_text("\n".join(lines))
    again = shown("--config", tmp_path / "again.yaml")
    assert [line.partition("  # ")[0] for line in again] == [line.partition("  # ")[0] for line in lines]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("s.toml", "prot = 1", "no setting 'prot'; did you mean 'port'?"),
        ("s.toml", "port = ", "s.toml: not TOML"),
        ("s.toml", "port = 99999", "s.toml: port 99999: input should be less than 65536"),
        ("s.yaml", "max_documents: x", "s.yaml: max-documents x: input should be a valid integer"),
        ("s.yaml", "backend: cuda", "s.yaml: backend cuda: input should be 'torch', 'onnx'"),
        ("s.yaml", "threads: 0", "s.yaml: threads 0: input should be greater than or equal to 1"),
        ("s.yaml", "- a", "s.yaml: a YAML list"),
    ],
)
def test_a_fault_in_the_file_is_named(tmp_path, capsys, name, text, said):
    (tmp_path / name).write_text(text)
    assert main(["--config", str(tmp_path / name)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_file_that_is_not_there_is_named(tmp_path, capsys):
    assert main(["--config", str(tmp_path / "none.toml")]) == 2
    assert "none.toml: cannot be read" in capsys.readouterr().err


def test_a_key_is_never_shown(shown, monkeypatch):
    monkeypatch.setenv("RRARANK_API_KEYS", "a-key-that-is-secret")
    assert "a-key-that-is-secret" not in "\n".join(shown())


def test_a_variable_names_the_file_of_settings_too(shown, tmp_path, monkeypatch):
    for name in ("s", "t"):
        (tmp_path / f"{name}.toml").write_text(TOML.replace("8099", "8090" if name == "t" else "8099"))
    monkeypatch.setenv("RRARANK_CONFIG", str(tmp_path / "s.toml"))
    assert f"port: 8099  # {tmp_path}/s.toml" in shown()
    assert f"port: 8090  # {tmp_path}/t.toml" in shown("--config", tmp_path / "t.toml")


@pytest.mark.parametrize("name", ["PORT", "LOG", "MODELS", "CONFIG", "OPTION"])
def test_an_empty_variable_is_none(shown, tmp_path, monkeypatch, name):
    """Compose and systemd set one where a variable of theirs is empty."""
    monkeypatch.setenv(f"RRARANK_{name}", "")
    assert all(line.endswith("# the default") for line in shown())


def test_a_variable_that_is_nearly_a_setting_is_told(shown, monkeypatch, caplog):
    monkeypatch.setenv("RRARANK_MAX_DOCUMENT", "5")
    monkeypatch.setenv("RRARANK_API_KEYS", "a-key-that-is-secret")
    monkeypatch.setenv("RRARANK_PORT_8080_TCP_ADDR", "10.0.0.1")  # of Kubernetes
    with caplog.at_level("INFO"):
        shown()
    assert caplog.messages == ["RRARANK_MAX_DOCUMENT sets nothing; did you mean 'max_documents'?"]
