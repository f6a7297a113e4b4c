import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from rrarank.data.types import Hit, Run
from rrarank.measures.evaluation import Evaluation, Row
from rrarank.measures.measure import ByMeasure
from rrarank.measures.report_page import CUT, Material, PageConfig, report_page
from rrarank.measures.significance import compare
from rrarank.report.__main__ import main
from rrarank.report.job import ReportJob, make_report
from rrarank.storage.sidecar import write_sidecar

VOID = {"meta", "input", "path", "use", "rect", "br"}
EVIL = """"'><script>alert(1)</script> ]]> <img src=x onerror=alert(1)> &lt; {{ title }} {% raw %} ${title}"""


class Page(HTMLParser):
    """What a browser makes of a page: its elements as (tag, attributes), its text by innermost open tag."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.texts, self.open = [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))

    def all(self, tag, **attributes):
        wanted = {name.rstrip("_"): value for name, value in attributes.items()}
        return [found for name, found in self.elements if name == tag and wanted.items() <= found.items()]

    def text(self, tag):
        return [text for name, text in self.texts if name == tag]


def material(first="bm25", second="better", topics=None, texts=None):
    runs = {
        first: Run({"1": [Hit("b", 9.5), Hit("a", 9.0), Hit("u", 1.0), Hit("c", 0.5)]}),
        second: Run({"1": [Hit("a", 3.0), Hit("n", 2.0), Hit("u", 1.5), Hit("b", 1.0)]}),
    }
    return Material({"1": {"a": 2, "b": 0}, "2": {"z": 1}}, runs, topics or {}, texts or {})


def evaluation(material):
    values = [{"1": 0.5, "2": 0.0}, {"1": 1.0, "2": 0.0}]
    rows = [
        Row(name, ByMeasure({"RR(rel=1)": 0.25}), 0.5, ByMeasure({"RR(rel=1)": found}))
        for name, found in zip(material.runs, values, strict=True)
    ]
    tested = compare(rows[1].name, "RR(rel=1)", [1.0, 0.0], [0.5, 0.0])
    against = [replace(tested, student_holm=tested.student, fisher_holm=tested.fisher)]
    return Evaluation(rows, ByMeasure({"RR(rel=1)": 0.2}), rows[0].name, against, ["1", "2"], {"bm25": ["2"]})


def page(found=None, **config):
    found = found or material()
    return report_page(evaluation(found), found, PageConfig(measures=["mrr"], **config))


def test_every_word_that_comes_from_outside_is_escaped():
    found = material(EVIL, f"{EVIL}2", {"1": EVIL}, {"a": EVIL, "b": EVIL * 20, "n": "</script></style>"})
    for run in found.runs.values():
        run.hits["1"].append(Hit(EVIL.replace(" ", ""), 0.1))
    html = page(found, title=EVIL, sources={EVIL: EVIL})
    seen = Page(html)
    assert (len(seen.all("script")), len(seen.all("style"))) == (1, 2)  # the page's, and the figure's own
    assert seen.all("img") == []
    assert not [name for _, attributes in seen.elements for name in attributes if name.startswith("on")]
    assert "".join(seen.text("title")) == EVIL
    assert "".join(seen.text("h1")) == EVIL
    assert EVIL in seen.text("summary")
    assert EVIL in seen.text("div")
    assert seen.all("li", **{"data-docid": EVIL.replace(" ", "")})
    assert "</script></style>" in seen.text("div")


def test_no_character_breaks_the_page():
    html = page(material(topics={"1": "a\x00b\x1bc\ud800d"}))
    assert "a\ufffdb\ufffdc\ufffdd" in Page(html).text("summary")
    html.encode("utf-8")


def test_the_page_asks_nothing_of_a_network():
    html = page()
    [policy] = Page(html).all("meta", **{"http-equiv": "Content-Security-Policy"})
    assert "default-src 'none'" in policy["content"]
    links = [value for _, found in Page(html).elements for name, value in found.items() if name in ("src", "href")]
    assert links == []
    assert not re.findall(r"url\((?!#)|@import|https?://(?!www\.w3\.org/)", html)


def test_the_policy_lets_only_the_pages_own_script_run():
    import base64
    import hashlib

    [policy] = Page(page()).all("meta", **{"http-equiv": "Content-Security-Policy"})
    [script] = Page(page()).text("script")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy["content"]


def test_a_query_opens_to_its_rankings_side_by_side():
    html = page(material(topics={"1": "what is a cat"}, texts={"a": "short", "b": "word " * 99}))
    first, second = re.findall("<ol.*?</ol>", html, re.DOTALL)
    grade = '<span class="grade g{}"><span class="hidden">grade </span>{}</span>'
    assert [grade.format(0, 0) in first, grade.format(3, 2) in first] == [True, True]
    assert first.count("unjudged") == 4  # class and word, of `u` and `c`
    moves = re.findall('class="move [a-z]*" title="([^"]*)">(.*?)</span>', second)
    assert [(title, text[:2]) for title, text in moves] == [
        ("rank 2 in bm25", "↑1"),
        ("not in bm25", "ne"),
        ("rank 3 in bm25", "=<"),
        ("rank 1 in bm25", "↓3"),
    ]
    assert 'class="move' not in first
    assert "(text unknown)" in second
    assert page().count("No hits.") == 2  # query 2


def test_a_long_passage_is_cut_between_words_and_opens_to_all_of_it():
    text = "lorem ipsum " * 40
    html = page(material(texts={"a": text, "b": "x" * 500}))
    [head, tail] = re.findall("<summary>(lorem[^<]*)</summary>([^<]*)</details>", html)[0]
    assert head + tail == text
    assert len(head) <= CUT
    assert head.endswith(" ")
    assert f"<summary>{'x' * CUT}</summary>{'x' * (500 - CUT)}<" in html


def test_depth_cuts_the_columns():
    assert page(depth=1).count("<li ") == 2
    assert page(depth=3).count("<li ") == 6


def test_systems_stand_with_intervals_and_tests():
    rows = [re.sub("<[^>]+>", " ", row).split() for row in re.findall("<tr>.*?</tr>", page(), re.DOTALL)]
    assert ["random", "order", "0.2000"] in rows
    assert ["bm25", "0.2500", "[0.0000,", "1.0000]", "50%"] in rows
    assert any(row[:3] == ["better", "RR(rel=1)", "+0.2500"] and row[-2:] == ["not", "resolved"] for row in rows)
    assert "bm25 has no hits for 1 judged queries, counted as 0" in page()
    assert page().count("by t; with only 2 queries they are rough") == 4  # caption and label of both tables


def test_one_run_is_a_report_without_comparison():
    runs = {"bm25": material().runs["bm25"]}
    found = Material({"1": {"a": 2}}, runs)
    row = Row("bm25", ByMeasure({"RR(rel=1)": 0.5}), 0.5, ByMeasure({"RR(rel=1)": {"1": 0.5}}))
    html = report_page(
        Evaluation([row], ByMeasure({"RR(rel=1)": 0.2}), "bm25", [], ["1"], {}), found, PageConfig(measures=["mrr"])
    )
    assert "<h1>bm25</h1>" in html
    assert "<svg" not in html


def test_tables_can_be_read_by_a_screen_reader_and_a_keyboard():
    seen = Page(page())
    assert seen.all("html", lang="en")
    assert all(cell.get("scope") in ("col", "row") for cell in seen.all("th"))
    assert len(seen.text("caption")) == len(seen.all("table")) == 3
    assert len(seen.all("svg", role="img")) == 1
    columns = [cell["data-sort"] for cell in seen.all("th") if "data-sort" in cell]
    assert columns == ["text", "text", "number", "number", "number", "number"]
    ids = [attributes["id"] for _, attributes in seen.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_equal_arguments_give_equal_text():
    assert page() == page()


# -- the verb ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def job(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = {
        "q.txt": "1 0 a 1\n2 0 c 1\n",
        "bm25.trec": "1 Q0 b 1 3 x\n1 Q0 a 2 2 x\n2 Q0 c 1 2 x\n",
        "better.trec": "1 Q0 a 1 3 x\n1 Q0 b 2 2 x\n2 Q0 c 1 2 x\n",
        "topics.tsv": "1\tfirst question\n2\tsecond question\n",
        "docs.jsonl": "".join(json.dumps({"id": docid, "contents": f"passage {docid}"}) + "\n" for docid in "abc"),
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return ["--qrels", "q.txt", "--runs", "bm25.trec", "better.trec", "--measures", "mrr"]


TEXTS = ["--topics", "topics.tsv", "--collection", "docs.jsonl"]


def test_flags_name_queries_and_texts(job, capsys):
    assert main([*job, *TEXTS, "--title", "Mine"]) == 0
    assert capsys.readouterr() == ("report.html\n", "")
    html = Path("report.html").read_text()
    assert "<h1>Mine</h1>" in html
    assert all(text in html for text in ("first question", "second question", "passage a", "passage b", "passage c"))
    sidecar = json.loads(Path("report.html.json").read_text())
    assert list(sidecar["inputs"]) == ["qrels", "run-1", "topics", "collection", "run-2"]
    assert sidecar["config"]["measures"] == ["mrr"]


def test_a_sidecar_of_one_run_is_enough_for_all(job, capsys):
    write_sidecar(Path("better.trec"), inputs={"topics": Path("topics.tsv"), "collection": Path("docs.jsonl")})
    assert main(job) == 0
    assert "passage b" in Path("report.html").read_text()
    assert capsys.readouterr().err == ""


def test_a_run_that_carries_its_texts_needs_no_other(job):
    candidate = {"docid": "b", "score": 1, "doc": {"text": "inline"}}
    request = {"query": {"qid": "1", "text": "carried"}, "candidates": [candidate]}
    Path("r.jsonl").write_text(json.dumps(request) + "\n")
    assert main([*job[:2], "--runs", "r.jsonl", "better.trec", "--measures", "mrr"]) == 0
    html = Path("report.html").read_text()
    assert "carried" in html
    assert html.count("inline</div>") == 2


def test_without_texts_the_report_does_without(job, capsys):
    assert main(job) == 0
    err = capsys.readouterr().err
    assert "2 queries are shown without their text; give --topics, and --collection, --index or --dataset" in err
    assert "3 documents are shown without their text" in err


def test_same_inputs_same_file_and_no_path_in_it(job, tmp_path):
    main([*job, *TEXTS, "--output", "one.html"])
    main([*job, *TEXTS, "--output", "sub/other.html"])
    assert Path("one.html").read_bytes() == Path("sub/other.html").read_bytes()
    assert str(tmp_path) not in Path("one.html").read_text()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--output", "bm25.trec"], "bm25.trec: exists already; give --overwrite"),
        (["--output", "q.txt", "--overwrite"], "q.txt: would replace the input"),
        (["--output", "docs.jsonl", "--overwrite", *TEXTS], "docs.jsonl: would replace the input"),
        (["--runs", "bm25.trec", "./bm25.trec"], "a second run named 'bm25'; rename one"),
        (["--output", "r.pdf"], "r.pdf: unknown suffix '.pdf' (known: .html .htm)"),
        (["--topics", "absent.tsv"], "absent.tsv: no such file"),
        (["--measures", "nope"], "measures (--measures): not understood: 'nope'"),
    ],
)
def test_what_a_user_can_cause_is_one_line(job, flags, message, capsys):
    before = sorted(Path().iterdir())
    assert main([*job, *flags]) == 2
    out, err = capsys.readouterr()
    assert message in err.splitlines()[-1]
    assert err.splitlines()[-1].startswith("error: ")
    assert out == ""
    assert sorted(Path().iterdir()) == before


def test_an_existing_report_is_replaced_on_demand(job, capsys):
    assert main(job) == 0
    assert main(job) == 2
    assert main([*job, "--overwrite"]) == 0


def test_a_job_from_python_does_what_the_command_does(job, capsys):
    found = make_report(ReportJob("q.txt", ["bm25.trec", "better.trec"], measures=["mrr"], output="r.html"))
    assert [row.means["mrr"] for row in found.rows] == [0.75, 1.0]
    assert Path("r.html.json").is_file()
    assert capsys.readouterr().out == ""


def test_help_loads_nothing_heavy():
    import subprocess
    import sys

    code = (
        "import sys; from rrarank.report.__main__ import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'transformers', 'matplotlib', 'ranx', 'numpy'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"
