"""What a job starts from: the run, and its queries and texts from flags, else from its sidecar."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from rrarank.data.types import Hit
from rrarank.errors import RrarankError
from rrarank.sources.inputs import Origins, load_inputs
from rrarank.storage.sidecar import sidecar_path, write_sidecar


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a run of two queries, its topics and its collection, no sidecar."""
    monkeypatch.chdir(tmp_path)
    Path("run.trec").write_text("2 Q0 a 1 9 bm25\n2 Q0 b 2 8 bm25\n2 Q0 c 3 7 bm25\n1 Q0 c 1 5 bm25\n")
    Path("topics.tsv").write_text("1\tone\n2\ttwo\n3\tnot in the run\n")
    Path("docs.tsv").write_text("a\tA\nb\tB\nc\tC\nd\tD\n")
    return tmp_path


@pytest.fixture
def described(here):
    """The same, with a sidecar."""
    write_sidecar(Path("run.trec"), inputs={"topics": Path("topics.tsv"), "collection": Path("docs.tsv")})
    return here


FLAGS = Origins(topics="topics.tsv", collection="docs.tsv")


def refusal(*args, **kwargs):
    with pytest.raises(RrarankError) as error:
        load_inputs(*args, **kwargs)
    return str(error.value)


# -- flags -------------------------------------------------------------------------------------------------------------


def test_flags_give_topics_and_texts_to_a_run_without_sidecar(here):
    inputs = load_inputs("run.trec", FLAGS)
    assert dict(inputs.run) == {"2": [Hit("a", 9.0), Hit("b", 8.0), Hit("c", 7.0)], "1": [Hit("c", 5.0)]}
    assert inputs.topics == {"1": "one", "2": "two", "3": "not in the run"}
    assert dict(inputs.texts) == {"a": "A", "b": "B", "c": "C"}
    assert list(inputs.missing) == []
    assert inputs.origins == {"run": Path("run.trec"), "topics": Path("topics.tsv"), "collection": Path("docs.tsv")}


def test_only_the_texts_down_to_depth_are_gathered(here):
    assert dict(load_inputs("run.trec", FLAGS, depth=1).texts) == {"a": "A", "c": "C"}
    assert len(load_inputs("run.trec", FLAGS, depth=1).run["2"]) == 3


def test_a_bare_name_is_found_in_runs(here):
    Path("runs").mkdir()
    Path("run.trec").rename("runs/run.trec")
    assert load_inputs("run.trec", FLAGS).origins["run"] == Path("runs/run.trec")


@pytest.mark.parametrize(
    ("run", "origins", "message"),
    [
        ("no.trec", FLAGS, "no.trec: no such file (looked in ./, ./runs/ and the package)"),
        ("run.trec", Origins(topics="no.tsv", collection="docs.tsv"), "no.tsv: no such file"),
        ("run.trec", Origins(topics="topics.tsv", collection="no.jsonl"), "no.jsonl: no such file"),
    ],
)
def test_a_file_that_is_not_there_is_named(here, run, origins, message):
    assert refusal(run, origins) == message


# -- the sidecar -------------------------------------------------------------------------------------------------------


def test_the_sidecar_gives_topics_and_texts(described):
    inputs = load_inputs("run.trec")
    assert inputs.topics["2"] == "two"
    assert dict(inputs.texts) == {"a": "A", "b": "B", "c": "C"}
    assert inputs.origins == {"run": Path("run.trec"), "topics": Path("topics.tsv"), "collection": Path("docs.tsv")}


def test_the_run_that_ships_needs_its_name_only(here):
    inputs = load_inputs("bm25.trec", depth=3)
    assert len(inputs.run) == 20
    assert all(inputs.topics[qid] for qid in inputs.run)
    assert all(inputs.texts[hit.docid] for hits in inputs.run.values() for hit in hits[:3])


def test_each_flag_beats_the_sidecar_in_its_own_part(described):
    Path("other.tsv").write_text("1\teins\n2\tzwei\n")
    Path("other.jsonl").write_text("".join(json.dumps({"id": d, "text": d * 2}) + "\n" for d in "abc"))
    asked = load_inputs("run.trec", Origins(topics="other.tsv"))
    assert (asked.topics["2"], asked.texts["a"]) == ("zwei", "A")
    read = load_inputs("run.trec", Origins(collection="other.jsonl"))
    assert (read.topics["2"], read.texts["a"]) == ("two", "aa")
    assert read.origins == {"run": Path("run.trec"), "collection": Path("other.jsonl"), "topics": Path("topics.tsv")}


