"""One table, many formats: numbers right-aligned, the best bold, letters for differences, names as they are."""

import csv
import re
import shutil
import subprocess

import pytest

from rrarank.data.types import Hit, Run
from rrarank.errors import RrarankError
from rrarank.measures.evaluation import systems_table
from rrarank.measures.latex import escaped, latex
from rrarank.measures.scores import evaluate_runs
from rrarank.measures.tables import (
    Cell,
    Table,
    bold_best,
    cells,
    html,
    html_table,
    markdown,
    markdown_table,
    plain,
    print_tables,
)

ODD = r"a_b&c 100% #1 $x$ {y} ~^\z <w> |v| *u* `t`"


def found(names=("bm25", "better", "same"), queries=12, measures=("nDCG@10", "RR(rel=2)")):
    """The second system finds the relevant document of every query first, the others last."""
    qrels = {str(q): {"a": 2, "b": 1} for q in range(queries)}
    worse = Run({qid: [Hit("x", 3.0), Hit("y", 2.0), Hit("a", 1.0)] for qid in qrels})
    better = Run({qid: [Hit("a", 3.0), Hit("b" if int(qid) % 2 else "x", 2.0)] for qid in qrels})
    return evaluate_runs(qrels, dict(zip(names, [worse, better, worse], strict=True)), measures=measures)


# -- what is marked ---------------------------------------------------------------------------------------------------


def test_the_best_is_bold_and_significant_differences_carry_the_baselines_letter():
    _, bm25, better, same = systems_table(found()).rows
    assert [cell.best for cell in better] == [False, True, True, False]
    assert [cell.marks for cell in better] == ["", "a", "a", ""]
    assert not any(cell.best or cell.marks for row in (bm25, same) for cell in row)


def test_equal_printed_values_are_both_the_best_and_a_single_one_is_not():
    rows = [[Cell("a"), Cell("0.5000"), Cell("-")], [Cell("b"), Cell("0.5000"), Cell("0.1")]]
    assert [[cell.best for cell in row] for row in bold_best(rows, (1, 2))] == [[False, True, False]] * 2


def test_tukey_marks_every_pair_that_differs():
    table = systems_table(found(queries=40), tukey=True)
    assert [row[1].marks for row in table.rows] == ["", "b", "ac", "b"]
    assert "a: bm25, b: better, c: same; Tukey's HSD" in table.legend


def test_a_legend_names_letters_only_where_there_are_some():
    assert "a: bm25" in systems_table(found()).legend
    assert systems_table(found(queries=2)).legend == "Bold: the best."


def test_a_tables_columns_can_be_chosen():
    table = Table(["a", "b", "c"], [[Cell("1"), Cell("2"), Cell("3")]], words=frozenset({0, 2}))
    assert table.only(["c", "b"]) == Table(["c", "b"], [[Cell("3"), Cell("2")]], words=frozenset({0}))


# -- formats ----------------------------------------------------------------------------------------------------------


def test_plain_numbers_stand_alone_and_right_aligned():
    head, rule, *rows = plain(found().tables().values()).split("\n\n")[0].splitlines()
    assert rows[2].split() == ["better", "0.8801", "1.0000", "75%"]
    end = rule.rindex("-  -")  # of the column before the last
    assert all(line[end] != " " == line[end + 1] for line in (head, *rows[1:]))


def test_markdown_aligns_escapes_and_marks():
    table, note, *_ = markdown(found(("bm25", ODD, "same")).tables().values()).split("\n\n")
    lines = table.splitlines()
    assert re.fullmatch(r"\|:-+\|-+:\|-+:\|-+:\|", lines[1])
    cells = re.split(r"(?<!\\)\|", lines[4])
    assert len(cells) == 6
    assert r"&lt;w> \|v\| \*u\* \`t\`" in cells[1]
    assert cells[3].strip() == "**1.0000**<sup>a</sup>"
    assert "Superscripts: significantly different from that system (a: bm25" in note


def test_a_name_of_two_lines_is_one_row_in_markdown():
    assert len(markdown_table(Table(["system"], [[Cell("a\nb")]])).splitlines()) == 3


def test_html_escapes_and_aligns():
    table = html_table(systems_table(found(("bm25", ODD + "\x00", "same"))))
    assert "&lt;w&gt; |v|" in table
    assert "\x00" not in table
    assert (
        '<td class="number" style="text-align: right"><strong>1.0000</strong><sup style="line-height: 0">a</sup></td>'
        in table
    )
    assert (
        '0.3333<sup style="line-height: 0"><span style="visibility: hidden" aria-hidden="true">a</span></sup>' in table
    )
    assert '<th scope="col" class="number" style="text-align: right">RR(rel=2)</th>' in table
    page = html(found().tables().values())
    assert page.count("<table>") == page.count("<caption>") == 2
    assert page.startswith("<!DOCTYPE html>")


