"""The table of shapes: which function takes what, each cell a test; docs/guides/python.md shows the same table."""

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

import rrarank
from rrarank.data.distillation_set import read_set
from rrarank.data.shapes import as_run
from rrarank.data.trec import write_run
from rrarank.data.types import Hit, QrelsRead
from rrarank.engine import registry

ROOT = Path(__file__).parents[1]
RUN = {"q1": {"d1": 3.0, "d2": 2.0, "d3": 1.0}, "q2": {"d3": 2.5, "d1": 0.5}}
OTHER = {"q1": {"d3": 9.0, "d4": 8.0}, "q2": {"d1": 7.0, "d3": 1.0}}
QRELS = {"q1": {"d3": 3, "d1": 0}, "q2": {"d1": 1}}
TOPICS = {"q1": "what is tea", "q2": "why cats"}
TEXTS = {"d1": "tea", "d2": "cats purr at night", "d3": "bread and tea and honey", "d4": "dogs"}
DATASET = "rrarank-shapes"

COLUMNS = ("path", "our type", "dict", "ranx", "PyTerrier's columns", "ir_measures' columns", "ir_datasets id")
RUNS, JUDGED, READ = COLUMNS[:6], COLUMNS, ("path", "dict", *COLUMNS[4:])
TABLE = {  # argument -> the columns that it takes
    "rerank_run(run)": RUNS,
    "rerank_run(topics=)": READ,
    "rerank_run(collection=)": READ,
    "evaluate_runs(qrels)": JUDGED,
    "evaluate_runs(runs)": RUNS,
    "fuse_runs(runs)": RUNS,
    "label_run(run)": RUNS,
    "label_run(topics=)": READ,
    "label_run(collection=)": READ,
    "write_run(run)": RUNS,
}


def table() -> str:
    """The table as the page shows it."""
    rows = [["argument", *COLUMNS], ["---"] * (1 + len(COLUMNS))]
    rows += [[f"`{name}`", *("yes" if column in taken else "" for column in COLUMNS)] for name, taken in TABLE.items()]
    return "\n".join(f"| {' | '.join(row)} |".replace("|  |", "| |").replace("|  |", "| |") for row in rows)


def kind_of(argument):
    """What it is: a run, judgments, queries or texts."""
    name = argument.partition("(")[2].strip(")=")
    return {"runs": "run", "run": "run", "qrels": "qrels", "topics": "topics", "collection": "texts"}[name]


CONTENT: dict[str, Any] = {"run": RUN, "qrels": QRELS, "topics": TOPICS, "texts": TEXTS}
VALUES = {
    "run": ("score", "score"),
    "qrels": ("label", "relevance"),
    "topics": ("query", "text"),
    "texts": ("text",) * 2,
}


def frame(kind, place):
    """PyTerrier's columns (place 0) or ir_measures' (1)."""
    (qid, docid), value = (("qid", "docno"), ("query_id", "doc_id"))[place], VALUES[kind][place]
    if kind in ("topics", "texts"):
        return pandas.DataFrame(CONTENT[kind].items(), columns=[qid if kind == "topics" else docid, value])
    rows = [(q, d, v) for q, found in CONTENT[kind].items() for d, v in found.items()]
    more = [{"rank": 0, "query": "x"}, {"iteration": "0"}][place] if kind == "qrels" or place == 0 else {}
    return pandas.DataFrame(rows, columns=[qid, docid, value]).assign(**({} if kind == "run" else more))


def write(folder, kind):
    path = folder / f"{kind}.{ {'run': 'trec', 'qrels': 'txt', 'topics': 'tsv', 'texts': 'jsonl'}[kind] }"
    if kind == "run":
        write_run(path, ours(RUN))
    elif kind == "qrels":
        path.write_text("".join(f"{q} 0 {d} {g}\n" for q, grades in QRELS.items() for d, g in grades.items()))
    elif kind == "topics":
        path.write_text("".join(f"{qid}\t{query}\n" for qid, query in TOPICS.items()))
    else:
        path.write_text("".join(json.dumps({"id": docid, "contents": text}) + "\n" for docid, text in TEXTS.items()))
    return path


