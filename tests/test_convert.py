"""python -m rrarank.convert: any run, judgments and test collections into the neighbours' formats, by flags alone."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from rrarank.convert import ConvertJob, convert_collection, convert_qrels, convert_run, main
from rrarank.data.run_files import CARRYING, SUFFIXES, read_run_file
from rrarank.data.trec import read_run
from rrarank.errors import RrarankError
from rrarank.evaluate import main as evaluate
from rrarank.rerank.__main__ import main as rerank
from rrarank.sources.inputs import load_inputs
from rrarank.sources.texts import load_qrels
from rrarank.storage.sidecar import write_sidecar
from rrarank.trec import check_run
from rrarank.trec import main as check

RUN = "2 Q0 a 1 9.1 my-bm25\n2 Q0 b 2 9.1 my-bm25\n2 Q0 c 3 7 my-bm25\n1 Q0 c 1 5 my-bm25\n"
QRELS = {"1": {"c": 2}, "2": {"a": 0, "b": 1}}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a run, its sidecar, its topics, its collection and judgments."""
    monkeypatch.chdir(tmp_path)
    Path("bm25.trec").write_text(RUN)
    Path("topics.tsv").write_text("1\tone\n2\ttwo\n3\tnot in the run\n")
    Path("docs.tsv").write_text("a\tA tea\nb\tB cat\nc\tC dog\nd\tD\n")
    Path("qrels.txt").write_text("1 0 c 2\n2 0 a 0\n2 0 b 1\n")
    write_sidecar(Path("bm25.trec"), inputs={"topics": Path("topics.tsv"), "collection": Path("docs.tsv")})
    return tmp_path


@pytest.fixture
def convert(here, capsys):
    """convert("--run bm25.trec …"): the error line, "" if there is none, and the names of what is new in the folder."""

    def call(command):
        before = snapshot()
        code = main(command.split())
        captured = capsys.readouterr()
        after = snapshot()
        new = sorted(name for name in after if before.get(name) != after[name])
        assert before.keys() <= after.keys()
        if code == 0:
            return captured.err, new
        [error] = captured.err.splitlines()
        assert (code, captured.out, new) == (2, "", [])
        return error.removeprefix("error: "), new

    return call


def snapshot():
    return {str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file()}


def hits(run):
    return {qid: [tuple(hit) for hit in found] for qid, found in run.items()}


# -- a run ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", SUFFIXES)
def test_any_format_into_any_other(convert, to):
    """The order (ties settled) and the scores stay, and the converted run still knows its topics and texts."""
    written = {"2": [("b", 9.1), ("a", 9.099999), ("c", 7.0)], "1": [("c", 5.0)]}
    suffix = SUFFIXES[to]
    assert convert(f"--run bm25.trec --to {to} --output first{suffix}") == (
        "",
        [f"first{suffix}", f"first{suffix}.json"],
    )
    assert hits(read_run_file(f"first{suffix}").run) == written
    for other, end in SUFFIXES.items():
        output = f"{other}{end}"
        assert convert(f"--run first{suffix} --to {other} --output {output}") == ("", [output, f"{output}.json"])
        assert hits(read_run_file(output).run) == written
        inputs = load_inputs(output)
        assert {qid: inputs.topics[qid] for qid in inputs.run} == {"2": "two", "1": "one"}
        assert dict(inputs.texts) == {"a": "A tea", "b": "B cat", "c": "C dog"}


@pytest.mark.parametrize(
    ("output", "form"),
    [
        ("r.jsonl", '{"query": {"text": "two", "qid": "2"}, "candidates": [{"docid": "b", "score": 9.1, "doc": {"cont'),
        ("r.json", '{"2": {"b": 9.1, "a": 9.099999, "c": 7.0}, "1": {"c": 5.0}}\n'),
        ("r.trec", "2 Q0 b 1 9.1 my-bm25\n2 Q0 a 2 9.099999 my-bm25\n"),
        ("r.run", "2 Q0 b 1 9.1 my-bm25\n"),
    ],
)
def test_the_outputs_name_says_the_format(convert, output, form):
    assert convert(f"--run bm25.trec --output {output}") == ("", [output, f"{output}.json"])
    assert Path(output).read_text().startswith(form)


