"""Topics in the shapes that people have them: `qid<TAB>query`, JSON, JSON lines, TREC's `<top>`."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from rrarank.data.documents import each_key_once, field, json_object
from rrarank.data.trec import fits_run
from rrarank.errors import RrarankError, shown
from rrarank.storage.files import read_text

FIELDS = ("title", "description", "narrative", "title+description", "title+description+narrative")
"""The parts of a topic that can be the query."""
_IDS = ("qid", "_id", "id", "query_id", "topic_id", "number", "num")
_TEXTS = ("text", "query", "title", "question", "query_text", "contents")
_NAMES = {
    "title": ("title", "query", "text"),
    "description": ("description", "desc", "question"),
    "narrative": ("narrative", "narr"),
}
_TAG = r"<\s*(num|title|desc|description|narr|narrative|query|question)\b[^>]*>"
_LABEL = re.compile(r"(number|topic|title|description|narrative)\s*:", re.IGNORECASE)

Topic = tuple[str, str, str]
"""Where it stands, its qid, its text."""


def read_topics(path: str | Path, topic_field: str = "") -> dict[str, str]:
    """qid -> query text of a file. An empty query is kept; who asks it decides whether that is an error.

    Args:
        topic_field: one of `FIELDS`, for topics with several; empty: `text` or `query` of a JSON topic, else the title.
    """
    return parse_topics(read_text(path), where=str(path), topic_field=topic_field)


def parse_topics(lines: str | Iterable[str], where: str = "topics", topic_field: str = "") -> dict[str, str]:
    """The same from lines, or from one string of them.

    Raises:
        RrarankError: naming the line or topic, what was seen and what was expected.
    """
    if topic_field and topic_field not in FIELDS:
        raise RrarankError(f"topic field {topic_field!r}: expected one of {shown(FIELDS, len(FIELDS))}")
    topics: dict[str, str] = {}
    for place, qid, text in _topics(lines.split("\n") if isinstance(lines, str) else list(lines), where, topic_field):
        if not qid:
            raise RrarankError(f"{place}: an empty qid; expected qid<TAB>query")
        if not fits_run(qid):
            raise RrarankError(f"{place}: qid {qid!r} contains a space, which a run cannot hold")
        if qid in topics:
            raise RrarankError(f"{place}: query {qid!r} occurs twice; keep one line")
        topics[qid] = text
    if not topics:
        raise RrarankError(f"{where}: no queries; expected lines of qid<TAB>query, JSON, or TREC's <top>")
    return topics


def _topics(lines: list[str], where: str, wanted: str) -> Iterator[Topic]:
    head = next((line.strip() for line in lines if line.strip()), "")
    if re.match(r"<(\?xml|!--|topics?\b|top\b)", head, re.IGNORECASE):
        yield from _trec_topics("".join(f"{line}\n" for line in lines), where, wanted)
    elif head.startswith(("[", "{")) and (content := _whole_json(lines, where)) is not None:
        yield from _json_topics(content, where if isinstance(content, list) else f"{where}:1", wanted)
    else:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield from _line_topics(line, f"{where}:{number}", wanted)


def _line_topics(line: str, place: str, wanted: str) -> Iterator[Topic]:
    if line.lstrip().startswith("{"):
        yield from ((place, qid, text) for _, qid, text in _json_topics(json_object(line, place), place, wanted))
        return
    if line.lstrip().startswith("[") and "\t" not in line and (pair := _whole_json([line], place)) is not None:
        yield from ((place, qid, text) for _, qid, text in _json_topics([pair], place, wanted))
        return
    qid, tab, text = line.partition("\t")
    if not tab:
        raise RrarankError(f"{place}: no tab; expected qid<TAB>query")
    if wanted:
        raise RrarankError(f"{place}: qid<TAB>query has no {wanted}; leave --topic-field out")
    yield place, qid.strip(), text.strip()


# -- JSON -------------------------------------------------------------------------------------------------------------


def _whole_json(lines: list[str], where: str) -> object:
    """The content of a file that is one JSON value; None if it is several lines of JSON, or none."""
    try:
        return json.loads("\n".join(lines), object_pairs_hook=each_key_once(where))
    except (ValueError, RecursionError):
        return None


def _json_topics(content: object, where: str, wanted: str) -> Iterator[Topic]:
    """From a list of objects or of (qid, text) pairs, one object, or an object of qid -> text or object."""
    if isinstance(content, list):
        if len(content) == 2 and isinstance(content[0], str | int) and isinstance(content[1], str):
            content = [content]  # one pair
        for number, row in enumerate(content, start=1):
            place = f"{where}: topic {number}"
            if isinstance(row, list) and len(row) == 2:
                row = dict(zip(("qid", "text"), row, strict=True))
            if not isinstance(row, dict):
                raise RrarankError(f"{place}: a JSON {type(row).__name__}, expected an object")
            yield _row_topic(row, place, wanted)
    elif isinstance(content, dict):
        named = {*_IDS, *_TEXTS, *(name for names in _NAMES.values() for name in names)}
        [only] = content.values() if len(content) == 1 else [None]
        if isinstance(only, list) and all(isinstance(row, dict) for row in only):
            yield from _json_topics(only, where, wanted)
        elif named & content.keys():
            yield _row_topic(content, where, wanted)
        else:
            for qid, row in content.items():
                row = dict(row) if isinstance(row, dict) else {"text": row}
                yield _row_topic(row | {"qid": qid}, f"{where}: topic {qid!r}", wanted)


def _row_topic(row: Mapping[str, object], place: str, wanted: str) -> Topic:
    if isinstance(row.get("query"), dict):  # as in requests: {"query": {"qid": …, "text": …}}
        row = {**row, "query": None, **row["query"]}  # type: ignore[dict-item]
    row = json_object(json.dumps(row), place)
    qid = field(row, _IDS, place).strip()
    fields = [_NAMES[part] for part in wanted.split("+")] if wanted else [_TEXTS]
    there = [names for names in fields if row.keys() & set(names)] or fields  # as in TREC, a part may be absent
    texts = [_text(row, names, place) for names in there]
    return place, qid, " ".join(filter(None, texts))


def _text(row: Mapping[str, object], names: Sequence[str], place: str) -> str:
    """The first of these fields that is not empty; empty if all that are there are."""
    filled = [name for name in names if row.get(name) not in (None, "")]
    return field(row, filled or names, place).strip() if filled or not row.keys() & set(names) else ""


# -- TREC -------------------------------------------------------------------------------------------------------------


def _trec_topics(text: str, where: str, wanted: str) -> Iterator[Topic]:
    """From `<top>` with `<num>`, `<title>`, `<desc>`, `<narr>`, closed or not, or from `<topic number="1">`."""
    starts = list(re.finditer(r"<top(?:ic)?\b([^>]*)>", text, re.IGNORECASE))
    stops = [start.start() for start in starts[1:]] + [len(text)]
    for number, (start, stop) in enumerate(zip(starts, stops, strict=True), start=1):
        body, *closed = re.split(r"</top(?:ic)?\s*>", text[start.end() : stop], maxsplit=1, flags=re.IGNORECASE)
        if not closed:
            raise RrarankError(f"{where}: topic {number}: <top> without </top>; the file may be cut off")
        tags = list(re.finditer(_TAG, body, re.IGNORECASE))
        ends = [tag.start() for tag in tags[1:]] + [len(body)]
        parts: dict[str, str] = {}
        for tag, end in zip(tags, ends, strict=False):  # no tags, one end
            parts.setdefault(tag[1].lower(), _plain(body[tag.end() : end]))
        attribute = re.search(r'\b(?:number|id)\s*=\s*["\']?([^"\'\s>]+)', start[1])
        qid = parts.pop("num", "") or (attribute[1] if attribute else "")
        wanted_names = [_NAMES[part] for part in (wanted or "title").split("+")]
        texts = [next((parts[name] for name in names if name in parts), "") for names in wanted_names]
        if not parts and not wanted:  # no tags inside: the topic is the query
            texts = [_plain(body)]
        yield f"{where}: topic {number}", qid, " ".join(filter(None, texts))


def _plain(text: str) -> str:
    """Without tags, the label that TREC repeats (`Number:`), line breaks and entities."""
    text = re.sub(r"</?[A-Za-z][^>]*>", " ", text).strip()
    label = _LABEL.match(text)
    return " ".join(html.unescape(text[label.end() :] if label else text).split())