def test_a_terminal_gets_rich_tables(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    print_tables(found(("bm25", "[bold]x", "same")).tables().values())
    out = capsys.readouterr().out
    assert "[bold]x" in out  # no markup
    assert "─" in out
    ends = {line.rindex("%") for line in out.splitlines() if line.rstrip().endswith("%")}
    assert len(ends) == 1


def test_a_narrow_terminal_cuts_no_number(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    print_tables(found().tables().values())
    out = capsys.readouterr().out
    assert "…" not in out
    assert "[+0.6667, +0.6667]" in out


# -- an evaluation in Python ------------------------------------------------------------------------------------------


def test_an_evaluation_is_short_and_prints_as_tables():
    whole = found()
    assert repr(whole) == "<Evaluation of bm25, better, same by nDCG@10, RR(rel=2) over 12 queries>"
    assert str(whole).splitlines()[0].split() == ["system", "nDCG@10", "RR(rel=2)", "judged@10"]
    assert whole._repr_html_().count("<table>") == 2
    assert whole.to_latex().count(r"\begin{table}") == 2
    assert whole.per_query["better"]["RR(rel=2)"]["3"] == 1.0


def test_frames_hold_systems_comparisons_and_queries():
    pytest.importorskip("pandas")
    whole = found()
    systems = whole.to_pandas().set_index("system")
    assert list(systems.columns) == ["nDCG@10", "RR(rel=2)", "judged@10"]
    assert systems.loc["better", "RR(rel=2)"] == 1.0
    compared = whole.to_pandas("comparisons")
    assert compared[["system", "measure", "reading"]].values.tolist()[:2] == [
        ["better", "nDCG@10", "better"],
        ["same", "nDCG@10", "equal on every query"],
    ]
    queries = whole.to_pandas("queries")
    assert len(queries) == 3 * 2 * 12
    assert queries.groupby("system")["value"].mean()["better"] == pytest.approx(systems.loc["better"].iloc[:2].mean())
    with pytest.raises(RrarankError, match="expected one of 'systems', 'comparisons', 'queries', 'tukey'"):
        whole.to_pandas("query")


def test_the_files_of_the_command_are_made_in_python_too(tmp_path):
    whole = found()
    assert whole.to_markdown(tukey=True) == markdown(whole.tables(tukey=True).values())
    assert whole.to_csv(tmp_path / "wide.csv") is None
    assert (tmp_path / "wide.csv").read_text() == whole.to_csv()
    whole.to_csv(str(tmp_path / "long.csv"), long=True)
    assert (tmp_path / "long.csv").read_text() == whole.to_csv(long=True)
    rows = list(csv.DictReader(whole.to_csv(long=True).splitlines()))
    assert len(rows) == 12 * 2 * 3
    assert all(float(one["value"]) == whole.per_query[one["system"]][one["measure"]][one["qid"]] for one in rows)
    wide = list(csv.DictReader(whole.to_csv().splitlines()))
    assert [(one["qid"], one["measure"]) for one in wide[:2]] == [("0", "nDCG@10"), ("1", "nDCG@10")]
    assert len(wide) == 12 * 2
    assert float(wide[-1]["better"]) == whole.per_query["better"]["RR(rel=2)"]["11"]


def test_a_frame_of_pairs_has_tukeys_p():
    pairs = found(queries=40).to_pandas("tukey")
    assert list(pairs) == ["system", "other", "measure", "p"]
    assert len(pairs) == 3 * 2
    first = pairs.iloc[0]
    assert (first["system"], first["other"], first["measure"]) == ("bm25", "better", "nDCG@10")
    assert first["p"] < 0.05


@pytest.mark.parametrize("what", ["comparisons", "tukey"])
def test_one_run_has_frames_without_rows_and_the_usual_columns(what):
    qrels, run = {"1": {"a": 1}, "2": {"b": 1}}, Run({"1": [Hit("a", 1.0)], "2": [Hit("a", 1.0)]})
    [alone, two] = [evaluate_runs(qrels, runs, measures=["nDCG@10"]) for runs in ({"x": run}, {"x": run, "y": run})]
    assert len(alone.to_pandas(what)) == 0
    assert list(alone.to_pandas(what)) == list(two.to_pandas(what))
    assert "tukey" not in alone.tables(tukey=True)


# -- LaTeX ------------------------------------------------------------------------------------------------------------


def test_latex_typesets_measures_and_escapes_names():
    assert escaped(r"a_b & 5% {x} \y") == r"a\_b \& 5\% \{x\} \textbackslash{}y"
    assert escaped("a--b---c - d") == "a-{}-b-{}-{}-c - d"
    assert escaped("RR(rel=2)@10") == r"RR$_{\mathrm{rel}\geq2}$@10"
    assert escaped("RBP(p=0.8,rel=1), P(x)") == r"RBP$_{p=0.8,\,\mathrm{rel}\geq1}$, P(x)"


def test_latex_marks_the_best_and_differences_and_sets_signs():
    text = found().to_latex()
    assert r"\textbf{1.0000}\textsuperscript{a}" in text
    assert r"0.3333\textsuperscript{\phantom{a}}" in text
    assert r"\scriptsize $\mathrm{rel}\geq2$" in text
    assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\hline")] == [2, 2, 2, 0]
    assert "$+$0.6667" in text
    tiny = Table(["x", "p"], [[Cell("a - b"), Cell("1.2e-05")], [Cell("c"), Cell("-0.5")]])
    assert r"$1.2\times10^{-5}$" in latex({"t": tiny})
    assert " a - b " in latex({"t": tiny})
    assert "$-$0.5" in latex({"t": tiny})


@pytest.mark.parametrize("name", ["[1] monoT5", "*tuned"])
def test_latex_sets_names_that_a_new_line_would_take_as_its_argument(name):
    text = found(("bm25", name, "same")).to_latex()
    assert f"{{}}{name}" in text
    assert not re.search(rf"\\\\\s*{re.escape(name[0])}", text)


NINE = ("nDCG@5", "nDCG@10", "AP(rel=2)", "RR(rel=2)@10", "R@100", "P@5", "RBP(p=0.95,rel=2)", "ERR@20", "NumRelRet")


def test_many_measures_stand_in_blocks_one_above_the_other():
    whole = found(("bm25", "bm25.rra-bert", "same"), measures=NINE)
    systems, comparisons, tukey = whole.to_latex(tukey=True).split(r"\begin{tabular}")[1:]
    blocks = systems.split(r"\addlinespace")
    assert len(blocks) > 1
    assert r"\addlinespace" in tukey
    for block in blocks:
        assert len(re.findall(r"^ *bm25\.rra-bert .*&", block, re.MULTILINE)) == 1
        assert [block.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]
    assert r"\addlinespace" not in comparisons
    assert all(re.search(rf"\b{re.split('[(@]', name)[0]}\b", systems) for name in NINE)
    assert r"\addlinespace" not in found().to_latex()


def test_a_table_of_many_words_takes_both_columns():
    words = Table(["by", "says", "n"], [[Cell("a " * 30), Cell("b " * 40), Cell("1")]], words=frozenset({0, 1}))
    text = latex({"wide": words})
    assert text.count("{table*}") == 2
    assert "{table*}" not in found().to_latex()


PAPER = r"""
\documentclass[10pt,twocolumn]{article}
\usepackage[T1]{fontenc}
\usepackage{booktabs,graphicx}
\let\scaled\resizebox
\renewcommand\resizebox[3]{\setbox0\hbox{#3}\typeout{SET \the\wd0\space IN \the\linewidth.}\scaled{#1}{#2}{#3}}
\begin{document}
See Table~\ref{tab:systems}.
\input{one.tex}
\input{two.tex}
\end{document}
"""


@pytest.mark.slow
def test_a_real_latex_sets_the_tables_within_a_column(tmp_path):
    """In a two-column article; an overfull box is a table wider than its column."""
    if not shutil.which("pdflatex"):
        pytest.skip("no pdflatex; Debian's texlive-latex-recommended has it")
    (tmp_path / "paper.tex").write_text(PAPER.lstrip())
    (tmp_path / "one.tex").write_text(found(("bm25", "bm25.rra-bert", "same"), measures=NINE).to_latex(tukey=True))
    (tmp_path / "two.tex").write_text(found((f"[1] {ODD} of a very long name", f"*{ODD}", "†")).to_latex())
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    for _ in range(2):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
        assert done.returncode == 0, done.stdout[-2000:]
    for fault in ("Overfull \\hbox", "undefined", "! "):
        assert fault not in done.stdout, done.stdout
    sizes = re.findall(r"SET ([\d.]+)pt ?IN ([\d.]+)pt", done.stdout)
    assert len(sizes) == 5
    assert all(float(width) < 1.15 * float(place) for width, place in sizes[:3])  # nine measures: hardly scaled
    assert (tmp_path / "paper.pdf").stat().st_size > 10_000


def test_a_label_holds_nothing_that_latex_reads_as_its_own():
    """An arm of an experiment may have any name."""
    assert r"\label{tab:lifts-50--of-a-b}" in latex({"lifts-50% of a&b": Table(["arm"], [cells(["a"])])})