def test_a_changed_topics_file_is_refused_naming_both_files(described):
    Path("topics.tsv").write_text("1\tanother\n2\tquery\n")
    message = "topics.tsv is not the file that run.trec.json names (sha256 differs); give --topics yourself"
    assert refusal("run.trec") == message
    assert load_inputs("run.trec", Origins(topics="topics.tsv")).topics["1"] == "another"


def test_a_changed_run_is_refused(described):
    Path("run.trec").write_text("1 Q0 a 1 9 bm25\n")
    assert refusal("run.trec").startswith("run.trec is not what run.trec.json describes (sha256 differs)")


# -- what is missing ---------------------------------------------------------------------------------------------------

TYPE = "type: python -m rrarank.rerank --run run.trec"
ELSE = "--collection COLLECTION.jsonl  # or --index INDEX, or --dataset IR_DATASETS_ID"


@pytest.mark.parametrize(
    ("origins", "command"),
    [
        (Origins(), f"{TYPE} --topics TOPICS.tsv {ELSE}"),
        (Origins(topics="topics.tsv"), f"{TYPE} --topics topics.tsv {ELSE}"),
    ],
)
def test_a_foreign_run_gets_the_command_to_type(here, origins, command):
    typed, _, python = refusal("run.trec", origins).partition("; in Python give ")
    assert typed == f"run.trec: has no sidecar that names its topics and texts; {command}"
    assert python.endswith("collection=")


