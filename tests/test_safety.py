"""What no line of the package may do, and where names may not lead."""

import ast
from pathlib import Path

import pytest

import rrarank
from rrarank.errors import RrarankError
from rrarank.llm.prompts import load_prompt
from rrarank.reproduce.config import load_table
from rrarank.storage.files import find
from rrarank.storage.model_folders import locate
from rrarank.storage.yaml_settings import read_yaml
from rrarank.train.config import load_config

FILES = sorted(Path(rrarank.__file__).parent.rglob("*.py"))
NEVER = {"eval", "exec", "compile", "__import__", "os.system", "os.popen"}
PICKLES = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal", "cloudpickle"}


def calls(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


LOADS = {"from_pretrained", "from_config"}  # and the models of sentence-transformers


def found(code):
    """What is unsafe in a file's source, by line."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (f"{node.lineno}: {name}" for name in names if name.partition(".")[0] in PICKLES)
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    models = {alias.name for one in imports if one.module == "sentence_transformers" for alias in one.names}
    for call in calls(tree):
        name, given = ast.unparse(call.func), {one.arg: ast.unparse(one.value) for one in call.keywords}
        if name in NEVER:
            yield f"{call.lineno}: {name}"
        if given.get("shell", "False") != "False":
            yield f"{call.lineno}: {name}(shell)"
        loads = name.rpartition(".")[2] in LOADS or name in models
        if given.get("trust_remote_code", "" if loads else "False") != "False":
            yield f"{call.lineno}: {name} without trust_remote_code=False"
        if name == "torch.load" and given.get("weights_only") != "True":
            yield f"{call.lineno}: torch.load without weights_only"
        if name in ("np.load", "numpy.load") and given.get("allow_pickle", "False") != "False":
            yield f"{call.lineno}: numpy.load of pickles"
        if name == "yaml.load" and ast.unparse(call.args[1]) != "Loader":
            yield f"{call.lineno}: yaml.load by a loader of another kind"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(Path(rrarank.__file__).parent)))
def test_no_line_runs_what_a_file_or_a_model_says(path):
    assert list(found(path.read_text())) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from joblib import load",
        "eval(text)",
        "os.system('x')",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
        "AutoModel.from_pretrained(name)",
        "AutoTokenizer.from_pretrained(name, **settings)",
        "from sentence_transformers import SentenceTransformer; SentenceTransformer(name)",
        "subprocess.run(command, shell=True)",
        "torch.load(path)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text, yaml.UnsafeLoader)",
    ],
)
def test_the_search_finds_what_it_is_for(line):
    assert len(list(found(line))) == 1


def test_yaml_makes_no_objects(tmp_path):
    (tmp_path / "x.yaml").write_text("a: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(RrarankError, match="x.yaml:1: not YAML"):
        read_yaml(tmp_path / "x.yaml")


WAYS_OUT = ["../training/rra-bert", "../tables/sample", "/etc/hostname.yaml", "rra-bert/../rra-gpt"]


@pytest.mark.parametrize("name", WAYS_OUT)
@pytest.mark.parametrize("load", [load_prompt, load_config, load_table])
def test_the_name_of_something_that_ships_cannot_leave_its_folder(load, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RrarankError, match="no such"):
        load(name)


def test_neither_can_the_name_of_a_model_or_a_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("../prebuilt/rra-bert-mini", "rra-bert-mini/../rra-bert-mini", "./rra-bert-mini"):
        with pytest.raises(RrarankError):
            locate(name)
    with pytest.raises(RrarankError, match="no such file"):
        find("../runs/bm25.trec", "runs")
    assert locate("rra-bert-mini").is_dir()
    assert find("bm25.trec", "runs").is_file()
