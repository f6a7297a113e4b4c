"""Tables of words and numbers, as plain text, for a terminal, as Markdown and as HTML (`latex` has LaTeX).

tabulate, rich and jinja2 lay them out; numbers are right-aligned.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment, Template


@dataclass(frozen=True)
class Cell:
    """What a cell holds.

    Args:
        best: the best value of its column; printed in bold.
        marks: what stands after it as a superscript, such as the letters of systems from which it differs.
        below: a second, smaller line; in HTML only.
        change: `up` or `down`, a class for its colour in HTML.
    """

    text: str
    best: bool = False
    marks: str = ""
    below: str = ""
    change: str = ""


@dataclass(frozen=True)
class Table:
    """A table with its note.

    Args:
        head: the columns' names.
        rows: cells, as many as there are columns.
        words: the places of columns that hold words; all others hold numbers.
        title: what it shows, in a few words; the first sentence of a caption in LaTeX.
        note: what to know to read it.
        legend: what bold and superscripts mean; only where there are any.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    words: frozenset[int] = frozenset({0})
    title: str = ""
    note: str = ""
    legend: str = ""

    @property
    def notes(self) -> str:
        """Note and legend."""
        return " ".join(filter(None, [self.note, self.legend]))

    @property
    def sides(self) -> list[str]:
        """`left` or `right` for each column."""
        return ["left" if place in self.words else "right" for place in range(len(self.head))]

    def missing(self, place: int, cell: Cell) -> str:
        """The marks of a column of numbers that this cell lacks; with room for them, the digits align."""
        if place in self.words or not cell.text:
            return ""
        return "".join(sorted({mark for row in self.rows for mark in row[place].marks} - set(cell.marks)))

    def only(self, columns: Sequence[str]) -> Table:
        """The table with these columns."""
        places = [self.head.index(name) for name in columns]
        rows = [[row[place] for place in places] for row in self.rows]
        words = frozenset(new for new, place in enumerate(places) if place in self.words)
        return replace(self, head=columns, rows=rows, words=words)


def cells(texts: Iterable[str]) -> list[Cell]:
    return [Cell(text) for text in texts]


def bold_best(rows: Sequence[Sequence[Cell]], columns: Iterable[int]) -> list[list[Cell]]:
    """The rows with the highest number of each of these columns marked, as it is printed; one number is no best."""
    made = [list(row) for row in rows]
    for column in columns:
        numbers = [_number(row[column].text) for row in made]
        if sum(number > -math.inf for number in numbers) > 1:
            for row, number in zip(made, numbers, strict=True):
                row[column] = replace(row[column], best=number == max(numbers))
    return made


def _number(text: str) -> float:
    """Minus infinity for what is no number."""
    try:
        return float(text)
    except ValueError:
        return -math.inf


# -- text -------------------------------------------------------------------------------------------------------------


def plain(tables: Iterable[Table]) -> str:
    """Columns between spaces; numbers stand alone, without marks."""
    return "\n\n".join(_with_note(_grid(table, _plain_rows(table), "simple"), table.note) for table in tables) + "\n"


def _plain_rows(table: Table) -> list[list[str]]:
    return [[_marked(cell) if place in table.words else cell.text for place, cell in enumerate(r)] for r in table.rows]


def _marked(cell: Cell) -> str:
    return f"{cell.text} {cell.marks}".rstrip()


def _grid(table: Table, rows: Sequence[Sequence[str]], style: str, head: Sequence[str] = ()) -> str:
    from tabulate import tabulate

    return str(tabulate(rows, head or table.head, style, colalign=table.sides, disable_numparse=True))


def _with_note(grid: str, note: str) -> str:
    return "\n\n".join(filter(None, [grid, note]))


