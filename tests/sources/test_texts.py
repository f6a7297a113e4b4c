"""Texts: each document from the first source that has it; what none has is missing, and said so."""

import gzip
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from rrarank.data.documents import document_text
from rrarank.errors import MissingPrerequisite, MissingResource, RrarankError
from rrarank.sources.collection import Collection, find_collection
from rrarank.sources.ir_datasets import IrDatasetsTexts, ir_dataset, ir_dataset_qrels, ir_dataset_topics
from rrarank.sources.texts import InlineTexts, Source, TextStore, gather
from rrarank.storage.sidecar import RecordedId


@pytest.fixture
def collection(tmp_path):
    def write(name, content):
        path = tmp_path / name
        packed = gzip.compress(content.encode()) if name.endswith(".gz") else content.encode()
        path.write_bytes(packed)
        return Collection(path)

    return write


# -- collections -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gz", ["", ".gz"])
@pytest.mark.parametrize(
    ("name", "content", "documents"),
    [
        ("c.jsonl", '{"id": "a", "contents": "x"}\r\n\n{"id": 7, "contents": "y\\n"}', [("a", "x"), ("7", "y\n")]),
        ("c.json", '\ufeff{"_id": "a", "title": "T", "text": "x"}', [("a", "T x")]),
        ("c", '{"docid": "007", "segment": "x"}', [("007", "x")]),
        ("c.tsv", "a\tx\ty \r\n\nNA\t\n東\u3000京\té\u2028\n", [("a", "x\ty "), ("NA", ""), ("東\u3000京", "é\u2028")]),
    ],
)
def test_documents_of_a_collection(collection, name, content, documents, gz):
    assert list(collection(name + gz, content)) == documents


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"text": "1", "segment": "2", "contents": "3", "content": "4", "body": "5", "passage": "6"}, "1"),
        ({"segment": "2", "contents": "3", "passage": "6"}, "2"),
        ({"passage": "6", "body": "5", "content": "4", "contents": "3"}, "3"),
        ({"passage": "6", "body": "5", "content": "4"}, "4"),
        ({"passage": "6", "body": "5"}, "5"),
        ({"passage": "6", "url": "u"}, "6"),
        ({"text": None, "body": "5"}, "5"),
        ({"title": "T", "text": "x"}, "T x"),
        ({"title": "T", "text": ""}, "T"),
        ({"title": "", "text": " x"}, " x"),
        ({"title": None, "text": ""}, ""),
    ],
)
def test_the_first_text_field_counts_and_a_title_comes_before_it(row, text):
    assert document_text(row, "here") == text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.jsonl", '{"id": "a", "text": "x"}\n{"id": "b"}', ":2: fields 'id'; expected one of 'text', 'segment', "),
        ("c.jsonl", '{"text": "x"}', ":1: fields 'text'; expected one of 'id', '_id', 'docid', 'doc_id'"),
        ("c.jsonl", "\na\tx", ":2: not JSON (Expecting value at column 1)"),
        ("c.jsonl", '["a", "x"]', ":1: a JSON list, expected an object"),
        ("c.tsv", "a\tx\nb x", ":2: no tab; expected docid<TAB>text"),
        ("c.tsv.gz", "b x", ":1: no tab; expected docid<TAB>text"),
    ],
)
def test_a_malformed_collection_is_refused_by_line(collection, name, content, message):
    broken = collection(name, content)
    with pytest.raises(RrarankError) as error:
        list(broken)
    assert str(error.value).startswith(f"{broken.path}{message}")


def test_of_a_docid_that_stands_twice_the_first_counts_and_another_text_is_said(collection, caplog):
    source = collection("c.tsv", "a\t1\nb\t3\nb\t3\na\t2\n")
    with caplog.at_level("INFO", logger="rrarank"):
        assert dict(gather([source], {"a", "b"})) == {"a": "1", "b": "3"}
    assert caplog.messages == [f"{source.path}: 1 docids have two different texts ('a'); the first one is used"]


