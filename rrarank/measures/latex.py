"""Tables as LaTeX for a paper: floats with booktabs, no wider than a column, ready for `\\input`."""

from __future__ import annotations

import re
from collections.abc import Mapping

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


def _float(label: str, table: Table) -> str:
    """Tables that are wider than a column are scaled down to it."""
    caption = " ".join(escaped(part) for part in (table.title, table.notes) if part)
    return "\n".join(
        [
            r"\begin{table}[t]",
            r"\centering",
            rf"\caption{{{caption}}}",
            rf"\label{{tab:{label}}}",
            r"\smallskip",
            r"\footnotesize",
            r"\setlength{\tabcolsep}{3pt}",
            r"\resizebox{\ifdim\width>\columnwidth\columnwidth\else\width\fi}{!}{%",
            f"{_tabular(table)}}}",
            r"\end{table}",
        ]
    )


def _tabular(table: Table) -> str:
    """By tabulate, with the rules of booktabs; the parameters of measures stand in a second line of the head."""
    from tabulate import tabulate

    head, below = zip(*map(_head, table.head), strict=True)
    rows = [[_cell(cell, at in table.words, table.missing(at, cell)) for at, cell in enumerate(r)] for r in table.rows]
    shown = [list(below), *rows] if any(below) else rows
    lines = str(tabulate(shown, head, "latex_raw", colalign=table.sides, disable_numparse=True)).split("\n")
    if any(below):
        lines[3:5] = [lines[4], lines[3]]
    rules = iter((r"\toprule", r"\midrule", r"\bottomrule"))
    return "\n".join(next(rules) if line == r"\hline" else line for line in lines)


def _head(name: str) -> tuple[str, str]:
    """A measure's name and, for the line below, its parameters; other names have none."""
    found = _PARAMETERS.search(name)
    if not found:
        return escaped(name), ""
    return escaped(name.replace(found[0], "")), rf"\scriptsize ${_mathematics(found)}$"


def _cell(cell: Cell, is_words: bool, missing: str) -> str:
    text = escaped(cell.text) if is_words else _number(cell.text)
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
    return "".join(word + index for word, index in zip(words, [*found, ""], strict=True))


def _mathematics(found: re.Match[str]) -> str:
    persistence = f"p={found[1]},\\," if found[1] else ""
    return rf"{persistence}\mathrm{{rel}}\geq{found[2]}"
