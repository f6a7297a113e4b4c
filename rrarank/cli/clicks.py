"""Flags of the verbs that read click logs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from rrarank.data.click_logs import ClickColumns
from rrarank.errors import RrarankError


def click_columns(given: Sequence[str]) -> ClickColumns | None:
    """The columns by `NAME=COLUMN`; None if none is given."""
    named = pairs_of(given, "--columns")
    known = [field.name for field in fields(ClickColumns)]
    if odd := [name for name in named if name not in known]:
        raise RrarankError(f"--columns {odd[0]}: no such name (known: {', '.join(known)})")
    return ClickColumns(**named) if named else None


def pairs_of(given: Sequence[str], flag: str) -> dict[str, str]:
    """Name -> value of `NAME=VALUE`."""
    found = {}
    for text in given:
        name, _, value = text.partition("=")
        if name in found:
            raise RrarankError(f"{flag} {name}: given twice")
        found[name] = value
    if odd := [name for name, value in found.items() if not (name and value)]:
        raise RrarankError(f"{flag} {odd[0]}: expected NAME=VALUE")
    return found