def test_stdout_takes_any_format_and_leaves_no_file(here, capsys):
    assert main("--run bm25.trec --to candidates --output - --hits 1".split()) == 0
    first, _ = json.loads(capsys.readouterr().out)
    candidate = {"docid": "b", "score": 9.1, "rank": 1, "doc": {"contents": "B cat"}}
    assert first == {"api": "v1", "index": "", "query": {"text": "two", "qid": "2"}, "candidates": [candidate]}
    assert set(snapshot()) == {"bm25.trec", "bm25.trec.json", "topics.tsv", "docs.tsv", "qrels.txt"}


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".trec"])
def test_hits_cut_each_query_and_ask_for_no_text_below(convert, suffix):
    Path("docs.tsv").write_text("b\tB cat\nc\tC dog\n")
    flags = "--topics topics.tsv --collection docs.tsv"
    assert convert(f"--run bm25.trec {flags} --hits 1 --output r{suffix}")[0] == ""
    assert hits(read_run_file(f"r{suffix}").run) == {"2": [("b", 9.1)], "1": [("c", 5.0)]}


def test_the_tag_is_the_runs_own_its_files_name_or_the_one_asked_for(convert):
    Path("first_stage.json").write_text('{"1": {"a": 1.5}}')
    convert("--run bm25.trec --output own.trec")
    convert("--run first_stage.json --output name.trec")
    convert("--run bm25.trec --output asked.trec --runtag x")
    assert [read_run(f"{name}.trec").tag for name in ("own", "name", "asked")] == ["my-bm25", "first_stage", "x"]


def test_a_tag_that_trec_would_not_take_hinders_only_a_trec_run(convert):
    Path("foreign.trec").write_text("1 Q0 a 1 9 a/system/of/another/tool\n")
    assert convert("--run foreign.trec --output r.trec")[0].startswith(
        "runtag 'a/system/of/another/tool': expected 1 to"
    )
    assert convert("--run foreign.trec --output r.json")[0] == ""
    assert convert("--run foreign.trec --output r.trec --runtag x")[0] == ""


def test_rerank_needs_nothing_but_a_converted_run(convert):
    """The sidecar leads ranx JSON to topics and texts, requests carry them, and either gives the same ranking."""
    convert("--run bm25.trec --output ranx.json")
    convert("--run bm25.trec --output results.jsonl --to results")
    for run in ("bm25.trec", "ranx.json", "results.jsonl"):
        assert rerank(["--run", run, "--reranker", "bm25", "--output", f"{run}.reranked"]) == 0
    assert len({path.read_text() for path in Path().glob("*.reranked")}) == 1
    assert rerank("--run results.jsonl.reranked --reranker bm25 --output again.trec".split()) == 0


def test_evaluate_reads_each_format(convert, capsys):
    for to, suffix in SUFFIXES.items():
        convert(f"--run bm25.trec --to {to} --output {to}{suffix}")
    Path("ranx.json.gz").write_bytes(gzip.compress(Path("ranx.json").read_bytes()))
    runs = [*(f"{to}{suffix}" for to, suffix in SUFFIXES.items() if to != "ranx"), "ranx.json.gz"]
    flags = ["--qrels", "qrels.txt", "--measures", "mrr", "--output", "out.json"]
    assert evaluate([*flags, "--runs", "bm25.trec", *runs]) == 0
    rows = json.loads(Path("out.json").read_text())["rows"]
    assert {row["name"]: row["means"]["mrr"] for row in rows} == dict.fromkeys(["bm25", *SUFFIXES], 1.0)


def test_what_has_no_topic_or_text_is_left_out_only_if_asked(convert):
    Path("topics.tsv").write_text("2\ttwo\n")
    Path("docs.tsv").write_text("a\tA\nc\tC\n")
    flags = "--run bm25.trec --topics topics.tsv --collection docs.tsv --output r.jsonl"
    assert convert(flags)[0].startswith("bm25.trec: 1 queries have no topic in topics.tsv ('1');")
    news, _ = convert(f"{flags} --skip-missing")
    assert news == "left out: 1 queries without topic, 1 documents without text\n"
    assert hits(read_run_file("r.jsonl").run) == {"2": [("a", 9.1), ("c", 7.0)]}
    Path("docs.tsv").write_text("x\tX\n")
    Path("topics.tsv").write_text("3\tthree\n")
    command = "--run bm25.trec --topics topics.tsv --collection docs.tsv --skip-missing --output none.jsonl"
    assert main(command.split()) == 2
    assert not Path("none.jsonl").exists()


