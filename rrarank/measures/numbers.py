"""Numbers as tables, pages and JSON show them; a value that is not finite shows as nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

from rrarank.measures.significance import Comparison, rests_on


def figure(value: float, form: str = ".4f") -> str:
    return format(value, form) if math.isfinite(value) else ""


def interval(low: float, high: float, form: str = ".4f") -> str:
    return f"[{low:{form}}, {high:{form}}]" if math.isfinite(low) and math.isfinite(high) else ""


def json_values(content: object) -> Any:
    """Content as JSON holds it: null where a number is not finite."""
    return json.loads(json.dumps(content), parse_constant=lambda _: None)


def comparison_cells(one: Comparison) -> list[str]:
    """Interval, p by t-test, p by randomisation, effect and detectable difference; both p corrected.

    Where every difference is the same, t and effect are infinite: neither they nor the p of t are printed.
    """
    ps = [figure(one.student_holm, ".2g") if math.isfinite(one.effect) else "", figure(one.fisher_holm, ".2g")]
    return [interval(one.low, one.high, "+.4f"), *ps, figure(one.effect, ".2f"), figure(one.detectable)]


def comparison_lines(compared: Sequence[Comparison], queries: int) -> Iterator[str]:
    """A line for each comparison, with what its test says, and one on the tests."""
    for one in compared:
        interval, _, p, _, detectable = comparison_cells(one)
        tested = f"p {p} (Fisher), detectable {detectable}" if p else "not tested"
        yield f"minus {one.system}: {one.mean:+.4f} {interval}, {tested}: {one.reading}"
    yield rests_on(compared, queries)
