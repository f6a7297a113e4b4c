"""Numbers as tables and pages print them; a value that is not finite prints nothing."""

from __future__ import annotations

import math

from rrarank.measures.significance import Comparison


def figure(value: float, form: str = ".4f") -> str:
    return format(value, form) if math.isfinite(value) else ""


def interval(low: float, high: float, form: str = ".4f") -> str:
    return f"[{low:{form}}, {high:{form}}]" if math.isfinite(low) and math.isfinite(high) else ""


def comparison_cells(one: Comparison) -> list[str]:
    """Interval, p by t-test, p by randomisation, effect and detectable difference; both p corrected.

    Where every difference is the same, t and effect are infinite: neither they nor the p of t are printed.
    """
    ps = [figure(one.student_holm, ".2g") if math.isfinite(one.effect) else "", figure(one.fisher_holm, ".2g")]
    return [interval(one.low, one.high, "+.4f"), *ps, figure(one.effect, ".2f"), figure(one.detectable)]
