"""Systems and their queries as one HTML page: sorted, filtered and opened query by query, rankings side by side.

The page is `report_page.html` with tables put in. It asks nothing of a network, reads without its script, and holds
no word of a run, query or text that was not escaped: tables are trees of elements, written by xml.etree.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from xml.etree.ElementTree import Element, tostring

from rrarank.data.types import Hit, Qrels, Run
from rrarank.errors import shown
from rrarank.measures.figures import differences_svg
from rrarank.measures.scores import MEASURES, Evaluation, Row, evaluate_runs
from rrarank.measures.significance import SEED, Comparison, bootstrap, rests_on
from rrarank.storage.files import atomic_write

CUT = 180  # characters of a passage that stand open


@dataclass(frozen=True)
class Material:
    """What a report shows.

    Args:
        runs: name -> run; the others are tested against the first.
        topics: qid -> query, as far as they are known.
        texts: docid -> text, likewise.
    """

    qrels: Qrels
    runs: Mapping[str, Run]
    topics: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)

    @property
    def first(self) -> str:
        return next(iter(self.runs))


@dataclass(frozen=True)
class PageConfig:
    """How it is shown.

    Args:
        measures: as ranx names them; queries are listed with the first.
        depth: documents shown per query and run.
        title: names the page; empty: the runs' names.
        sources: name -> what it was made from, for the foot of the page.
    """

    measures: Sequence[str] = ("ndcg@10", *(measure for measure in MEASURES if measure != "ndcg@10"))
    depth: int = 10
    title: str = ""
    sources: Mapping[str, str] = field(default_factory=dict)
    seed: int = SEED
    threads: int = 0


def write_report(output: str | Path, material: Material, config: PageConfig = PageConfig()) -> Evaluation:
    """Measure the runs and write the page, whole or not at all; `-` is stdout.

    Raises:
        RrarankError: as `evaluate_runs` does.
    """
    found = evaluate_runs(
        material.qrels, material.runs, measures=config.measures, seed=config.seed, threads=config.threads
    )
    with atomic_write(output) as file:
        file.write(report_page(found, material, config))
    return found


def report_page(found: Evaluation, material: Material, config: PageConfig = PageConfig()) -> str:
    """The page; equal arguments give equal text."""
    template = resources.files("rrarank.measures").joinpath("report_page.html").read_text(encoding="utf-8")
    title = config.title or " against ".join(filter(None, [", ".join(list(material.runs)[1:]), material.first]))
    return Template(template).substitute(
        script_hash=_script_hash(template),
        title=escape(_clean(title)),
        about=escape(_clean(_about(found, config.depth))),
        systems=_html(_systems(found, config)),
        against=_against(found, config) if found.comparisons else "",
        queries=_html(_queries(found, material, config)),
        footer=_html(*_footer(config)),
    )


def _script_hash(template: str) -> str:
    """What lets a browser run this script and no other, should a text ever bring one."""
    [script] = re.findall("<script>(.*?)</script>", template, re.DOTALL)
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def _about(found: Evaluation, depth: int) -> str:
    parts = [f"{len(found.queries):,} queries, {len(found.rows)} runs, the top {depth} of each."]
    for name, qids in found.unanswered.items():
        parts.append(f"{name} has no hits for {len(qids):,} judged queries, counted as 0 ({shown(qids)}).")
    return " ".join(parts)


def _footer(config: PageConfig) -> Iterator[Element]:
    rows = [f"{name}: {source}" for name, source in config.sources.items()]
    if rows:
        yield _element("p", "Made from ", "; ".join(rows), ".")
    yield _element("p", "Written by rrarank.report; this file asks nothing of any network.")


# -- systems ----------------------------------------------------------------------------------------------------------


def _systems(found: Evaluation, config: PageConfig) -> Element:
    head = ["system", *config.measures, "judged@10"]
    floor = [_number(_figure(found.floor[measure])) for measure in config.measures]
    rows = [_element("tr", _row_head("random order"), *floor, _number(""))]
    rows += [_system(row, config) for row in found.rows]
    note = (
        f"Means over {len(found.queries):,} queries, with 95% intervals (bootstrap over queries). Random order: of "
        f"{found.baseline}'s candidates, expected value."
    )
    return _table(head, rows, note)


def _system(row: Row, config: PageConfig) -> Element:
    cells = []
    for measure in config.measures:
        low, high = bootstrap(list(row.per_query[measure].values()), seed=config.seed)
        interval = _element("span", f"[{low:.4f}, {high:.4f}]", class_="interval")
        cells.append(_number(_figure(row.means[measure]), interval))
    return _element("tr", _row_head(row.name), *cells, _number(f"{row.judged:.0%}"))


def _against(found: Evaluation, config: PageConfig) -> str:
    head = ["system", "measure", "difference", "95% interval", "p (t)", "p (Fisher)", "d", "detectable", "reading"]
    table = _table(head, [_comparison(one) for one in found.comparisons], rests_on(found.comparisons))
    measure = config.measures[0]
    caption = f"Differences in {measure}, query by query, sorted."
    svg = differences_svg(found, measure).replace("<svg ", f'<svg role="img" aria-label="{escape(caption)}" ', 1)
    plot = f'<figure class="plot">{svg}{_html(_element("figcaption", caption, class_="soft"))}</figure>'
    heading = _html(_element("h2", f"Against {found.baseline}", id="against"))
    return f'<section aria-labelledby="against">\n{heading}\n{_html(table)}\n{plot}\n</section>'


def _comparison(one: Comparison) -> Element:
    return _element(
        "tr",
        _row_head(one.system),
        _element("td", one.measure),
        _signed(one.mean),
        _number(f"[{one.low:+.4f}, {one.high:+.4f}]"),
        *(_number(f"{p:.2g}") for p in (one.student_holm, one.fisher_holm)),
        _number(f"{one.effect:.2f}"),
        _number(_figure(one.detectable)),
        _element("td", one.reading),
    )


# -- queries ----------------------------------------------------------------------------------------------------------


def _queries(found: Evaluation, material: Material, config: PageConfig) -> Element:
    measure, others = config.measures[0], list(material.runs)[1:]
    head = ["qid", "query", "words", *material.runs, *(f"{name} - {found.baseline}" for name in others)]
    note = f"{measure} of each run, and the difference from {found.baseline}."
    bodies = [_query(qid, found, material, config) for qid in found.queries]
    return _table(head, bodies, note, id="queries-table")


def _query(qid: str, found: Evaluation, material: Material, config: PageConfig) -> Element:
    """A body of two rows: the query with its values, and its rankings, which open with it."""
    values = [row.per_query[config.measures[0]][qid] for row in found.rows]
    query = material.topics.get(qid, "")
    facts = _element("p", _judged(material.qrels[qid]), class_="soft")
    details = _element("details", _element("summary", query or "(text unknown)", lang="", dir="auto"), facts)
    line = _element(
        "tr",
        _row_head(qid),
        _element("td", details, class_="query"),
        _number(str(len(query.split()))),
        *(_number(_figure(value)) for value in values),
        *(_signed(value - values[0]) for value in values[1:]),
    )
    columns = [_column(row, value, qid, material, config) for row, value in zip(found.rows, values, strict=True)]
    wide = _element("td", _element("div", *columns, class_="columns"), colspan=str(len(line)))
    return _element("tbody", line, _element("tr", wide, class_="rankings"))


def _judged(grades: Mapping[str, int]) -> str:
    """`Judged: 4 of grade 2, 31 of grade 0.`"""
    counts = Counter(grades.values())
    return f"Judged: {', '.join(f'{counts[grade]:,} of grade {grade}' for grade in sorted(counts, reverse=True))}."


def _column(row: Row, value: float, qid: str, material: Material, config: PageConfig) -> Element:
    """One run's top documents for the query."""
    before = {hit.docid: rank for rank, hit in enumerate(material.runs[material.first].get(qid, ()), start=1)}
    heading = _element("h3", row.name, " ", _element("span", f"{config.measures[0]} {value:.4f}", class_="soft"))
    hits = material.runs[row.name].get(qid, ())[: config.depth]
    entries = []
    for rank, hit in enumerate(hits, start=1):
        move = [] if row.name == material.first else [_move(rank, before.get(hit.docid), material.first)]
        entries.append(_hit(rank, hit, _grade(hit.docid, material.qrels[qid]), move, material.texts.get(hit.docid)))
    listed = _element("ol", *entries, class_="hits") if entries else _element("p", "No hits.", class_="soft")
    return _element("section", heading, listed)


