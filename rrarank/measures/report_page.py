"""One HTML page of runs: systems, comparisons, and each query's rankings side by side.

`report_page.html` is a jinja2 template that escapes every value. The page loads nothing from a network, and reads
without its script.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from rrarank.data.types import Hit, Qrels, Run
from rrarank.errors import shown
from rrarank.measures.evaluation import Evaluation, Row, comparisons_table, systems_table
from rrarank.measures.figures import differences_svg
from rrarank.measures.measure import label, parse_measure
from rrarank.measures.numbers import figure, interval
from rrarank.measures.scores import MEASURES, evaluate_runs
from rrarank.measures.significance import SEED, interval_method, interval_of_values
from rrarank.measures.tables import Table, html_environment, html_table
from rrarank.storage.files import atomic_write

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

CUT = 180  # characters of a passage that are shown before it is opened


@dataclass(frozen=True)
class Material:
    """What a report shows.

    Args:
        runs: name -> run; the others are tested against the first.
        topics: qid -> query, where known.
        texts: docid -> text, where known.
    """

    qrels: Qrels
    runs: Mapping[str, Run]
    topics: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PageConfig:
    """How a report shows it.

    Args:
        measures: the query table shows the first.
        depth: documents shown per query and run.
        title: of the page; empty: the runs' names.
        sources: name -> input, listed at the foot of the page.
    """

    measures: Sequence[str] = ("ndcg@10", *(measure for measure in MEASURES if measure != "ndcg@10"))
    depth: int = 10
    title: str = ""
    sources: Mapping[str, str] = field(default_factory=dict)
    seed: int = SEED


def write_report(output: str | Path, material: Material, config: PageConfig = PageConfig()) -> Evaluation:
    """Measure the runs and write the page, whole or not at all; `-` is stdout.

    Raises:
        RrarankError: as `evaluate_runs` does.
    """
    found = evaluate_runs(material.qrels, material.runs, measures=config.measures, rel_level=1, seed=config.seed)
    with atomic_write(output) as file:
        file.write(report_page(found, material, config))
    return found


def report_page(found: Evaluation, material: Material, config: PageConfig = PageConfig()) -> str:
    """The page; equal arguments give equal text."""
    source = page_part("report_page.html")
    page = page_environment()
    page.filters.update(figure=figure, shown=shown, label=label)
    first, *others = material.runs
    return page.from_string(source).render(
        against=comparisons_table(found) if found.comparisons else None,
        config=config,
        differences=[f"{name} - {found.baseline}" for name in others],
        found=found,
        measures=list(found.floor),
        names=list(material.runs),
        queries=[_query(qid, found, material, config) for qid in found.queries],
        script_hash=_script_hash(source),
        style=page_style(),
        systems=_systems(found, config),
        title=config.title or " against ".join(filter(None, [", ".join(others), first])),
        **(_plot(found, found.comparisons[0].measure) if found.comparisons else {}),
    )


def page_part(name: str) -> str:
    """A template or style sheet of this package."""
    return resources.files("rrarank.measures").joinpath(name).read_text(encoding="utf-8")


def page_environment() -> Environment:
    """What renders a page: HTML in which the filter `html_table` draws a table."""
    from markupsafe import Markup

    page = html_environment()
    page.filters.update(html_table=lambda table: Markup(html_table(table)))
    return page


def page_style() -> Markup:
    """The style sheet of every page, for its `<style>`."""
    from markupsafe import Markup

    return Markup(page_part("page.css"))


def _script_hash(source: str) -> str:
    """For the page's policy, so that a browser runs this script only, even if a text contained another."""
    [script] = re.findall("<script>(.*?)</script>", source, re.DOTALL)
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def _plot(found: Evaluation, measure: str) -> dict[str, str]:
    from markupsafe import Markup, escape

    caption = f"Differences in {label(measure)}, query by query, sorted."
    svg = differences_svg(found, measure).replace("<svg ", f'<svg role="img" aria-label="{escape(caption)}" ', 1)
    return {"plot": Markup(svg), "plot_caption": caption}