def ours(run):
    hits = {qid: [rrarank.Hit(docid, score) for docid, score in found.items()] for qid, found in run.items()}
    return rrarank.Run(hits, "ours")


def given(kind, column, folder):
    """The content of that kind in that shape; None where there is no such thing to give."""
    if column == "ranx":
        import ranx

        return ranx.Run(RUN, name="ranx") if kind != "qrels" else ranx.Qrels(QRELS)
    return {
        "path": lambda: str(write(folder, kind)),
        "our type": lambda: QrelsRead(QRELS) if kind == "qrels" else ours(RUN),
        "dict": lambda: CONTENT[kind],
        "PyTerrier's columns": lambda: frame(kind, 0),
        "ir_measures' columns": lambda: frame(kind, 1),
        "ir_datasets id": lambda: DATASET,
    }[column]()


@pytest.fixture(autouse=True)
def dataset(tmp_path, monkeypatch):
    """A data set of that id, and a working folder."""
    monkeypatch.setenv("IR_DATASETS_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    import ir_datasets

    (tmp_path / "docs.tsv").write_text("".join(f"{docid}\t{text}\n" for docid, text in TEXTS.items()))
    places = {
        "docs_tsv": "docs.tsv",
        "queries_tsv": str(write(tmp_path, "topics")),
        "qrels_trec": write(tmp_path, "qrels"),
    }
    made = ir_datasets.create_dataset(**{name: str(tmp_path / path) for name, path in places.items()})
    ir_datasets.registry.register(DATASET, made)
    yield
    del ir_datasets.registry._registered[DATASET]


class Shortest(rrarank.Reranker):
    """Short texts first."""

    def rerank_block(self, queries):
        return [rrarank.reorder(ranking, [-len(c.text) for c in ranking.candidates]) for ranking in queries]


@pytest.fixture(scope="module", autouse=True)
def shortest():
    registry.register("shortest")(Shortest)
    yield
    del registry._CLASSES["shortest"]


def rerank(run=RUN, topics=TOPICS, collection=TEXTS):
    found = rrarank.rerank_run(run, Shortest(), topics=topics, collection=collection)
    return {qid: list(hits) for qid, hits in found.items()}


def evaluate(qrels=QRELS, runs=RUN):
    row = rrarank.evaluate_runs(qrels, {"mine": runs}, measures=["ndcg@10", "recall@100"]).rows[0]
    return row.name, row.means


def fuse(runs=RUN):
    found = rrarank.fuse_runs([runs, OTHER], method="sum")
    return {qid: [(hit.docid, round(hit.score, 4)) for hit in hits] for qid, hits in found.items()}


def label(run=RUN, topics=TOPICS, collection=TEXTS):
    teacher, preranker = rrarank.ScorerConfig("shortest"), rrarank.ScorerConfig("bm25")
    settings = {"preranker": preranker, "output": "set.jsonl", "overwrite": True}
    assert rrarank.label_run(run, teacher, topics=topics, collection=collection, **settings) == ["set.jsonl"]
    return [(one.query, one.shown, one.listed) for one in read_set("set.jsonl")]


def written(run=RUN):
    rrarank.write_run("out.trec", run, tag="t")
    return Path("out.trec").read_text()


FUNCTIONS: dict[str, Any] = {
    "rerank_run": rerank,
    "evaluate_runs": evaluate,
    "fuse_runs": fuse,
    "label_run": label,
    "write_run": written,
}


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("argument", TABLE)
def test_a_cell(argument, column, tmp_path):
    function, name = argument.strip(")=").split("(")
    thing = given(kind_of(argument), column, tmp_path)
    if column in TABLE[argument]:
        assert FUNCTIONS[function](**{name: thing}) == FUNCTIONS[function]()
    else:
        with pytest.raises(rrarank.RrarankError) as error:
            FUNCTIONS[function](**{name: thing})
        assert "\n" not in str(error.value)


def test_the_page_shows_this_table():
    assert table() in (ROOT / "docs/guides/python.md").read_text()


# -- beside the table -------------------------------------------------------------------------------------------------


def test_a_frame_of_pyterriers_brings_its_queries_and_texts():
    rows = [(q, TOPICS[q], d, TEXTS[d], s) for q, found in RUN.items() for d, s in found.items()]
    whole = pandas.DataFrame(rows, columns=["qid", "query", "docno", "text", "score"])
    found = rrarank.rerank_run(whole, Shortest())
    assert {qid: list(hits) for qid, hits in found.items()} == rerank()
    ranked = whole.drop(columns="score").assign(rank=[0, 1, 2, 0, 1])
    assert [hit.docid for hit in rrarank.fuse_runs([ranked, ranked])["q1"]] == ["d1", "d2", "d3"]


def test_a_job_takes_objects_too():
    origins = rrarank.Origins(topics=frame("topics", 0), collection=TEXTS)
    job = rrarank.RerankJob(RUN, origins, "shortest", output="out.trec")
    assert rrarank.rerank_job(job) == ["out.trec"]
    wanted = {qid: [hit.docid for hit in hits] for qid, hits in rerank().items()}
    assert {qid: [hit.docid for hit in hits] for qid, hits in rrarank.read_run("out.trec").items()} == wanted
    assert json.loads(Path("out.trec.json").read_text())["inputs"] == {}  # nothing that could be read again
    with pytest.raises(rrarank.RrarankError, match="collection and texts are given; give one of the two"):
        rrarank.rerank_run(RUN, "shortest", topics=TOPICS, collection=TEXTS, texts=TEXTS)


def test_a_run_of_the_package_knows_its_queries_and_texts():
    found = rrarank.rerank_run("bm25.trec", "bm25", depth=3)
    assert len(found) == 20
    assert found == rrarank.rerank_run("bm25.trec", rrarank.load_reranker("bm25"), depth=3)


def test_rerank_run_takes_the_keywords_of_rank(monkeypatch):
    both: dict[str, Any] = {"topics": TOPICS, "collection": TEXTS}
    whole = rerank()
    named = rrarank.rerank_run(RUN, model="shortest", **both)
    assert {qid: list(hits) for qid, hits in named.items()} == whole
    assert rrarank.rerank_run(RUN, model=None, topics={"q1": "tea"}, collection=TEXTS).keys() == RUN.keys()
    best = rrarank.rerank_run(RUN, model=Shortest(), top_k=1, **both)
    assert {qid: list(hits) for qid, hits in best.items()} == {qid: hits[:1] for qid, hits in whole.items()}
    assert rrarank.rerank_run(RUN, Shortest(), top_k=None, **both) == rrarank.rerank_run(RUN, Shortest(), **both)
    kept = rrarank.rerank_run(RUN, Shortest(), min_score=-4, **both)
    assert {hit.docid for hits in kept.values() for hit in hits} == {"d1"}
    shallow = rrarank.rerank_run(RUN, Shortest(), depth=1, **both)
    assert [hit.docid for hit in shallow["q2"]] == ["d3", "d1"]
    with pytest.raises(rrarank.RrarankError, match="no reranker named 'shortets'; did you mean 'shortest'"):
        rrarank.rerank_run(RUN, model="shortets", **both)


@pytest.mark.parametrize(("name", "more"), [("depth", ""), ("top_k", ", or None for all")])
@pytest.mark.parametrize("odd", [0, "5", 2.0, True])
def test_counts_of_rerank_run_are_whole_numbers_from_one(name, more, odd):
    with pytest.raises(rrarank.RrarankError, match=f"^{name} .*: expected a whole number from 1{more}$"):
        rrarank.rerank_run(RUN, Shortest(), topics=TOPICS, collection=TEXTS, **{name: odd})


def test_ranked_lists_are_a_run():
    ranked = Shortest().rank_many(TOPICS, {qid: {d: TEXTS[d] for d in found} for qid, found in RUN.items()})
    assert {qid: [hit.docid for hit in hits] for qid, hits in ranked.to_run().items()} == {
        qid: [hit.docid for hit in hits] for qid, hits in rerank().items()
    }
    assert evaluate(runs=ranked) == evaluate(runs=ranked.to_run())


def test_a_run_is_written_in_the_order_in_which_it_is_measured():
    rising = rrarank.Run({"q1": [rrarank.Hit("d1", 1.0), rrarank.Hit("d3", 2.0)]})
    rrarank.write_run("out.trec", rising)
    assert evaluate(runs="out.trec")[1] == evaluate(runs=rising)[1]
    pairs: Any = {"q1": [("d1", 2.0), ("d3", 1.0)]}
    rrarank.write_run("out.trec", rrarank.Run(pairs))
    assert Path("out.trec").read_text() == "q1 Q0 d1 1 2.0 rrarank\nq1 Q0 d3 2 1.0 rrarank\n"


@pytest.mark.parametrize(
    ("run", "tag"), [(RUN, "rrarank"), (ours(RUN), "ours"), (rrarank.rank_many(["q"], []), "rrarank")]
)
def test_a_run_without_a_tag_is_written_with_ours(run, tag):
    rrarank.write_run("out.trec", run)
    assert {line.split()[-1] for line in Path("out.trec").read_text().splitlines()} <= {tag}


def test_an_odd_tag_and_what_is_no_run_are_one_line_and_nothing_is_written():
    for odd, tag in ((RUN, "my run"), ([("q1", "d1", 1.0)], "t"), ({"q1": {"d1": math.nan}}, "t"), (3, "t")):
        with pytest.raises(rrarank.RrarankError, match=r"^(tag \(--runtag\) 'my run': expected 1 to 20|run\b)[^\n]*$"):
            rrarank.write_run("out.trec", odd, tag=tag)
    assert not Path("out.trec").exists()


@pytest.mark.parametrize(
    ("runs", "names"),
    [
        ({"a": RUN, "b": OTHER}, ["a", "b"]),
        ([RUN, OTHER], ["run-1", "run-2"]),
        ([ours(RUN), OTHER], ["ours", "run-2"]),
        (RUN, ["run-1"]),
        (ours(RUN), ["ours"]),
        (frame("run", 0), ["run-1"]),
    ],
)
def test_names_of_runs(runs, names):
    assert [row.name for row in rrarank.evaluate_runs(QRELS, runs, measures=["ndcg@10"]).rows] == names


def test_a_run_is_a_frame_with_pyterriers_columns_and_back():
    made = ours(RUN).to_pandas()
    assert list(made.columns) == ["qid", "docno", "score", "rank"]
    assert made.drop(columns="rank").equals(frame("run", 0))
    assert list(made["rank"]) == [0, 1, 2, 0, 1]  # from 0, as PyTerrier counts
    assert as_run(made) == as_run(RUN)
    assert evaluate(runs=made) == evaluate()
    assert list(rrarank.Run({}).to_pandas().columns) == ["qid", "docno", "score", "rank"]
    assert as_run("bm25.trec").to_pandas().shape == (as_run("bm25.trec").hit_count, 4)


def test_the_advice_for_a_frame_without_scores_helps():
    bare = frame("run", 0).drop(columns="score")
    assert [h.docid for h in as_run(bare.assign(rank=range(len(bare))))["q1"]] == ["d1", "d2", "d3"]
    named = bare.assign(bm25=1.0)
    with pytest.raises(rrarank.RrarankError, match="columns 'qid', 'docno', 'bm25', expected 'score' or 'rank'"):
        as_run(named)


def ranked_only(ranks):
    return frame("run", 0).drop(columns="score").assign(rank=ranks)


def twice(name):
    return pandas.concat([frame("run", 0), frame("run", 0)[[name]]], axis=1)


BAD_RUNS = [
    (7, "run is an int, expected a path, a Run, {qid: {docid: score}}, a ranx Run, or a DataFrame"),
    ({}, "run is empty, expected a path, a Run"),
    ({"q1": 3.0}, "run is a dict of a float, expected"),
    ({"q1": {"d1": "high"}}, "run, query 'q1', docid 'd1': score 'high', expected a number that is finite as float32"),
    ({"q1": {"d1": math.nan}}, "run, query 'q1', docid 'd1': score nan, expected a number"),
    ({"q1": {"d1": True}}, "run, query 'q1', docid 'd1': score True, expected a number"),
    ({"q1": {"d1": 1e39}}, "run, query 'q1', docid 'd1': score 1e+39, expected a number"),
    ({1: {"d1": 1.0}}, "run: qid 1 is an int, expected a string; use str, or .astype(str)"),
    ({"q1": {7: 1.0}}, "run, query 'q1': docid 7 is an int, expected a string"),
    ({"q 1": {"d1": 1.0}}, "run: the qid 'q 1' is empty or contains a space"),
    ({"q1": [("d1", 1.0), ("d1", 2.0)]}, "run: query 'q1' holds a docid twice; keep one"),
    ({"q1": ["d1"]}, "run: query 'q1' holds 'd1', expected (docid, score)"),
    (pandas.DataFrame({"qid": ["q1"]}), "run: a DataFrame with the columns 'qid', expected 'docno' or 'doc_id' or"),
    (
        frame("run", 0).drop(columns="score"),
        "run: a DataFrame with the columns 'qid', 'docno', expected 'score' or 'rank'; "
        "for rows that come best first: frame.assign(rank=range(len(frame)))",
    ),
    (frame("run", 0).assign(score=[1.0, None, 1, 1, 1]), "run, query 'q1', docid 'd2': score nan, expected"),
    (frame("run", 0).assign(qid=1), "run: qid 1 is an int, expected a string; use str, or .astype(str)"),
    (
        {"a": RUN},
        "run, query 'a', docid 'q1': score {'d1': 3.0, 'd2': 2.0, 'd3': 1.0}, expected a number that is finite",
    ),
    ({"q1": {"d1": 10**5000}}, "run, query 'q1', docid 'd1': score an int, expected a number"),
    ({"q1": {"d1": np.array([1.0, 2.0])}}, "run, query 'q1', docid 'd1': score array([1., 2.]), expected a number"),
    ({"q1": [(["d"], 1.0)]}, "run, query 'q1': docid ['d'] is a list, expected a string"),
    (ranked_only(["1", "2", "3", "1", "2"]), "run: rank '1', expected a number; there is no column 'score'"),
    (ranked_only([1, 2, None, 1, 2]), "run: rank nan, expected a number"),
    (twice("score"), "run: a DataFrame with several columns named 'score'; keep one"),
    (twice("docno"), "run: a DataFrame with several columns named 'docno'; keep one"),
    (rrarank.Run({"q1": [Hit("d1", math.nan)]}), "run, query 'q1', docid 'd1': score nan, expected a number"),
    (rrarank.Run({"q1": [Hit("d1", 2.0), Hit("d1", 1.0)]}), "run: query 'q1' holds a docid twice; keep one"),
    (rrarank.Run({"q1": [Hit(1, 2.0)]}), "run, query 'q1': docid 1 is an int, expected a string"),  # type: ignore[arg-type]
    (rrarank.Run({1: []}), "run: qid 1 is an int, expected a string"),  # type: ignore[dict-item]
    (rrarank.Run({"q1": 3.0}), "run: query 'q1' holds a float, expected {docid: score} or hits"),  # type: ignore[dict-item]
    (rrarank.Run([]), "run is a Run of a list, expected {qid: hits}"),  # type: ignore[arg-type]
    (RUN, "run: comes without topics and collection; give topics=, collection="),
]


@pytest.mark.parametrize(("run", "message"), BAD_RUNS)
def test_a_run_that_cannot_be_read_is_one_clear_line(run, message):
    with pytest.raises(rrarank.RrarankError) as error:
        rrarank.rerank_run(run, Shortest())
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.mark.filterwarnings("error")
def test_a_score_that_float32_cannot_hold_is_no_warning():
    with pytest.raises(rrarank.RrarankError, match="score np.float32.inf., expected a number"):
        evaluate(runs={"q1": {"d1": np.float32("inf")}})
    assert evaluate(runs={"q1": {"d1": np.float32(1), "d3": np.int64(2), "d2": np.array(0.5)}})


@pytest.mark.parametrize("shape", ["Run", "Run of dicts", "dict of lists"])
def test_a_run_of_a_program_comes_best_first(shape):
    rising = {"q1": {"d2": 1.0, "d3": 2.0, "d1": 2.0}}
    lists = {qid: [Hit(docid, score) for docid, score in found.items()] for qid, found in rising.items()}
    given = {"Run": rrarank.Run(lists), "Run of dicts": rrarank.Run(rising), "dict of lists": lists}[shape]  # type: ignore[arg-type]
    assert evaluate(runs=given) == evaluate(runs=rising)
    assert rerank(given) == rerank(rising)
    assert as_run(given)["q1"] == [Hit("d3", 2.0), Hit("d1", 2.0), Hit("d2", 1.0)]


def test_hits_that_do_not_rise_keep_their_order_as_they_would_in_a_file(tmp_path):
    tied = rrarank.Run({"q1": [Hit("d1", 2.0), Hit("d3", 2.0)]}, "tied")
    assert list(as_run(tied)["q1"]) == tied["q1"]
    write_run(tmp_path / "tied.trec", tied)
    assert evaluate(runs=tied) == evaluate(runs=str(tmp_path / "tied.trec"))


def test_names_that_are_one_name_as_strings_are_refused():
    with pytest.raises(rrarank.RrarankError, match="^runs: 1 and '1' are one name as strings; rename one$"):
        rrarank.evaluate_runs(QRELS, {1: RUN, "1": OTHER})


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        (pandas.Series([1.0]), "runs is a Series, expected a path, a Run,"),
        (7, "runs, item 1 is an int, expected a path"),
        (Shortest().rank_many(TOPICS, TEXTS), ""),
    ],
)
def test_what_is_one_run_and_what_is_none(runs, message):
    if not message:
        assert len(rrarank.evaluate_runs(QRELS, runs).rows) == 1
        return
    with pytest.raises(rrarank.RrarankError, match=f"^{re.escape(message)}"):
        rrarank.evaluate_runs(QRELS, runs)