def test_the_teacher_goes_with_run_and_judgments(convert, capsys):
    """evaluate marks a run whose teacher wrote the judgments; converting either does not hide it."""
    write_sidecar(Path("bm25.trec"), inputs={}, teacher="some-llm")
    write_sidecar(Path("qrels.txt"), inputs={}, teacher="some-llm")
    convert("--run bm25.trec --output r.json")
    convert("--qrels qrels.txt --output q.tsv")
    for output in ("r.json", "q.tsv"):
        assert json.loads(Path(f"{output}.json").read_text())["teacher"] == "some-llm"
    assert evaluate("--qrels q.tsv --runs r.json --measures mrr".split()) == 0
    assert "its teacher wrote the judgments" in capsys.readouterr().out


def test_python_converts_as_the_command_does(here, capsys):
    convert_run(ConvertJob("bm25.trec", "r.jsonl", hits=1))
    convert_qrels("qrels.txt", "q.tsv")
    convert_collection("beir", "topics.tsv", "docs.tsv", "qrels.txt")
    assert capsys.readouterr() == ("", "")
    assert hits(read_run_file("r.jsonl").run) == {"2": [("b", 9.1)], "1": [("c", 5.0)]}
    assert load_qrels(Path("q.tsv")) == load_qrels(Path("beir/qrels/test.tsv")) == QRELS
    with pytest.raises(RrarankError, match="r.jsonl: exists already"):
        convert_run(ConvertJob("bm25.trec", "r.jsonl"))


def test_python_checks_a_run_by_trecs_rules(here):
    Path("asked.tsv").write_text("1\tone\n2\ttwo\n")
    Path("good.trec").write_text("1 Q0 c 1 5 x\n2 Q0 a 1 9 x\n")
    assert check_run("good.trec", "asked.tsv") == 2
    with pytest.raises(RrarankError, match=r"no hits for 1 of 3 queries \('3'\)"):
        check_run("good.trec", "topics.tsv")


# -- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("", "give one of --run RUN, --qrels QRELS or --beir FOLDER"),
        ("--output o.json", "give one of --run RUN, --qrels QRELS or --beir FOLDER"),
        ("--run bm25.trec --qrels qrels.txt --output o.json", "give one of --run RUN, --qrels QRELS or --beir FOLDER"),
        ("--run bm25.trec --beir o", "give one of --run RUN, --qrels QRELS or --beir FOLDER"),
        ("--run bm25.trec", "--output is missing; give a file, or - for stdout"),
        ("--beir o --qrels qrels.txt", "--beir needs --topics, --collection and --qrels too"),
        ("--run none.trec --output o.json", "none.trec: no such file (looked in ./, ./runs/ and the package)"),
        ("--run bm25.trec --output o.jsonl.gz", "o.jsonl.gz: outputs are not packed; leave .gz out, and gzip the file"),
        (
            "--run bm25.trec --to ranx --output o.trec",
            "o.trec: --to ranx needs a name ending in .json, by which readers",
        ),
        ("--run bm25.trec --to requests --output o.json", "o.json: --to requests needs a name ending in .jsonl, by"),
        ("--run bm25.trec --to trec --output o.json", "o.json: --to trec needs a name not ending in .json, by which"),
        ("--run bm25.trec --output o.trec --runtag a/b", "runtag 'a/b': expected 1 to 20 of A-Z a-z 0-9 _ . -"),
        ("--run bm25.trec --output docs.tsv", "docs.tsv: exists already; give --overwrite to replace it"),
        ("--run bm25.trec --output bm25.trec --overwrite", "bm25.trec: would replace the input /"),
        ("--run bm25.trec --output docs.tsv --overwrite", "docs.tsv: would replace the input /"),
        ("--run bm25.trec.json --output o.trec", "bm25.trec.json: the sidecar of bm25.trec; give bm25.trec itself"),
        ("--run qrels.txt --output o.json", "qrels.txt:1: 4 columns, expected 6"),
        (
            "--qrels bm25.trec --output o.json",
            "bm25.trec:1: 6 columns, expected 4 (qid 0 docid grade); this looks like",
        ),
        ("--qrels qrels.txt --output qrels.txt --overwrite", "qrels.txt: would replace the input /"),
        ("--qrels qrels.txt --output docs.tsv", "docs.tsv: exists already; give --overwrite to replace it"),
    ],
)
def test_refused_in_one_line_and_nothing_is_left(convert, command, message):
    error, _ = convert(command)
    assert error.startswith(message)


