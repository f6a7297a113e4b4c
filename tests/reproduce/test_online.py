"""The online test of a table: lifts from a file of `rrarank.online`, marked if simulated, and honest without one."""

import json
from pathlib import Path
from typing import Any

import pytest
from online_log import make_log  # type: ignore[import-not-found]  # pytest finds it beside this folder

from rrarank.data.ubi_files import write_log
from rrarank.errors import MissingResource, RrarankError
from rrarank.online.job import OnlineJob, analyse_experiment
from rrarank.reproduce.config import load_table
from rrarank.reproduce.job import ReproduceJob, reproduce_table
from rrarank.reproduce.layout import as_latex, as_markdown
from rrarank.reproduce.table import as_json

DOCS = ["a", "b", "c"]
LISTS = {"bm25": {"1": DOCS}, "rra-bert": {"1": DOCS[::-1]}}


@pytest.fixture
def online(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    log = make_log(LISTS, {"1": {"a": 0.2, "b": 0.4, "c": 0.8}}, users=80)
    write_log("log", log.queries, log.events)
    analyse_experiment(OnlineJob("log", simulated=True, output=["online.json"]))
    Path("table.yaml").write_text(TABLE + ONLINE)
    Path("offline.yaml").write_text(TABLE)
    return "online.json"


TABLE = """
title: a table
baseline: bm25
columns: {own: {title: own, protocol: bm25-top, qrels: "{qrels}", run: "{run}"}}
rows: {bm25: {title: BM25, reranker: bm25}}
"""
ONLINE = """
online: {row: rra-bert, baseline: bm25, paper: {ctr: 0.0563, dwell: 0.0797}, get: write it by rrarank.online}
"""


def made(online=""):
    return reproduce_table(ReproduceJob("table.yaml", online=online))


def _online(table) -> Any:
    return as_json(table)["online"]


def test_the_papers_lifts_stand_beside_simulated_ones_that_say_so(online):
    table = made(online)
    text = as_markdown(table)
    assert "## Online test, simulated users" in text
    assert "SIMULATED users, who click by the judgments, not people" in text
    assert "+5.63%" in text
    assert "+7.97%" in text
    lifts = _online(table)["lifts"]
    assert f"{lifts['ctr']['relative']:+.2%}" in text
    assert "Online test." in as_latex(table)


def test_the_lifts_are_a_group_of_columns_in_the_systems_row(online):
    Path("table.yaml").write_text(TABLE.replace("bm25}}", "bm25}, rra-bert: {title: R, reranker: bm25}}") + ONLINE)
    table = made(online)
    lifts = _online(table)["lifts"]
    ours = "/".join(f"{lifts[name]['relative']:+.2%}" for name in ("ctr", "dwell"))
    [head, _, _, baseline, ours_row] = [line.split("|")[1:-1] for line in as_markdown(table).splitlines()[2:7]]
    assert [one.strip() for one in head[2:4]] == [
        "online, simulated (ctr/dwell over BM25)",
        "online, paper (ctr/dwell over BM25)",
    ]
    assert [one.strip() for one in ours_row[2:4]] == [ours, "+5.63%/+7.97%"]
    assert [one.strip() for one in baseline[2:4]] == ["", ""]
    overview = as_latex(table).split("\\end{table")[0]
    assert "online, simulated (ctr/dwell over BM25)" in overview
    assert "$+$5.63\\%/$+$7.97\\%" in overview


def test_without_a_file_nothing_is_claimed(online):
    table = made()
    text = as_markdown(table)
    assert "## Online test\n\nNot reached: not given: --online; write it by rrarank.online" in text
    assert "5.63" not in text
    assert "lifts" not in _online(table)
    assert "Online test." not in as_latex(table)


def test_a_file_of_something_else_is_refused(online):
    content = json.loads(Path(online).read_text())
    Path("other.json").write_text(json.dumps(content | {"baseline": "monot5"}))
    with pytest.raises(RrarankError, match="expected 'rra-bert' with 'bm25'"):
        made("other.json")
    Path("other.json").write_text('{"format": "rrarank.table/1"}')
    with pytest.raises(RrarankError, match="not a file of rrarank.online"):
        made("other.json")
    with pytest.raises(MissingResource, match="no such file"):
        made("absent.json")
    with pytest.raises(RrarankError, match="has no online test"):
        reproduce_table(ReproduceJob("offline.yaml", online=online))


def test_the_shipped_table_names_measures_that_exist():
    from rrarank.measures.clicks import MEASURES

    assert load_table("rradistill").online.paper.keys() <= MEASURES.keys()
