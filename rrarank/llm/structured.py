"""Rankings that a model writes as JSON, as a table, or with a number beside each id, rewritten as `[3] > [1]`.

Numbers named score, rating or relevance rank downwards; rank or position, upwards. Numbers without a name that could
be either are no ranking.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_LABEL = r"(?:passages?|documents?|docs?|문서|문단|단락|段落|文档|文檔|文章|文書|id)[ _:#-]*"
_ID = re.compile(rf"[\[( ]*(?:{_LABEL})?[\[( ]*([0-9]{{1,9}})[\]) ]*", re.IGNORECASE)
_ROW = r"\{(?:[^{}\[\]]|\[ ?[0-9]+ ?\])*\}"
_ROWS = re.compile(rf"(?:\[\s*+)?{_ROW}(?:[\s,]*+{_ROW})*+(?:\s*+\])?")
_FIELD = re.compile(r"([a-z_]+)[\"':= ]{1,4}(?:\[ ?)?(?:[a-z]+ ?)?(-?[0-9]{1,9}(?:\.[0-9]{1,9})?)", re.IGNORECASE)
_ID_FIELDS = ("id", "docid", "doc_id", "doc", "passage", "passage_id", "document", "document_id", "index", "number")
_ORDER_FIELDS = {"rank": 1, "position": 1, "score": -1, "relevance": -1, "relevance_score": -1, "rating": -1}
_RANKING_FIELD = re.compile(
    r"rank|order|result|answer|sorted|list|output|ids$|passages|documents|relevant", re.IGNORECASE
)
_OTHER_FIELD = re.compile(
    r"irrelevan|not_?relevan|non_?relevan|exclu|discard|reason|expla|thought|thinking|analysis|rationale|justif|comment",
    re.IGNORECASE,
)
_FENCED = re.compile(r"```\w*\s*\n(.*?)```", re.DOTALL)
_LONGEST = 100_000  # characters of an answer that may be JSON
MOST = 100  # a score without a name

_NAME = r"(?P<name>rank|position|score|relevance|rating)?"
_SCORED = re.compile(
    rf"[-*• ]*\[?(?:{_LABEL})?\[? ?(?P<id>[0-9]{{1,9}}) ?\]? ?(?:[:=|–—-]|->) ?{_NAME}[ :=]*"
    r"(?P<number>-?[0-9]{1,9}(?:\.[0-9]{1,9})?)(?P<of> ?(?:/ ?[0-9]{1,4}|%|out of [0-9]{1,4}))? ?[.,;]?",
    re.IGNORECASE,
)


def as_list(answer: str) -> str:
    """The answer with a structured ranking rewritten; unchanged if it has none."""
    for rewrite in (_json_objects, _tables, _scored_lines):
        answer = rewrite(answer)
    return _ROWS.sub(_rows_as_list, answer)


def _chain(ids: Sequence[int]) -> str:
    return f"\n{' > '.join(f'[{number}]' for number in ids)}\n"


# -- JSON -------------------------------------------------------------------------------------------------------------


def _json_objects(answer: str) -> str:
    """The answer with its JSON object, fenced or between its first and last brace, replaced by its ranking."""
    start, end = answer.find("{"), answer.rfind("}") + 1
    for text in [*reversed(_FENCED.findall(answer)), answer[start:end]]:
        if 0 < len(text) < _LONGEST and (ranking := _of_object(_parsed(text))) is not None:
            return answer.replace(text, f"\n{ranking}\n")
    return answer


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _of_object(content: object) -> str | None:
    """The ranking of an object with a field that holds one, or of a mapping from ids to numbers."""
    if not isinstance(content, dict) or not content:
        return None
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in content.values()):
        numbers = {number: float(value) for key, value in content.items() if (number := _number(key)) is not None}
        return _chain(_by_number(numbers, "")) if len(numbers) == len(content) else None
    named = {name: value for name, value in content.items() if not _OTHER_FIELD.search(str(name))}
    lists = {name: ids for name, value in named.items() if (ids := _ids_of(value))}
    if lists and len(content) > 1:
        best = max(lists, key=lambda name: (bool(_RANKING_FIELD.search(name)), len(lists[name])))
        return _chain(lists[best])
    if lists:
        return _chain(*lists.values())
    texts = [value for name, value in named.items() if isinstance(value, str) and _RANKING_FIELD.search(name)]
    if len(texts) == 1:
        return texts[0]
    inner = [found for value in named.values() if isinstance(value, dict) and (found := _of_object(value)) is not None]
    return inner[0] if len(inner) == 1 else None


def _ids_of(value: object) -> list[int]:
    """The ids of a JSON list of ids, or of objects with one; empty for anything else."""
    if not isinstance(value, list) or not value:
        return []
    if all(isinstance(row, dict) for row in value):
        return _of_rows([{str(name).lower(): found for name, found in row.items()} for row in value])
    ids = [_number(one) for one in value]
    return [] if None in ids else [number for number in ids if number is not None]


def _of_rows(rows: Sequence[Mapping[str, Any]]) -> list[int]:
    found = [next((n for name in _ID_FIELDS if (n := _number(row.get(name))) is not None), None) for row in rows]
    if None in found:
        return []
    for name, direction in _ORDER_FIELDS.items():
        if all(isinstance(row.get(name), int | float) for row in rows):
            places = sorted(range(len(rows)), key=lambda place: direction * rows[place][name])
            return [number for place in places if (number := found[place]) is not None]
    return [number for number in found if number is not None]


def _number(value: object) -> int | None:
    """The id that a JSON value is: 3, "3", "[3]", "doc_3"."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9:
        return value
    found = _ID.fullmatch(value) if isinstance(value, str) else None
    return int(found[1]) if found else None