ARRAY = [{"id": "a", "contents": "x"}, {"_id": 7, "title": "T", "text": "y"}]
DPR = 'id\ttext\ttitle\n1\t"Aaron ( or ; ""Ahärôn"") is a prophet"\tAaron\n2\tplain\tB "C"\n'


@pytest.mark.parametrize("gz", ["", ".gz"])
@pytest.mark.parametrize(
    ("name", "content", "documents"),
    [
        ("c.json", json.dumps(ARRAY), [("a", "x"), ("7", "T y")]),
        ("c.json", json.dumps(ARRAY, indent=2), [("a", "x"), ("7", "T y")]),
        ("c.jsonl", json.dumps(ARRAY, indent=2), [("a", "x"), ("7", "T y")]),
        ("psgs.tsv", DPR, [("1", 'Aaron Aaron ( or ; "Ahärôn") is a prophet'), ("2", 'B "C" plain')]),
        ("c.tsv", 'a\t"quoted" text\n', [("a", '"quoted" text')]),
    ],
)
def test_arrays_and_tables_with_a_header(collection, name, content, documents, gz):
    assert list(collection(name + gz, content)) == documents


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.json", '[{"id": "a", "text": "x"},\n{"id": "b"}]', ": document 2: fields 'id'; expected one of 'text', "),
        ("c.json", '[\n{"id": "a", "text": "x"},\n7]', ": document 2: a JSON int, expected an object"),
        ("c.json", '[{"id": "a", "text": "x"}', ":1: not JSON (Expecting ',' delimiter at column 26)"),
        ("psgs.tsv", "id\ttext\ttitle\n1\tx\n", ":2: 2 columns, expected 3 (id text title)"),
        ("psgs.tsv", 'id\ttext\ttitle\n1\t"x\n', ":2: 2 columns, expected 3 (id text title)"),
    ],
)
def test_malformed_arrays_and_tables(collection, name, content, message):
    broken = collection(name, content)
    with pytest.raises(RrarankError) as error:
        list(broken)
    assert str(error.value).startswith(f"{broken.path}{message}")


def test_a_folder_of_files(tmp_path):
    (tmp_path / "docs" / "deep").mkdir(parents=True)
    for name, content in {"b.txt": "B\n", "a.txt": "A b", "deep/c.txt": "C", ".hidden.txt": "no"}.items():
        (tmp_path / "docs" / name).write_text(content)
    assert find_collection(tmp_path / "docs") == tmp_path / "docs"
    assert list(Collection(tmp_path / "docs")) == [("a", "A b"), ("b", "B"), ("c", "C")]
    (tmp_path / "docs" / "1.jsonl.gz").write_bytes(gzip.compress(b'{"id": "x", "text": "X"}'))
    (tmp_path / "docs" / "2.json").write_text(json.dumps(ARRAY))
    assert list(Collection(tmp_path / "docs")) == [("x", "X"), ("a", "x"), ("7", "T y")]  # the .txt is a README
    (tmp_path / "empty").mkdir()
    with pytest.raises(RrarankError, match="empty: a folder without documents; expected .jsonl, .json, .tsv or .txt"):
        find_collection(tmp_path / "empty")


# -- gathering ---------------------------------------------------------------------------------------------------------


@dataclass
class Asked:
    """Inline texts that keep what they were asked for."""

    texts: dict[str, str]
    wanted: list[set[str]] = field(default_factory=list)

    def stream(self, wanted):
        self.wanted.append(set(wanted))
        return InlineTexts(self.texts).stream(wanted)


def test_each_source_is_asked_only_for_what_those_before_it_lacked():
    first, second, third = Asked({"a": "1"}), Asked({"a": "2", "b": "2"}), Asked({"a": "3", "b": "3"})
    store = gather([first, second, third], {"a", "b"})
    assert dict(store) == {"a": "1", "b": "2"}
    assert (first.wanted, second.wanted, third.wanted) == ([{"a", "b"}], [{"b"}], [])