def csv_text(head: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([head, *lines])
    return text.getvalue()


def markdown(tables: Iterable[Table]) -> str:
    return "\n\n".join(map(markdown_table, tables)) + "\n"


def markdown_table(table: Table) -> str:
    """A table in GitHub's Markdown, with its note."""
    rows = [[_in_markdown(cell) for cell in row] for row in table.rows]
    return _with_note(_grid(table, rows, "pipe", [_escaped(name) for name in table.head]), table.notes)


def _in_markdown(cell: Cell) -> str:
    text = _escaped(cell.text)
    return (f"**{text}**" if cell.best else text) + (f"<sup>{cell.marks}</sup>" if cell.marks else "")


def _escaped(text: str) -> str:
    """What Markdown would read as a row, column, emphasis, code or a tag stands for itself; one `_` needs no more."""
    text = " ".join(text.splitlines())
    text = text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
    return text.replace("`", "\\`").replace("*", "\\*").replace("__", "\\_\\_")


WIDE = 10_000  # more columns than any table has


def print_tables(tables: Iterable[Table]) -> None:
    """Print to the terminal; a table that is wider keeps its width, so that no number is cut."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table as Grid
    from rich.text import Text

    console = Console(highlight=False)
    for table in tables:
        grid = Grid(box=SIMPLE_HEAD, pad_edge=False)
        for name, side in zip(table.head, table.sides, strict=True):
            grid.add_column(Text(name), justify="left" if side == "left" else "right")
        for row, texts in zip(table.rows, _plain_rows(table), strict=True):
            grid.add_row(*(Text(text, "bold" if cell.best else "") for cell, text in zip(row, texts, strict=True)))
        width = console.measure(grid, options=console.options.update(width=WIDE)).maximum
        Console(highlight=False, width=max(width, console.width)).print(grid)
        console.print(Text(table.note), end="\n\n")


# -- HTML -------------------------------------------------------------------------------------------------------------

_HTML = """\
{% macro side(place) %}
{% if place in table.words %} style="text-align: left"{% else %} class="number" style="text-align: right"{% endif %}
{% endmacro -%}
<table>
{% if table.notes %}
<caption>{{ table.notes }}</caption>
{% endif %}
<thead><tr>
{%- for name in table.head %}<th scope="col"{{ side(loop.index0) }}>{{ name }}</th>{% endfor -%}
</tr></thead>
<tbody>
{% for row in table.rows %}
<tr><th scope="row" style="text-align: left">{{ inner(row[0], "") }}</th>
{%- for cell in row[1:] %}
<td{{ side(loop.index) }}>{{ inner(cell, table.missing(loop.index, cell)) }}</td>
{%- endfor %}</tr>
{% endfor %}
</tbody>
</table>"""
_INNER = """\
{% macro inner(cell, missing) %}
{% if cell.change %}<span class="{{ cell.change }}">{{ cell.text }}</span>
{%- elif cell.best %}<strong>{{ cell.text }}</strong>
{%- else %}{{ cell.text }}
{%- endif %}
{%- if cell.marks or missing %}<sup style="line-height: 0">{{ cell.marks }}
{%- if missing %}<span style="visibility: hidden" aria-hidden="true">{{ missing }}</span>{% endif %}</sup>{% endif %}
{%- if cell.below %}<span class="interval">{{ cell.below }}</span>{% endif %}
{%- endmacro %}
"""
_STYLE = "body{font:1rem/1.5 system-ui,sans-serif;margin:2rem}caption{text-align:left;max-width:75ch}"
_STYLE += ".number{white-space:nowrap}"
_STYLE += "table{border-collapse:collapse;margin-bottom:2rem}th,td{padding:.3rem .7rem;border-bottom:1px solid #ccc}"


def html_table(table: Table) -> str:
    """A `<table>` element; the note is its caption."""
    return str(_template().render(table=table))


@cache
def _template() -> Template:
    return html_environment().from_string(_INNER + _HTML)


def html_environment() -> Environment:
    """What renders HTML: every value is escaped, and shows no control characters."""
    from jinja2 import Environment

    return Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, finalize=_allowed)


def _allowed(value: object) -> object:
    """Replace what HTML may not hold: control characters and lone surrogates. jinja2 calls it for every value."""
    return re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]", "\ufffd", value) if type(value) is str else value


def html(tables: Iterable[Table]) -> str:
    """A page of its own."""
    body = "\n".join(map(html_table, tables))
    head = f'<meta charset="utf-8">\n<title>Evaluation</title>\n<style>{_STYLE}</style>'
    return f'<!DOCTYPE html>\n<html lang="en">\n<head>\n{head}\n</head>\n<body>\n{body}\n</body>\n</html>\n'