def _by_number(numbers: Mapping[int, float], name: str) -> list[int]:
    """The ids by the numbers beside them; none if numbers without a name could be ranks, or years."""
    direction = _ORDER_FIELDS.get(name, 0)
    values = sorted(numbers.values())
    if not direction and (values == list(range(1, len(values) + 1)) or values[-1] > MOST):
        return []
    return sorted(numbers, key=lambda one: (direction or -1) * numbers[one])


def _rows_as_list(found: re.Match[str]) -> str:
    """`{id: 3, …}, {id: 1, …}`, which need not be JSON: by rank or score if all have one, else in their order."""
    rows: list[dict[str, Any]] = []
    for row in re.findall(_ROW, found[0]):
        fields = {name.lower(): float(value) for name, value in _FIELD.findall(row)}
        rows.append({name: max(int(value), 0) if name in _ID_FIELDS else value for name, value in fields.items()})
    ids = _of_rows(rows)
    return _chain(ids) if ids else found[0]


# -- lines and tables -------------------------------------------------------------------------------------------------


def _scored_lines(answer: str) -> str:
    """The answer with consecutive lines such as `[1]: 7/10` or `Passage 2: rank 3` replaced by their ranking."""
    lines, kept, found = answer.split("\n"), [], []  # type: list[str], list[str], list[re.Match[str]]
    for line in [*lines, ""]:
        match = _SCORED.fullmatch(line.strip().replace("*", "")) if len(line) < 200 else None
        if match and "[" not in line and not re.search(_LABEL, line, re.IGNORECASE):
            match = None  # `1. 3` and `2: 4` are a numbered list of ids
        if match:
            found.append(match)
            continue
        if found:
            kept += _ranked_lines(found)
            found = []
        kept.append(line)
    return "\n".join(kept[:-1]) if kept else answer


def _ranked_lines(found: Sequence[re.Match[str]]) -> Iterator[str]:
    numbers = {int(one["id"]): float(one["number"]) for one in found}
    names = {(one["name"] or ("score" if one["of"] else "")).lower() for one in found}
    if len(found) < 2 or len(numbers) < len(found) or len(names) > 1:
        yield from (one[0] for one in found)
    elif ids := _by_number(numbers, *names):
        yield _chain(ids).strip()


_CELLS = re.compile(r"\s*[|,\t]\s*")


def _tables(answer: str) -> str:
    """The answer with a table or CSV of ids with ranks or scores replaced by its ranking."""
    lines, place = answer.split("\n"), 0
    while place < len(lines):
        begin, place = place, place + 1
        if not (head := _head(lines[begin])):
            continue
        numbers: dict[int, float] = {}
        while place < len(lines) and (row := head.row(lines[place])) is not None:
            numbers.update(row)
            place += 1
        if ids := _by_number(numbers, head.name) if numbers else []:
            return "\n".join([*lines[:begin], _chain(ids), *lines[place:]])
    return answer


@dataclass(frozen=True)
class _Head:
    """A table's columns of ids and numbers, the numbers' name, and how many columns there are."""

    ids: int
    numbers: int
    name: str
    width: int

    def row(self, line: str) -> dict[int, float] | None:
        """id -> number of a line; empty for the line below the head; None for what is no row."""
        cells = _cells(line)
        if len(cells) != self.width:
            return None
        if re.fullmatch(r"[-: ]+", "".join(cells)):
            return {}
        number = _number(cells[self.ids])
        is_row = number is not None and re.fullmatch(r"-?[0-9]{1,9}(?:\.[0-9]{1,9})?", cells[self.numbers])
        return {number: float(cells[self.numbers])} if is_row and number is not None else None


def _cells(line: str) -> list[str]:
    """The cells of a line of a table; empty for another line."""
    is_row = len(line) < 200 and re.search(r"[|,\t]", line)
    return _CELLS.split(line.strip().strip("|").strip().replace("*", "")) if is_row else []


def _head(line: str) -> _Head | None:
    names = [cell.lower().replace(" ", "_") for cell in _cells(line)]
    ids = next((place for place, name in enumerate(names) if name in _ID_FIELDS), None)
    numbers = next((place for place, name in enumerate(names) if name in _ORDER_FIELDS), None)
    return None if ids is None or numbers is None else _Head(ids, numbers, names[numbers], len(names))