def _systems(found: Evaluation, config: PageConfig) -> Table:
    """The systems, each mean above its interval."""
    intervals = {
        (row.name, measure): interval(*interval_of_values(list(row.per_query[measure].values()), seed=config.seed))
        for row in found.rows
        for measure in found.floor
        if not parse_measure(measure).is_sum
    }
    table = systems_table(found, intervals=intervals)
    return replace(table, note=f"Means with 95% intervals ({interval_method(len(found.queries))}). {table.note}")


# -- queries ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Query:
    qid: str
    text: str
    judged: str
    values: Sequence[float]
    columns: Sequence[_Column]


@dataclass(frozen=True)
class _Column:
    """One run's top documents for a query."""

    name: str
    value: float
    hits: Sequence[_ShownHit]


@dataclass(frozen=True)
class _Move:
    """How far a document moved from its rank in the first run; `words` are for screen readers."""

    way: str
    title: str
    sign: str
    words: str = ""


@dataclass(frozen=True)
class _ShownHit:
    """A hit as the page shows it.

    Args:
        grade: None if unjudged; `shade`, 0 to 3, is its share of the query's highest grade.
        text: of the passage, or its beginning where `rest` holds the remainder; None if unknown.
    """

    rank: int
    docid: str
    score: float
    grade: int | None
    shade: int
    move: _Move | None
    text: str | None
    rest: str


def _query(qid: str, found: Evaluation, material: Material, config: PageConfig) -> _Query:
    columns = [_column(row, qid, material, config) for row in found.rows]
    judged = _judged(material.qrels[qid])
    return _Query(qid, material.topics.get(qid, ""), judged, [column.value for column in columns], columns)


def _judged(grades: Mapping[str, int]) -> str:
    """`Judged: 4 of grade 2, 31 of grade 0.`"""
    counts = Counter(grades.values())
    return f"Judged: {', '.join(f'{counts[grade]:,} of grade {grade}' for grade in sorted(counts, reverse=True))}."


def _column(row: Row, qid: str, material: Material, config: PageConfig) -> _Column:
    hits = material.runs[row.name].get(qid, ())[: config.depth]
    shown_hits = list(_shown_hits(row.name, qid, hits, material))
    return _Column(row.name, row.per_query[config.measures[0]][qid], shown_hits)


def _shown_hits(name: str, qid: str, hits: Sequence[Hit], material: Material) -> Iterator[_ShownHit]:
    first = next(iter(material.runs))
    before = {hit.docid: rank for rank, hit in enumerate(material.runs[first].get(qid, ()), start=1)}
    grades = material.qrels[qid]
    highest = max([*grades.values(), 1])
    for rank, hit in enumerate(hits, start=1):
        grade = grades.get(hit.docid)
        shade = math.ceil(3 * max(grade or 0, 0) / highest)
        move = None if name == first else _move(rank, before.get(hit.docid), first)
        text, rest = _passage(material.texts.get(hit.docid))
        yield _ShownHit(rank, hit.docid, hit.score, grade, shade, move, text, rest)


def _move(rank: int, before: int | None, first: str) -> _Move:
    if before is None:
        return _Move("up", f"not in {first}", "new")
    title = f"rank {before} in {first}"
    if before == rank:
        return _Move("soft", title, "=", " same rank")
    arrow, way = ("↑", "up") if rank < before else ("↓", "down")
    return _Move(way, title, f"{arrow}{abs(before - rank)}", f" {way}")


def _passage(text: str | None) -> tuple[str | None, str]:
    """The beginning of a long passage, cut between words where possible, and the rest."""
    if text is None or len(text) <= CUT:
        return text, ""
    end = text.rfind(" ", CUT // 2, CUT) + 1 or CUT
    return text[:end], text[end:]