def test_what_no_source_has_is_absent(collection):
    store = gather([InlineTexts({"a": "1", "z": "9"}), collection("c.tsv", "b\t2\n")], {"a", "b", "c"})
    assert dict(store) == {"a": "1", "b": "2"}
    assert "c" not in store
    assert dict(gather([], {"a"})) == {}
    assert dict(gather([InlineTexts({"a": "1"})], set())) == {}


def test_a_store_is_a_mapping():
    store = TextStore()
    store.add([("a", "x"), ("007", ""), ("東\u3000京", "é\0y"), ("a", "later")])
    assert isinstance(store, Mapping)
    assert (store["a"], store["007"], store["東\u3000京"], len(store)) == ("x", "", "é\0y", 3)
    assert set(store) == {"a", "007", "東\u3000京"}
    assert store.get("7", "none") == "none"
    with pytest.raises(KeyError, match="'b'"):
        store["b"]


# -- ir_datasets -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """A data set registered under an id that ir_datasets does not use."""
    folder = tmp_path_factory.mktemp("ir_datasets")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IR_DATASETS_HOME", str(folder / "home"))
        patch.setenv("IR_DATASETS_TMP", str(folder / "tmp"))
        import ir_datasets

        (folder / "docs.tsv").write_text("a\tabout tea\n007\tabout bread\nb\tabout cats\n")
        (folder / "queries.tsv").write_text("2\twhat is tea\n1\twhy bread\n")
        docs, queries = str(folder / "docs.tsv"), str(folder / "queries.tsv")
        name = "rrarank-tests"
        ir_datasets.registry.register(name, ir_datasets.create_dataset(docs_tsv=docs, queries_tsv=queries))
        ir_datasets.registry.register(f"{name}/docs", ir_datasets.create_dataset(docs_tsv=docs))
        ir_datasets.registry.register(f"{name}/gone", ir_datasets.create_dataset(str(folder / "x"), str(folder / "y")))
        yield name
        for registered in (name, f"{name}/docs", f"{name}/gone"):
            del ir_datasets.registry._registered[registered]


def test_texts_and_topics_of_a_data_set(dataset):
    assert dict(gather([IrDatasetsTexts(dataset)], {"007", "b", "absent"})) == {"007": "about bread", "b": "about cats"}
    assert list(ir_dataset_topics(dataset).items()) == [("2", "what is tea"), ("1", "why bread")]


def test_what_a_data_set_lacks_the_next_source_gives(dataset):
    sources: list[Source] = [
        InlineTexts({"a": "mine"}),
        IrDatasetsTexts(dataset),
        InlineTexts({"b": "last", "c": "last"}),
    ]
    assert dict(gather(sources, {"a", "b", "c"})) == {"a": "mine", "b": "about cats", "c": "last"}


def test_an_unknown_id_is_refused(dataset):
    with pytest.raises(RrarankError, match=r"no ir_datasets id 'rrarank-tests/no'; see https://ir-datasets.com"):
        ir_dataset_topics(f"{dataset}/no")


def test_a_data_set_without_queries_is_refused_for_topics(dataset):
    with pytest.raises(RrarankError, match="the ir_datasets id 'rrarank-tests/docs' has no queries"):
        ir_dataset_topics(f"{dataset}/docs")
    assert ir_dataset(f"{dataset}/docs", "docs").has_docs()


def test_a_data_set_whose_files_are_out_of_reach_says_what_to_do(dataset):
    with pytest.raises(MissingResource, match="not on disk and could not be downloaded.*give local files instead"):
        ir_dataset_topics(f"{dataset}/gone")
    with pytest.raises(MissingResource, match="not on disk"):
        gather([IrDatasetsTexts(f"{dataset}/gone")], {"a"})


@pytest.mark.parametrize("error", [RuntimeError("All download sources failed", ["a" * 900]), ValueError("x" * 900)])
@pytest.mark.parametrize("part", ["queries", "qrels", "docs"])
def test_whatever_ir_datasets_raises_is_one_short_line(dataset, part, error, monkeypatch):
    class Offline:
        def docs_store(self):
            raise error

        def __getattr__(self, name):
            return (lambda: True) if name.startswith("has_") else self.docs_store

    read = {
        "queries": lambda: ir_dataset_topics(dataset),
        "qrels": lambda: ir_dataset_qrels(dataset),
        "docs": lambda: gather([IrDatasetsTexts(dataset)], {"a"}),
    }
    monkeypatch.setattr("ir_datasets.load", lambda _: Offline())
    with pytest.raises(MissingResource, match="not on disk and could not be downloaded") as raised:
        read[part]()
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400