@pytest.mark.parametrize("command", ["rerank --reranker bm25", "convert --output r.jsonl"])
def test_the_command_does_the_job_when_typed(here, command):
    Path("run.trec").rename("my run.trec")
    typed = refusal("my run.trec", command=command).partition("; type: ")[2]
    typed = typed.replace("TOPICS.tsv", "topics.tsv").replace("COLLECTION.jsonl", "docs.tsv")
    typed = typed.replace("python ", f"'{sys.executable}' ", 1)
    done = subprocess.run(["bash", "-c", typed], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_file()


def test_a_sidecar_whose_files_are_gone_gets_the_command_too(described):
    Path("docs.tsv").unlink()
    why = "run.trec.json names 'topics.tsv', 'docs.tsv', some of which are gone"
    assert refusal("run.trec") == f"run.trec: {why}; {TYPE} --topics topics.tsv {ELSE}; in Python give collection="


def test_missing_texts_are_refused_or_skipped(here):
    Path("docs.tsv").write_text("b\tB\n")
    assert refusal("run.trec", FLAGS) == (
        "run.trec: 2 documents have no text in docs.tsv ('a', 'c'); "
        "give their source too, or skip_missing (--skip-missing) to leave them in first-stage order"
    )
    inputs = load_inputs("run.trec", FLAGS, skip_missing=True)
    assert (dict(inputs.texts), list(inputs.missing)) == ({"b": "B"}, ["a", "c"])
    assert len(inputs.run["2"]) == 3


def test_a_text_below_depth_is_not_missed(here):
    Path("docs.tsv").write_text("a\tA\nc\tC\n")
    assert list(load_inputs("run.trec", FLAGS, depth=1).missing) == []


def test_missing_topics_are_refused_or_skipped(here):
    Path("topics.tsv").write_text("1\tone\n")
    assert refusal("run.trec", FLAGS).startswith("run.trec: 1 queries have no topic in topics.tsv ('2');")
    inputs = load_inputs("run.trec", FLAGS, skip_missing=True)
    assert list(inputs.run) == ["2", "1"]
    assert dict(inputs.texts) == {"c": "C"}
    assert list(inputs.missing) == []


# -- requests ----------------------------------------------------------------------------------------------------------


def request(qid, text, *docids):
    candidates = [{"docid": docid, "score": 1, "doc": {"text": docid * 2}} for docid in docids]
    return {"query": {"qid": qid, "text": text}, "candidates": candidates}


def test_a_requests_file_brings_all_it_needs(here):
    Path("r.jsonl").write_text(json.dumps(request("9", "nine", "a", "b")))
    inputs = load_inputs("r.jsonl")
    assert dict(inputs.run) == {"9": [Hit("a", 1.0), Hit("b", 1.0)]}
    assert (inputs.topics, dict(inputs.texts)) == ({"9": "nine"}, {"a": "aa", "b": "bb"})
    assert inputs.origins == {"run": Path("r.jsonl"), "requests": Path("r.jsonl")}
    assert not sidecar_path("r.jsonl").exists()


def test_flags_beat_what_requests_carry_each_where_it_says_more(here):
    Path("r.jsonl").write_text(
        json.dumps(request("1", "eins", "a", "e")) + "\n" + json.dumps(request("9", "nine", "a"))
    )
    inputs = load_inputs("r.jsonl", FLAGS)
    assert (inputs.topics["1"], inputs.topics["9"]) == ("one", "nine")
    assert dict(inputs.texts) == {"a": "A", "e": "ee"}


def test_a_run_made_from_requests_still_finds_its_queries_and_texts_there(here):
    Path("r.json").write_text(json.dumps([request("1", "one", "a", "b", "c"), request("2", "two", "c")]))
    write_sidecar(Path("run.trec"), inputs=load_inputs("r.json").origins)
    inputs = load_inputs("run.trec")
    assert dict(inputs.run)["2"] == [Hit("a", 9.0), Hit("b", 8.0), Hit("c", 7.0)]
    assert (inputs.topics, inputs.texts["b"]) == ({"1": "one", "2": "two"}, "bb")
    assert inputs.origins == {"run": Path("run.trec"), "requests": Path("r.json")}
    assert load_inputs("run.trec", Origins(collection="docs.tsv")).texts["b"] == "B"


def test_ranx_json_needs_to_be_told_as_a_trec_run_does(here):
    Path("run.json").write_text('{"1": {"a": 2.5, "b": 7.5}}')
    message = "run.json: has no sidecar that names its topics and texts; type: python -m rrarank.label --run run.json"
    assert refusal("run.json", command="label").startswith(message)
    assert dict(load_inputs("run.json", FLAGS).run) == {"1": [Hit("b", 7.5), Hit("a", 2.5)]}


# -- BEIR folders ------------------------------------------------------------------------------------------------------


@pytest.fixture
def beir(here):
    Path("beir").mkdir()
    rows = ({"_id": docid, "title": "T", "text": docid} for docid in "abc")
    Path("beir/corpus.jsonl.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    Path("beir/queries.jsonl").write_text('{"_id": "1", "text": "one"}\n{"_id": "2", "text": "zwei"}\n')
    return Path("beir")


def test_a_beir_folder_stands_for_queries_and_texts(beir):
    inputs = load_inputs("run.trec", Origins(dataset="beir"))
    assert (inputs.topics["2"], inputs.texts["a"]) == ("zwei", "T a")
    files = {"topics": beir / "queries.jsonl", "collection": beir / "corpus.jsonl.gz"}
    assert inputs.origins == {"run": Path("run.trec")} | files
    assert load_inputs("run.trec", Origins(topics="beir", collection="beir")).origins == inputs.origins


def test_a_file_beats_the_beir_folder_in_its_own_part(beir):
    inputs = load_inputs("run.trec", Origins(topics="topics.tsv", dataset="beir"))
    assert (inputs.topics["2"], inputs.texts["a"]) == ("two", "T a")
    inputs = load_inputs("run.trec", Origins(collection="docs.tsv", dataset="beir"))
    assert (inputs.topics["2"], inputs.texts["a"]) == ("zwei", "A")


def test_a_beir_folder_that_lacks_a_part_is_told_from_a_data_set(beir):
    (beir / "queries.jsonl").unlink()
    assert refusal("run.trec", Origins(dataset="beir")) == (
        "beir: no queries.jsonl in it, plain or packed, as a BEIR folder has"
    )
    (beir / "corpus.jsonl.gz").unlink()
    assert "ir_datasets id 'beir'" in refusal("run.trec", Origins(dataset="beir"))


# -- a data set by its id ----------------------------------------------------------------------------------------------


def test_a_sidecars_data_set_still_gives_the_queries_where_texts_come_by_flag(here, monkeypatch):
    monkeypatch.setattr("rrarank.sources.texts.ir_dataset_topics", lambda name, _: {"1": f"query of {name}", "2": "r"})
    write_sidecar(here / "run.trec", inputs={"dataset": "some/id"})
    inputs = load_inputs("run.trec", Origins(collection="docs.tsv"))
    assert inputs.topics["1"] == "query of some/id"
    assert set(inputs.texts) == {"a", "b", "c"}


# -- the shapes of topics ----------------------------------------------------------------------------------------------

TOP = "<top><num> Number: {0} <title> title {0} <desc> Description: text {0} </top>"


def test_the_part_of_a_topic_goes_by_flag_then_by_the_sidecar(here):
    Path("topics.trec").write_text("".join(TOP.format(qid) for qid in "12"))
    where = Origins(topics="topics.trec", collection="docs.tsv", topic_field="description")
    inputs = load_inputs("run.trec", where)
    assert inputs.topics == {"1": "text 1", "2": "text 2"}
    write_sidecar(Path("run.trec"), inputs=inputs.origins)
    assert load_inputs("run.trec").topics == inputs.topics
    assert load_inputs("run.trec", Origins(topic_field="title")).topics["1"] == "title 1"
    assert load_inputs("run.trec", Origins(topics="topics.tsv")).topics["1"] == "one"


def test_an_empty_query_counts_only_if_the_run_names_it(here):
    Path("topics.tsv").write_text("1\tone\n2\ttwo\n3\t\n")
    assert load_inputs("run.trec", FLAGS).topics == {"1": "one", "2": "two"}
    Path("topics.tsv").write_text("1\t\n2\ttwo\n")
    message = "run.trec: 1 queries have no topic, or an empty one, in topics.tsv ('1'); "
    assert refusal("run.trec", FLAGS).startswith(message)
    assert load_inputs("run.trec", FLAGS, skip_missing=True).topics == {"2": "two"}


def test_other_topics_than_the_sidecars_are_said(described, caplog):
    Path("other.tsv").write_text("1\teins\n2\tzwei\n")
    Path("same.tsv").write_bytes(Path("topics.tsv").read_bytes())
    with caplog.at_level("INFO", logger="rrarank"):
        load_inputs("run.trec", Origins(topics="same.tsv"))
        load_inputs("run.trec", Origins(topics="topics.tsv"))
        assert caplog.messages == []
        assert load_inputs("run.trec", Origins(topics="other.tsv")).topics["1"] == "eins"
    assert caplog.messages == ["run.trec.json names the topics topics.tsv; going on with --topics other.tsv instead"]


def test_another_collection_than_the_sidecars_is_said(described, caplog):
    texts = Path(str(load_inputs("run.trec").origins["collection"]))
    same = texts.with_name(f"same{texts.suffix}")
    same.write_bytes(texts.read_bytes())
    Path("other.jsonl").write_text("".join(json.dumps({"id": d, "text": d * 2}) + "\n" for d in "abc"))
    with caplog.at_level("INFO", logger="rrarank"):
        load_inputs("run.trec", Origins(collection=same))
        load_inputs("run.trec", Origins(collection=texts))
        assert caplog.messages == []
        load_inputs("run.trec", Origins(collection="other.jsonl"))
    said = f"run.trec.json names the collection {texts}; going on with --collection other.jsonl instead"
    assert caplog.messages == [said]


# -- the shapes of collections -----------------------------------------------------------------------------------------


def test_a_folder_of_files_is_a_collection_that_the_sidecar_knows(here):
    Path("parts").mkdir()
    Path("parts/1.jsonl").write_text('{"id": "a", "text": "A"}\n{"id": "b", "text": "B"}\n')
    Path("parts/2.tsv").write_text("c\tC\n")
    inputs = load_inputs("run.trec", Origins(topics="topics.tsv", collection="parts"))
    assert dict(inputs.texts) == {"a": "A", "b": "B", "c": "C"}
    write_sidecar(Path("run.trec"), inputs=inputs.origins)
    assert dict(load_inputs("run.trec").texts) == dict(inputs.texts)
    Path("parts/3.tsv").write_text("d\tD\n")
    assert "parts is not the file that run.trec.json names" in refusal("run.trec")


def test_a_folder_of_documents_is_no_index(here):
    Path("parts").mkdir()
    Path("parts/1.tsv").write_text("a\tA\n")
    assert "parts: a folder, but no index" in refusal("run.trec", Origins(topics="topics.tsv", index="parts"))


def test_a_null_text_is_a_missing_text(here):
    Path("docs.jsonl").write_text(
        '{"id": "a", "contents": null}\n{"id": "b", "contents": "B"}\n{"id": "c", "text": "C"}'
    )
    where = Origins(topics="topics.tsv", collection="docs.jsonl")
    assert refusal("run.trec", where).startswith("run.trec: 1 documents have no text in docs.jsonl ('a'); ")
    inputs = load_inputs("run.trec", where, skip_missing=True)
    assert (dict(inputs.texts), list(inputs.missing)) == ({"b": "B", "c": "C"}, ["a"])