def test_a_run_that_nothing_matches_is_refused_and_what_is_missing_is_counted(caplog):
    with pytest.raises(rrarank.RrarankError, match="^run: none of its queries .'q1', 'q2'. has a topic .'Q1'."):
        rerank(topics={"Q1": "tea"})
    for texts in ("collection", "texts"):
        with pytest.raises(rrarank.RrarankError, match="^run: none of its candidates .'d1', 'd2' and 1 more. has a te"):
            rrarank.rerank_run(ours(RUN), Shortest(), topics=TOPICS, **{texts: {"x": "tea"}})  # type: ignore[arg-type]
    assert not caplog.messages
    rerank(topics={"q1": "tea", "x": "y"}, collection={"d1": "tea"})
    assert caplog.messages == [
        "run: 1 of 2 queries have no topic ('q2') and 2 of 3 candidates have no text ('d2', 'd3'); "
        "they keep their first-stage order"
    ]
    assert caplog.records[0].levelname == "WARNING"  # Python shows it without being asked
    caplog.clear()
    rerank(collection={"d1": "tea", "d2": "cats"})
    assert caplog.messages == ["run: 1 of 3 candidates have no text ('d3'); they keep their first-stage order"]
    caplog.clear()
    assert rerank({"q1": {}}) == {"q1": []}
    rerank()
    assert not caplog.messages


