"""Objects of pandas and numpy, recognised by what they have; this file imports neither."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, nan
from typing import Any, TypeAlias

from rrarank.errors import RrarankError, shown

Frame: TypeAlias = Any
"""A pandas DataFrame, which has no types here."""


def is_frame(thing: object) -> bool:
    """A pandas DataFrame."""
    return hasattr(thing, "iloc") and hasattr(thing, "columns")


def is_series(thing: object) -> bool:
    """A pandas Series."""
    return hasattr(thing, "iloc") and not hasattr(thing, "columns")


def is_missing(value: object) -> bool:
    """None, NaN, and pandas' NA and NaT."""
    return (
        value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value)
    )


def kind_of(thing: object) -> str:
    """`a list`, `an int`: for messages."""
    kind = type(thing).__name__
    return f"{'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}"


def find_column(frame: Frame, names: Sequence[str]) -> str | None:
    """The first of `names` that the frame has."""
    return next((name for name in names if name in frame.columns), None)


def column(frame: Frame, names: Sequence[str], what: str) -> list[Any]:
    """The values of the first of `names` that the frame has.

    Raises:
        RrarankError: it has none, or several of that name.
    """
    name = find_column(frame, names)
    if name is None:
        raise RrarankError(f"{what}: a DataFrame with the columns {shown(frame.columns, 10)}, expected {_or(names)}")
    check_columns(frame, what, [name])
    return list(frame[name].tolist())


def check_columns(frame: Frame, what: str, names: Sequence[str] = ()) -> None:
    """Refuse a frame in which two columns have one name, one of `names` or any."""
    twice = dict.fromkeys(name for name in frame.columns[frame.columns.duplicated()] if not names or name in names)
    if twice:
        raise RrarankError(f"{what}: a DataFrame with several columns named {shown(twice)}; keep one")


def _or(names: Sequence[str]) -> str:
    return " or ".join(map(repr, names))


def number(value: Any) -> float:
    """A number of Python's or numpy's; infinity for an integer that no float can hold, NaN for anything else."""
    if isinstance(value, bool) or not (isinstance(value, int | float) or _is_numpy_number(value)):
        return nan
    try:
        return float(value)
    except OverflowError:
        return inf


def _is_numpy_number(value: Any) -> bool:
    return type(value).__module__ == "numpy" and getattr(value, "shape", None) == () and value.dtype.kind in "iuf"


def seen_value(value: Any) -> str:
    """A value for a message; Python prints no integer of thousands of digits."""
    text = kind_of(value) if isinstance(value, int) and value.bit_length() > 200 else " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:79]}…"
