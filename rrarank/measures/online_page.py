"""One HTML page of an online experiment: its tables, and the differences day by day. It loads nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rrarank.measures.figures import looks_svg
from rrarank.measures.report_page import page_environment, page_part, page_style
from rrarank.measures.sequential import Look
from rrarank.measures.tables import Table


def online_page(
    title: str, tables: Iterable[Table], looks: Mapping[str, Sequence[Look]] | None = None, measure: str = ""
) -> str:
    """The page; equal arguments give equal text.

    Args:
        looks: arm -> its looks at `measure`; none or empty: no figure.
    """
    from markupsafe import Markup, escape

    page = page_environment()
    plot, caption = "", f"Difference in {measure}, day by day; the band holds at every look at once (95%)."
    if looks and any(looks.values()):
        named = f'<svg role="img" aria-label="{escape(caption)}" '
        plot = Markup(looks_svg(looks, measure).replace("<svg ", named, 1))
    return page.from_string(page_part("online_page.html")).render(
        title=title, style=page_style(), tables=list(tables), plot=plot, plot_caption=caption
    )