def test_python_shows_what_has_no_text_on_stderr_once():
    import subprocess
    import sys

    call = "rrarank.rerank_run({'q': {'a': 2.0, 'b': 1.0}}, 'bm25', topics={'q': 'x'}, collection={'a': 'y'})"
    done = subprocess.run([sys.executable, "-c", f"import rrarank; {call}"], capture_output=True, text=True, check=True)
    assert done.stderr == "run: 1 of 2 candidates have no text ('b'); they keep their first-stage order\n"


def reranked(**settings):
    return rrarank.rerank_run(RUN, Shortest(), topics=TOPICS, collection=TEXTS, **settings)


def labelled(**settings):
    teacher = settings.pop("teacher", rrarank.ScorerConfig("shortest"))
    settings = {"topics": TOPICS, "collection": TEXTS, "output": "set.jsonl"} | settings
    return rrarank.label_run(RUN, teacher, **settings)


@pytest.mark.parametrize(
    ("call", "seen"),
    [
        (lambda: rrarank.load_reranker(device="gpu"), "device (--device) 'gpu': no such device"),
        (lambda: rrarank.load_reranker(device="cuda:99"), "device (--device) cuda:99: this machine"),
        (lambda: rrarank.load_reranker(max_length=1), "give 5 or more"),
        (lambda: rrarank.load_reranker(instruction="x"), "no place for instruction"),
        (lambda: rrarank.load_reranker("monot5", instruction="x"), "has no place for instruction (--instruction)"),
        (
            lambda: rrarank.load_reranker(query_prompt="x\ud800"),
            "query_prompt (--query-prompt): half of a surrogate pair",
        ),
        (lambda: rrarank.load_reranker("cross-encoder"), "cross-encoder: no model; give model (--model), a folder"),
        (lambda: rrarank.load_reranker("gpt"), "gpt: no model; give model (--model), a folder"),
        (lambda: rrarank.load_reranker("owner/name"), "give a local folder as model (--model)"),
        (lambda: reranked(budget_ms=5.0), "budget_ms (--budget-ms): Shortest does not score"),
        (lambda: labelled(collection={"d1": "x"}), "give their source too, or skip_missing (--skip-missing) to"),
        (lambda: labelled(teacher=[]), "no runs as teacher; give at least one (--teacher-runs)"),
        (lambda: labelled(teacher=rrarank.ScorerConfig("listwise-llm")), "use an LLM (--teacher llm)"),
        (lambda: rrarank.EnsembleConfig([]), "an ensemble needs members (--teachers)"),
        (lambda: rrarank.EnsembleConfig([rrarank.ScorerConfig("monot5")], [0]), "weights (--teacher-weights): 0"),
    ],
)
def test_messages_name_keywords_and_flags_only_beside_them(call, seen):
    with pytest.raises(rrarank.RrarankError) as error:
        call()
    assert seen in str(error.value)
    assert not re.search(r"(?<!\()--[a-z]", str(error.value))