@pytest.mark.parametrize("flags", ["", " --overwrite", " --to candidates --overwrite"])
def test_no_output_takes_the_place_of_a_sidecar(convert, flags):
    message = "bm25.trec.json: is the place of the sidecar of bm25.trec; give another --output"
    assert convert(f"--run bm25.trec --output bm25.trec.json{flags}")[0] == message
    assert convert(f"--qrels qrels.txt --output bm25.trec.json{flags}".replace(" --to candidates", ""))[0] == message
    Path("bm25.trec.json").unlink()  # where there is none, one may yet be looked for
    assert convert(f"--run bm25.trec --output bm25.trec.json{flags}")[0] == message


def test_nor_that_of_an_index(convert):
    Path("idx").mkdir()
    Path("idx/segments_1").touch()
    assert convert("--run bm25.trec --output idx.json")[0].startswith("idx.json: is the place of the sidecar of idx")


def test_a_run_that_does_not_know_its_texts_gets_the_command_to_type(convert):
    Path("bm25.trec.json").unlink()
    error, _ = convert("--run bm25.trec --output r.jsonl")
    assert error == (
        "bm25.trec: has no sidecar that names its topics and texts; type: python -m rrarank.convert --to requests "
        "--output r.jsonl --run bm25.trec --topics TOPICS.tsv --collection COLLECTION.jsonl  "
        "# or --index INDEX, or --dataset IR_DATASETS_ID; in Python give topics= and collection="
    )
    assert convert("--run bm25.trec --output r.json") == ("", ["r.json", "r.json.json"])  # ranx needs neither


def test_a_run_without_any_hit(convert):
    Path("r.jsonl").write_text('{"query": {"qid": "1", "text": "q"}, "candidates": []}')
    assert convert("--run r.jsonl --output r.trec")[0] == "r.jsonl: no hits that trec could hold"
    assert convert("--run r.jsonl --output again.jsonl")[0] == ""


@pytest.mark.parametrize("to", CARRYING)
def test_a_document_that_breaks_off_leaves_nothing(convert, to):
    Path("docs.tsv").write_text("a\tA\nb\tB\nc C\n")
    flags = "--topics topics.tsv --collection docs.tsv"
    error, _ = convert(f"--run bm25.trec {flags} --to {to} --output o{SUFFIXES[to]}")
    assert error == "docs.tsv:3: no tab; expected docid<TAB>text"


def test_an_existing_output_is_replaced_only_if_asked(convert):
    convert("--run bm25.trec --output r.json")
    assert convert("--run bm25.trec --hits 1 --output r.json")[0].startswith("r.json: exists already; give --overwrite")
    assert convert("--run bm25.trec --hits 1 --output r.json --overwrite") == ("", ["r.json", "r.json.json"])
    assert hits(read_run_file("r.json").run) == {"2": [("b", 9.1)], "1": [("c", 5.0)]}


# -- judgments and test collections -----------------------------------------------------------------------------------


@pytest.mark.parametrize("output", ["q.json", "q.tsv", "q2.txt"])
def test_judgments_into_each_format(convert, output):
    assert convert(f"--qrels qrels.txt --output {output}") == ("", [output, f"{output}.json"])
    assert load_qrels(Path(output)) == QRELS
    assert convert(f"--qrels {output} --output back.txt")[0] == ""
    assert Path("back.txt").read_bytes() == Path("qrels.txt").read_bytes()


def test_judgments_on_stdout_are_trecs(here, capsys):
    assert main("--qrels qrels.txt --output -".split()) == 0
    assert capsys.readouterr().out == Path("qrels.txt").read_text()


BEIR = "--beir new/beir --topics topics.tsv --collection docs.tsv --qrels qrels.txt"