def _hit(rank: int, hit: Hit, grade: Element, move: Sequence[Element], text: str | None) -> Element:
    line = _element(
        "div",
        _element("span", str(rank), class_="rank"),
        *move,
        grade,
        _element("span", hit.docid, class_="docid"),
        _element("span", _hidden("score "), f"{hit.score:.4f}", class_="score"),
        class_="line",
    )
    return _element("li", line, _passage(text), class_="hit", data_docid=hit.docid)


def _grade(docid: str, grades: Mapping[str, int]) -> Element:
    """Colored by its share of the query's highest grade."""
    if docid not in grades:
        return _element("span", "unjudged", class_="grade unjudged")
    grade, highest = max(grades[docid], 0), max([*grades.values(), 1])
    return _element("span", _hidden("grade "), str(grades[docid]), class_=f"grade g{math.ceil(3 * grade / highest)}")


def _move(rank: int, before: int | None, first: str) -> Element:
    if before is None:
        return _element("span", "new", class_="move up", title=f"not in {first}")
    where = f"rank {before} in {first}"
    if before == rank:
        return _element("span", "=", _hidden(" same rank"), class_="move soft", title=where)
    arrow, way = ("↑", "up") if rank < before else ("↓", "down")
    return _element("span", arrow, str(abs(before - rank)), _hidden(f" {way}"), class_=f"move {way}", title=where)


