"""Tables as YAML: all faults at once, and every shipped one reads; each of its rows has its page."""

from pathlib import Path

import pytest

from rrarank.errors import MissingResource, RrarankError
from rrarank.reproduce.config import check_table, filled, load_table
from rrarank.storage.yaml_settings import shipped

COLUMN = {"title": "t", "protocol": "bm25-top", "qrels": "q", "run": "r"}
ROW = {"title": "r", "reranker": "bm25"}
DOCS = Path(__file__).parents[2] / "docs" / "rradistill"


def table(**changes):
    return {"title": "t", "baseline": "a", "columns": {"c": COLUMN}, "rows": {"a": ROW}} | changes


@pytest.mark.parametrize("name", shipped("tables"))
def test_shipped_tables_read(name):
    assert load_table(name).rows


def test_every_row_of_the_paper_has_its_page():
    rows = set(load_table("rradistill").rows) - {"bi-encoder"}  # which is not in the paper
    assert rows == {path.stem for path in DOCS.glob("*.md")} - {"index"}


def test_the_papers_columns_are_all_there():
    columns = load_table("rradistill").columns
    assert {name: column.protocol for name, column in columns.items()} == {
        "dl19": "bm25-top",
        "dl20": "bm25-top",
        "miracl-ko": "judged-pool",
        "msmarco-qa": "judged-pool",
        "own": "bm25-top",
    }


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"baseline": "z"}, "baseline is 'z', expected one of the rows (a)"),
        ({"rows": {"a": ROW | {"reranker": "bm26"}}}, "rows.a.reranker: no reranker named 'bm26'; did you mean 'bm25'"),
        ({"rows": {"a": ROW | {"expected": {"d": {"ndcg@10": 1}}}}}, "rows.a.expected: no column 'd'"),
        ({"rows": {"a": ROW | {"expected": {"c": {"map": 1}}}}}, "rows.a.expected: no measure 'map'"),
        ({"rows": {"a": ROW | {"paper": {"c": [0.1]}}}}, "rows.a.paper: expected 2 figures"),
        ({"columns": {"c": {"title": "t", "protocol": "bm25-top", "qrels": "q"}}}, "bm25-top needs run, or bm25"),
        ({"columns": {"c": COLUMN | {"run": "{dta}/r"}}}, "place holders 'dta'"),
        ({"columns": {"c": COLUMN | {"depht": 3}}}, "columns.c.depht is an unknown key"),
        ({"title": 3, "baseline": 4}, "title is 3: input should be a valid string; baseline is 4"),
    ],
)
def test_faults_are_one_line(changes, said):
    with pytest.raises(RrarankError) as error:
        check_table(table(**changes), "t.yaml")
    assert said in str(error.value)


def test_place_holders_are_filled_or_say_what_is_missing(tmp_path):
    found = check_table(table(columns={"c": COLUMN | {"run": "{data}/r", "topics": "{topics}"}}), "t")
    (tmp_path / "r").write_text("")
    assert filled(found.columns["c"], {"data": str(tmp_path)}).run == f"{tmp_path}/r"
    assert filled(found.columns["c"], {"data": str(tmp_path), "topics": "t.tsv"}).topics == "t.tsv"
    with pytest.raises(MissingResource, match="not given: --data, for {data}/r"):
        filled(found.columns["c"], {})
    with pytest.raises(MissingResource, match="no/r: no such file"):
        filled(found.columns["c"], {"data": "no"})


# -- keys of LLM providers --------------------------------------------------------------------------------------------


def asking(**settings):
    row = {"title": "r", "reranker": "listwise-llm", "model": "m", "settings": settings}
    return table(rows={"a": ROW, "b": row})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"base_url": "https://evil.example/v1"}, "OPENAI_API_KEY would be sent to https://evil.example"),
        ({"base_url": "http://api.openai.com/v1"}, "OPENAI_API_KEY would be sent to http://api.openai.com"),
        ({"base_url": "https://api.openai.com.evil.example/v1"}, "sent to https://api.openai.com.evil.example"),
        ({"base_url": "https://evil.example/api.openai.com"}, "sent to https://evil.example"),
        ({"base_url": "https://api.openai.com/v1", "api_key_env": "GROQ_API_KEY"}, "is for https://api.groq.com"),
        ({"base_url": "https://notopenai.azure.com/v1", "api_key_env": "AZURE_OPENAI_API_KEY"}, "would be sent to"),
        ({"base_url": "https://evil.example/v1", "api_key_env": "HOME"}, "'HOME' is no usual name of a key"),
    ],
)
def test_a_table_sends_no_key_to_a_host_that_it_is_not_for(settings, said, monkeypatch):
    for name in ("OPENAI_API_KEY", "GROQ_API_KEY", "AZURE_OPENAI_API_KEY"):
        monkeypatch.setenv(name, "secret")
    with pytest.raises(RrarankError) as error:
        check_table(asking(**settings), "t.yaml")
    assert "t.yaml: rows.b.settings: " in str(error.value)
    assert said in str(error.value)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"base_url": "https://api.openai.com/v1"},
        {"base_url": "http://127.0.0.1:8000/v1"},
        {"base_url": "http://localhost:8000/v1", "api_key_env": "VLLM_API_KEY"},
        {"base_url": "https://x.openai.azure.com/openai?api-version=1", "api_key_env": "AZURE_OPENAI_API_KEY"},
        {"base_url": "https://anywhere.example/v1", "api_key_env": "RRARANK_API_KEY"},
        {},
    ],
)
def test_a_table_may_send_a_key_to_its_own_host(settings, monkeypatch):
    for name in ("OPENAI_API_KEY", "VLLM_API_KEY", "AZURE_OPENAI_API_KEY", "RRARANK_API_KEY"):
        monkeypatch.setenv(name, "secret")
    assert check_table(asking(**settings), "t.yaml").rows["b"].settings == settings


def test_without_a_key_a_table_may_name_any_host(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    check_table(asking(base_url="https://anywhere.example/v1"), "t.yaml")