def test_a_beir_folder_serves_every_verb(convert, capsys):
    files = ["new/beir/corpus.jsonl", "new/beir/qrels/dev.tsv", "new/beir/queries.jsonl"]
    assert convert(f"{BEIR} --split dev") == ("", files)
    Path("bm25.trec.json").unlink()
    assert rerank("--run bm25.trec --dataset new/beir --reranker bm25 --output r.trec".split()) == 0
    assert evaluate("--qrels new/beir --runs r.trec --measures mrr --output out.json".split()) == 0
    assert rerank("--run r.trec --reranker bm25 --output again.trec".split()) == 0  # by its sidecar
    assert check("check r.trec --topics new/beir --qrels new/beir".split()) == 2  # topic 3 is not answered
    assert "r.trec: no hits for 1 of 3 queries ('3')" in capsys.readouterr().err
    assert convert("--run bm25.trec --dataset new/beir --output r.jsonl")[0] == ""
    assert convert("--qrels new/beir --output q.json")[0] == ""
    assert load_qrels(Path("q.json")) == QRELS


def test_a_beir_folder_is_never_replaced(convert):
    convert(BEIR)
    message = "new/beir: exists already, and a folder is never replaced; give another name"
    assert convert(f"{BEIR} --overwrite")[0] == message


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("docs.tsv", "a\tA\nb B\n", "docs.tsv:2: no tab; expected docid<TAB>text"),
        ("docs.tsv", "a\tA\na\tB\n", "docid 'a' occurs twice in the collection; keep one"),
        ("topics.tsv", "1\tone\n", "new/beir: 1 judged queries have no topic ('2')"),
        ("qrels.txt", "1 0 c\n", "qrels.txt:1: 3 columns, expected 4"),
    ],
)
def test_a_beir_folder_appears_whole_or_not_at_all(convert, name, content, message):
    Path(name).write_text(content)
    assert convert(BEIR)[0].startswith(message)
    assert not Path("new/beir").exists()


def test_leftovers_of_a_killed_job_are_named_and_removed(here, capsys):
    left = [Path(name) for name in (".r.json.abcd1234.tmp", ".q.json.abcd1234.tmp", ".beir.abcd1234.tmp")]
    for path in left[:2]:
        path.touch()
    left[2].mkdir()
    for command in ("--run bm25.trec --output r.json", "--qrels qrels.txt --output q.json", BEIR.replace("new/", "")):
        assert main(command.split()) == 0
    said = capsys.readouterr().err.splitlines()
    assert said == [f"removing what a killed job left: {path.name!r}" for path in left]
    assert not any(path.exists() for path in left)


def test_real_judgments_and_a_real_run_there_and_back(shared_data, tmp_path, monkeypatch):
    """TREC DL 2019: through JSON lines, ranx and BEIR, every hit, score and grade is the same again."""
    monkeypatch.chdir(tmp_path)
    dl19 = shared_data / "dl19"
    where = ["--topics", str(dl19 / "topics.tsv"), "--collection", str(dl19 / "corpus.jsonl.gz")]
    assert main(["--run", str(dl19 / "runs" / "bm25.trec"), *where, "--hits", "100", "--output", "r.jsonl"]) == 0
    for source, output in [("r.jsonl", "r.json"), ("r.json", "back.trec"), ("back.trec", "again.jsonl")]:
        assert main(["--run", source, "--output", output]) == 0
    expected = {qid: found[:100] for qid, found in read_run(dl19 / "runs" / "bm25.trec").items()}
    back = read_run("back.trec")
    assert {qid: [h.docid for h in found] for qid, found in back.items()} == {
        qid: [h.docid for h in found] for qid, found in expected.items()
    }
    assert Path("r.jsonl").read_bytes() == Path("again.jsonl").read_bytes()
    assert main(["--beir", "beir", *where, "--qrels", str(dl19 / "qrels.txt")]) == 0
    assert main(["--qrels", "beir", "--output", "q.json"]) == 0
    assert load_qrels(Path("q.json")) == load_qrels(dl19 / "qrels.txt")


def test_help_loads_nothing_heavy():
    code = "import sys, rrarank.convert as verb\ntry: verb.main(['--help'])\nexcept SystemExit: pass\n"
    code += "print([m for m in ('torch', 'transformers', 'ranx', 'jnius', 'faiss', 'numpy') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"
