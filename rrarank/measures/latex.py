"""Tables as LaTeX for a paper: floats with booktabs, no wider than their place, ready for `\\input`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from itertools import zip_longest

from rrarank.measures.tables import Cell, Table

PACKAGES = r"% in the preamble: \usepackage{booktabs,graphicx}"
_SPECIAL = {character: rf"\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "†": r"\textdagger{}",
}

_PARAMETERS = re.compile(r"\((?:p=([\d.]+),)?rel=(\d+)\)")
"""A measure's persistence and relevance level, as `Measure` writes them."""


def latex(tables: Mapping[str, Table]) -> str:
    """The tables as floats.

    Args:
        tables: label -> table.
    """
    return "\n\n".join([PACKAGES, *(_float(label, table) for label, table in tables.items())]) + "\n"


_NO_LABEL = re.compile(r"[^\w.:@+-]", re.ASCII)  # such as %, with which a comment begins

COLUMN = 230  # points: the width of a column of `article` in two columns, one of the narrowest
_SHRUNK = 1.1  # so much wider than its place may a table be, which is scaled down to it
_SMALLEST = 1.45  # the same for a table that cannot be stacked


def _float(label: str, table: Table) -> str:
    """Too many numbers are stacked, too many words take both columns of a page; what is a little wide is scaled."""
    caption = " ".join(escaped(part) for part in (table.title, table.notes) if part)
    blocks = _stacked(table)
    kind = "table*" if _width(blocks) > COLUMN * _SMALLEST else "table"
    return "\n".join(
        [
            rf"\begin{{{kind}}}[t]",
            r"\centering",
            rf"\caption{{{caption}}}",
            rf"\label{{tab:{_NO_LABEL.sub('-', label)}}}",
            r"\smallskip",
            r"\footnotesize",
            r"\setlength{\tabcolsep}{3pt}",
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            f"{_tabular(blocks)}}}",
            rf"\end{{{kind}}}",
        ]
    )


def _stacked(table: Table) -> list[Table]:
    """The table in as few blocks of columns as fit, each with the first column; whole if that does not help."""
    first, *numbers = table.head
    if table.words == {0} and _width([table.only([first])]) < COLUMN / 2:
        for count in range(1, len(numbers) + 1):
            size = math.ceil(len(numbers) / count)
            blocks = [table.only([first, *numbers[at : at + size]]) for at in range(0, len(numbers), size)]
            if _width(blocks) < COLUMN * _SHRUNK:
                return blocks
    return [table]


def _width(blocks: Sequence[Table]) -> float:
    """In points, roughly, of blocks that stand one above the other."""
    columns = zip_longest(*(_column_widths(block) for block in blocks), fillvalue=0.0)
    return sum(max(widths) + 6 for widths in columns)


def _column_widths(table: Table) -> list[float]:
    names = [_PARAMETERS.sub("", name) for name in table.head]
    parameters = ["".join(one[0] for one in _PARAMETERS.finditer(name)) for name in table.head]
    return [
        max(
            _text_width(names[at]),
            0.7 * _text_width(parameters[at].strip("()")),
            *(_text_width(row[at].text) + 3.5 * len(row[at].marks + table.missing(at, row[at])) for row in table.rows),
        )
        for at in range(len(names))
    ]


def _text_width(text: str) -> float:
    """In points, of Computer Modern in 8 points."""
    return sum(2.6 if one in ".,:;il|![]() " else 6.6 if one.isupper() or one in "+-%" else 4.6 for one in text)


def _tabular(blocks: Sequence[Table]) -> str:
    """Blocks of columns in one tabular; the widest comes first."""
    begin, *_, end = _lines(blocks[0])
    bodies = ["\n".join(_lines(block)[1:-1]) for block in blocks]
    return "\n".join([begin, "\n\\addlinespace[4pt]\n".join(bodies), end])


def _lines(table: Table) -> list[str]:
    """By tabulate, with the rules of booktabs; the parameters of measures stand in a second line of the head."""
    from tabulate import tabulate

    head, below = zip(*map(_head, table.head), strict=True)
    rows = [[_cell(cell, at in table.words, table.missing(at, cell)) for at, cell in enumerate(r)] for r in table.rows]
    shown = [list(below), *rows] if any(below) else rows
    lines = str(tabulate(shown, head, "latex_raw", colalign=table.sides, disable_numparse=True)).split("\n")
    if any(below):
        lines[3:5] = [lines[4], lines[3]]
    rules = iter((r"\toprule", r"\midrule", r"\bottomrule"))
    return [next(rules) if line == r"\hline" else line for line in lines]


def _head(name: str) -> tuple[str, str]:
    """A measure's name and, for the line below, its parameters; other names have none."""
    found = _PARAMETERS.search(name)
    if not found:
        return escaped(name), ""
    return escaped(name.replace(found[0], "")), rf"\scriptsize ${_mathematics(found)}$"


def _cell(cell: Cell, is_words: bool, missing: str) -> str:
    text = escaped(cell.text) if is_words else _number(cell.text)
    text = f"{{}}{text}" if text.startswith(("[", "*")) else text  # else an argument of the row's end
    text = rf"\textbf{{{text}}}" if cell.best else text
    marks = escaped(cell.marks) + (rf"\phantom{{{missing}}}" if missing else "")
    return text + (rf"\textsuperscript{{{marks}}}" if marks else "")


def _number(text: str) -> str:
    """Signs and powers of ten as mathematics has them: `$-$0.0123`, `$1.2\\times10^{-5}$`."""
    text = re.sub(r"([\d.]+)e([+-])0*(\d+)", lambda m: rf"${m[1]}\times10^{{{m[2].strip('+')}{m[3]}}}$", text)
    return re.sub(r"(?<![\w{^])[+-](?=[\d.])", lambda m: f"${m[0]}$", text).replace("%", r"\%")


def escaped(text: str) -> str:
    """The text as LaTeX prints it; a measure's parameters become an index: AP(rel=2) is AP with rel>=2 below."""
    parts = _PARAMETERS.split(text)  # words, p, level, words, p, level, ... words
    found = [rf"$_{{{_mathematics(one)}}}$" for one in _PARAMETERS.finditer(text)]
    words = ["".join(_SPECIAL.get(character, character) for character in part) for part in parts[::3]]
    text = "".join(word + index for word, index in zip(words, [*found, ""], strict=True))
    return re.sub("-(?=-)", "-{}", text)  # two hyphens are no dash


def _mathematics(found: re.Match[str]) -> str:
    persistence = f"p={found[1]},\\," if found[1] else ""
    return rf"{persistence}\mathrm{{rel}}\geq{found[2]}"