def test_a_file_without_topics_is_told_the_keywords_beside_the_command():
    write_run("mine.trec", ours(RUN))
    with pytest.raises(rrarank.RrarankError, match="; in Python give topics= and collection=$"):
        rrarank.rerank_run("mine.trec", Shortest())
    with pytest.raises(rrarank.RrarankError, match="; in Python give collection=$"):
        rrarank.rerank_run("mine.trec", Shortest(), topics=TOPICS)


@pytest.mark.parametrize("name", ["topics", "collection"])
def test_a_series_is_texts_by_its_index(name):
    assert rerank(**{name: pandas.Series(CONTENT["topics" if name == "topics" else "texts"])}) == rerank()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"topics": {"q1": "\ud800"}}, "topics: the text of 'q1': half of a surrogate pair ('\\ud800')"),
        ({"topics": {"q1": None}}, "topics: the text of 'q1' is None, expected a string"),
        ({"topics": {1: "tea"}}, "topics: id 1 is an int, expected a string"),
        (
            {"topics": ["tea"]},
            "topics is a list, expected a path, an ir_datasets id, {id: text}, a Series, or a DataFrame",
        ),
        (
            {"topics": pandas.DataFrame({"qid": ["q1"] * 2, "query": ["a", "b"]})},
            "topics: 'q1' has two different texts",
        ),
        (
            {"collection": pandas.DataFrame({"docno": ["d1"], "text": [math.nan]})},
            "collection: the text of 'd1' is nan",
        ),
        ({"collection": "nowhere.jsonl"}, "nowhere.jsonl: no such file"),
    ],
)
def test_queries_and_texts_that_cannot_be_read_are_one_clear_line(arguments, message):
    with pytest.raises(rrarank.RrarankError) as error:
        rerank(**arguments)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("qrels", "message"),
    [
        (7, "qrels is an int, expected a path, an ir_datasets id, {qid: {docid: grade}}, a ranx Qrels, or a DataFrame"),
        ({"q1": {"d1": 0.5}}, "qrels, query 'q1', docid 'd1': grade 0.5, expected a whole number"),
        *[
            ({"q1": {"d1": grade}}, "qrels, query 'q1', docid 'd1': grade ")
            for grade in (10**6, -(10**6), 1e9, 10**12, 10**400, math.inf, math.nan, "1", True)
        ],
        (
            {"q1": {"d1": 10**9}},
            "qrels, query 'q1', docid 'd1': grade 1000000000, expected a whole number from -999,999 to",
        ),
        ({"q1": ["d1"]}, "qrels: query 'q1' holds a list, expected {docid: grade}"),
        (pandas.concat([frame("qrels", 0)] * 2), "qrels: docid 'd3' is judged twice for query 'q1'; keep one row"),
        (frame("qrels", 1).rename(columns={"relevance": "x"}), "qrels: a DataFrame with the columns 'query_id'"),
    ],
)
def test_judgments_that_cannot_be_read_are_one_clear_line(qrels, message):
    with pytest.raises(rrarank.RrarankError) as error:
        evaluate(qrels=qrels)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_label_run_says_what_is_wrong_with_the_run_before_it_asks_for_a_teacher():
    for run, more, message in (
        (None, {}, "run is a NoneType, expected a path"),
        (RUN, {}, "run: comes without topics and collection"),
        (RUN, {"topics": [1], "collection": TEXTS}, "topics is a list"),
        (
            RUN,
            {"topics": TOPICS, "collection": TEXTS, "limt": 3},
            "label_run: no setting 'limt'; did you mean 'limit'?",
        ),
        (RUN, {"topics": TOPICS, "collection": TEXTS}, "label_run: no teacher; give one after the run"),
    ):
        with pytest.raises(rrarank.RrarankError, match=f"^{re.escape(message)}"):
            rrarank.label_run(run, **more)