def _passage(text: str | None) -> Element:
    """Its beginning, which opens to all of it."""
    if text is None:
        return _element("div", "(text unknown)", class_="passage soft")
    if len(text) <= CUT:
        return _element("div", text, class_="passage", lang="", dir="auto")
    end = text.rfind(" ", CUT // 2, CUT) + 1 or CUT  # between words where there are any
    return _element("details", _element("summary", text[:end]), text[end:], class_="passage", lang="", dir="auto")


# -- elements ---------------------------------------------------------------------------------------------------------


def _table(head: Sequence[str], body: Sequence[Element], note: str, id: str = "") -> Element:
    """Rows under a head, in a box that scrolls where the page is narrow; with an id, bodies of rows, to be sorted."""
    names = [_column_head(name, cell, bool(id)) for name, cell in zip(head, next(body[0].iter("tr")), strict=True)]
    top = [_element("caption", note), _element("thead", _element("tr", *names))]
    if id:
        return _element("table", *top, *body, id=id)
    table = _element("table", *top, _element("tbody", *body))
    return _element("div", table, class_="scroll", tabindex="0", role="region", aria_label=note)


def _column_head(name: str, below: Element, sorted_by: bool) -> Element:
    """It stands as what is below it stands, and says to the page's script how its column is ordered."""
    number = "number" in below.get("class", "")
    looks = {"class_": "number"} if number else {}
    kinds = {"data_sort": "number" if number else "text"} if sorted_by else {}
    return _element("th", name, scope="col", **looks, **kinds)


def _row_head(name: str) -> Element:
    return _element("th", name, scope="row")


def _number(*children: str | Element) -> Element:
    return _element("td", *children, class_="number")


def _signed(difference: float) -> Element:
    way = "up" if difference > 0 else "down" if difference < 0 else ""
    return _element("td", f"{difference:+.4f}", class_=f"number {way}".strip())


def _hidden(words: str) -> Element:
    """Read aloud, not shown."""
    return _element("span", words, class_="hidden")


def _figure(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4f}"


def _element(tag: str, *children: str | Element, **attributes: str) -> Element:
    """An element of texts and elements; `class_` and `data_docid` are the attributes `class` and `data-docid`."""
    named = {name.rstrip("_").replace("_", "-"): _clean(value) for name, value in attributes.items()}
    element = Element(tag, named)
    for child in children:
        if isinstance(child, Element):
            element.append(child)
        elif len(element):
            element[-1].tail = (element[-1].tail or "") + _clean(child)
        else:
            element.text = (element.text or "") + _clean(child)
    return element


def _clean(text: str) -> str:
    """Without what no HTML may hold: control characters and halves of a surrogate pair."""
    return re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]", "\ufffd", text)


def _html(*elements: Element) -> str:
    return "\n".join(tostring(element, encoding="unicode", method="html") for element in elements)