def test_names_without_their_files_are_one_line_and_exit_4(tmp_path):
    """As on a machine without a network: ir_datasets raises a RuntimeError."""
    (tmp_path / "r.trec").write_text("1 Q0 a 1 2 x\n")
    (tmp_path / "c.tsv").write_text("a\tx\n")
    here = {"IR_DATASETS_HOME": str(tmp_path / "home"), "IR_DATASETS_TMP": str(tmp_path / "tmp")}
    nowhere = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    flags = ["--run", "r.trec", "--topics", "dl21-passage", "--collection", "c.tsv", "--reranker", "bm25"]
    command = [sys.executable, "-m", "rrarank.rerank", *flags]
    environment = os.environ | here | nowhere
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (4, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("error: ir_datasets 'msmarco-passage-v2/trec-dl-2021/judged': its files are not on disk")


def test_importing_the_package_writes_nothing_into_the_home(tmp_path):
    modules = "rrarank.sources.texts, rrarank.sources.inputs, rrarank.engine.registry"
    code = f"import {modules}, sys; assert 'ir_datasets' not in sys.modules"
    environment = {**os.environ, "HOME": str(tmp_path), "IR_DATASETS_HOME": ""}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert list(tmp_path.iterdir()) == []


def test_a_library_that_a_data_set_lacks_is_one_line(dataset, monkeypatch):
    def lacks(name):
        raise ImportError("this data set needs ijson")

    monkeypatch.setattr("ir_datasets.load", lacks)
    with pytest.raises(MissingPrerequisite, match="this data set needs ijson; install it"):
        ir_dataset_topics(dataset)


@pytest.fixture
def remote(dataset, tmp_path):
    """A data set that a server holds, and the paths that the server was asked for."""
    import ir_datasets
    from ir_datasets.datasets.base import Dataset
    from ir_datasets.formats import TsvDocs, TsvQueries
    from ir_datasets.util import Cache, RequestsDownload

    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"a\tabout tea\n")

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        docs, queries = (Cache(RequestsDownload(url + name), tmp_path / name) for name in ("docs.tsv", "queries.tsv"))
        ir_datasets.registry.register(f"{dataset}/remote", Dataset(TsvDocs(docs), TsvQueries(queries)))
        yield f"{dataset}/remote", asked
        del ir_datasets.registry._registered[f"{dataset}/remote"]
        server.shutdown()


def test_what_a_sidecar_names_is_not_downloaded_unless_the_user_names_it(remote):
    name, asked = remote
    recorded = RecordedId(name)
    said = f"named by the run's sidecar and not on disk; to download it, give --dataset {name}"
    with pytest.raises(MissingResource, match=said):
        ir_dataset_topics(recorded)
    with pytest.raises(MissingResource, match=said):
        gather([IrDatasetsTexts(recorded)], {"a"})
    assert asked == []
    assert ir_dataset_topics(name) == {"a": "about tea"}
    assert ir_dataset_topics(recorded) == {"a": "about tea"}  # it is on disk now
    assert asked == ["/queries.tsv"]


def test_a_stray_quote_in_a_table_swallows_no_document(tmp_path):
    rows = ['d1\t"Fresh" bread\tBread', 'd2\t"Cats sleep\tCats', "d3\tFreeze\tCold", 'd4\tstale"\tFridge']
    (tmp_path / "psgs.tsv").write_text("\n".join(["id\ttext\ttitle", *rows]) + "\n")
    assert dict(Collection(tmp_path / "psgs.tsv")) == {
        "d1": 'Bread "Fresh" bread', "d2": 'Cats "Cats sleep', "d3": "Cold Freeze", "d4": 'Fridge stale"'
    }  # fmt: skip