@pytest.mark.parametrize(
    ("teacher", "seen"),
    [("gpt-4", "'gpt-4' is a str"), (Path("a.trec"), "is a"), (7, "7 is an int"), ([7], "[7] is a list")],
)
def test_a_teacher_that_is_none_is_one_clear_line(teacher, seen):
    with pytest.raises(rrarank.RrarankError) as error:
        rrarank.label_run(RUN, teacher, topics=TOPICS, collection=TEXTS, output="set.jsonl")
    assert str(error.value).startswith("teacher ")
    assert seen in str(error.value)
    assert str(error.value).endswith(
        ", expected LLMTeacherConfig(LLMConfig(model)), ScorerConfig(reranker), EnsembleConfig(…), "
        "or a list of runs' paths"
    )
    assert "\n" not in str(error.value)


def test_documents_may_be_objects_with_titles():
    objects = {docid: {"title": "", "text": text} for docid, text in TEXTS.items()}
    assert rerank(collection=objects) == rerank()


def test_what_is_read_prints_in_a_line(tmp_path):
    run = rrarank.read_run(write(tmp_path, "run"))
    assert repr(run) == "<Run 'ours': 2 queries, 5 hits>"
    assert "<td>q1</td><td>d1 (3), d2 (2), d3 (1)</td>" in run._repr_html_()
    assert repr(rrarank.read_qrels(write(tmp_path, "qrels"))) == "<qrels: 2 queries, 3 judgments>"
    assert len(repr(rrarank.load_inputs("bm25.trec").run)) < 60


def test_no_library_is_imported_unless_its_object_is_given():
    import subprocess
    import sys

    code = "import rrarank, sys; rrarank.fuse_runs; from rrarank.data import shapes; shapes.as_run({'q': {'d': 1.0}})"
    check = "assert not {'pandas', 'ranx', 'torch'} & set(sys.modules), sorted(sys.modules)"
    subprocess.run([sys.executable, "-c", f"{code}; {check}"], check=True)
