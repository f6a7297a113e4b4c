"""Bodies of requests as JSON, and one line for what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from pydantic_core import from_json

from rrarank.errors import RrarankError
from rrarank.serve.scoring import TooLarge


def parse_json(body: bytes, most_parts: int) -> object:
    """
    Args:
        most_parts: strings, commas and brackets; a body with millions of them is refused before any object is built.

    Raises:
        TooLarge: too many parts.
        RrarankError: not JSON.
    """
    if sum(map(body.count, _MARKS)) > most_parts and _has_more(_PART.finditer(body), most_parts):
        raise TooLarge(f"the body has more than {most_parts:,} strings, commas and brackets; send fewer documents")
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise RrarankError(f"the body is not JSON ({error})") from None


_MARKS = (b'"', b",", b"[", b"{")  # texts hold them too; where they are few, the body need not be scanned
_PART = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[,\[{]', re.DOTALL)


def _has_more(things: Iterator[object], most: int) -> bool:
    return next(islice(things, most, None), None) is not None


def first_fault(faults: Sequence[Mapping[str, Any]]) -> str:
    """One line for pydantic's errors, without the texts."""
    fault, where = faults[0], [part for part in faults[0]["loc"][1:] if part not in _SHAPES]
    named = ".".join(str(part)[:40] for part in where) or "the body"
    more = f" (and {len(faults) - 1:,} more)" if len(faults) > 1 else ""
    return f"{named}: {fault['msg'][0].lower()}{fault['msg'][1:]}{more}"


# FastAPI names `body` and then the shape before the field.
_SHAPES = ("RerankRequest", "CandidatesRequest", "TeiRequest")
