"""JSON documents: the fields that hold the id and the text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rrarank.data.frames import is_frame, is_series
from rrarank.data.types import is_blank
from rrarank.errors import RrarankError, shown

ID_FIELDS = ("id", "_id", "docid", "doc_id")
OBJECT_IDS = (*ID_FIELDS, "docno", "id_")  # PyTerrier's, LlamaIndex's
# In rank_llm's order; the last is LangChain's.
TEXT_FIELDS = ("text", "segment", "contents", "content", "body", "passage", "page_content")
_ATTRIBUTES = (*OBJECT_IDS, "title", *TEXT_FIELDS)


def document_text(row: Mapping[str, object], where: str) -> str:
    """A JSON document's text, the first that is not empty, with its title in front, as in BEIR's loaders."""
    text = field(row, TEXT_FIELDS, where)
    if is_blank(text):
        others = (row.get(name) for name in TEXT_FIELDS)
        text = next((other for other in others if isinstance(other, str) and not is_blank(other)), text)
    return f"{field(row, ('title',), where)} {text}".strip() if row.get("title") else text


def text_field(thing: object) -> str:
    """The first field of a document that may hold its text; empty for what is no document."""
    fields = fields_of(thing)
    return next((name for name in TEXT_FIELDS if name in fields), "")


def fields_of(thing: object) -> Mapping[str, Any]:
    """The fields of a document: of a mapping, or the attributes of an object with a text, such as a named tuple or a
    document of LangChain's, Haystack's or LlamaIndex's. Empty for anything else."""
    if isinstance(thing, Mapping):
        return thing
    if isinstance(thing, str | bytes | type) or is_frame(thing) or is_series(thing):
        return {}
    found = {name: value for name in _ATTRIBUTES if not callable(value := getattr(thing, name, callable))}
    if not found.keys() & set(TEXT_FIELDS) and callable(get_content := getattr(thing, "get_content", None)):
        found["text"] = get_content()  # a node of LlamaIndex
    return found if found.keys() & set(TEXT_FIELDS) else {}


def json_object(line: str, where: str) -> Mapping[str, object]:
    try:
        row = json.loads(line.rstrip("\r\n"))
    except json.JSONDecodeError as error:
        raise RrarankError(f"{where}: not JSON ({error.msg} at column {error.colno})") from error
    except (ValueError, RecursionError) as error:
        raise RrarankError(f"{where}: JSON that Python cannot hold ({error})") from error
    if not isinstance(row, dict):
        raise RrarankError(f"{where}: a JSON {type(row).__name__}, expected an object")
    check_surrogates(row, line, where)
    return row


def each_key_once(where: str | Path) -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
    """The `object_pairs_hook` of `json` that refuses a key that occurs twice; `json` would keep the last value."""

    def checked(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for place, name in enumerate(names) if name in names[:place])
            raise RrarankError(f"{where}: {twice!r} occurs twice in one JSON object; keep one")
        return content

    return checked


def check_surrogates(content: object, text: str, where: str | Path) -> None:
    """Refuse JSON that escapes half of a surrogate pair: no file can hold it as UTF-8."""
    if re.search(r"\\u[dD][89a-fA-F]", text) and re.search("[\ud800-\udfff]", json.dumps(content, ensure_ascii=False)):
        raise RrarankError(f"{where}: half of a surrogate pair (\\ud800-\\udfff), which no text can hold; remove it")


def check_text(text: str, where: str) -> str:
    """The text, unless it holds half of a surrogate pair, which no tokenizer takes."""
    if not text.isascii() and (odd := re.search("[\ud800-\udfff]", text)):
        seen = f"half of a surrogate pair ({odd[0]!r})"
        raise RrarankError(f"{where}: {seen}, which no text can hold; remove it")
    return text


def field(row: Mapping[str, object], names: Sequence[str], where: str) -> str:
    """The first of `names` that the row has, as a string."""
    for name in names:
        if (value := row.get(name)) is not None:
            if not isinstance(value, str | int) or isinstance(value, bool):
                raise RrarankError(f"{where}: field {name!r} is a {type(value).__name__}, expected a string")
            return str(value)
    raise RrarankError(f"{where}: fields {shown(row)}; expected one of {shown(names, len(names))}")
