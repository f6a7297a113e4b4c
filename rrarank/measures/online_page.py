"""One HTML page of an online experiment: its tables, and the differences day by day. It loads nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import resources

from rrarank.measures.figures import looks_svg
from rrarank.measures.report_page import page_style
from rrarank.measures.sequential import Look
from rrarank.measures.tables import Table, html_table, printable


def online_page(
    title: str, tables: Iterable[Table], looks: Mapping[str, Sequence[Look]] | None = None, measure: str = ""
) -> str:
    """The page; equal arguments give equal text.

    Args:
        looks: arm -> its looks at `measure`; none or empty: no figure.
    """
    from jinja2 import Environment
    from markupsafe import Markup, escape

    source = resources.files("rrarank.measures").joinpath("online_page.html").read_text(encoding="utf-8")
    page = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, finalize=printable)
    page.filters.update(html_table=lambda table: Markup(html_table(table)))
    plot, caption = "", f"Difference in {measure}, day by day; the band holds at every look at once (95%)."
    if looks and any(looks.values()):
        named = f'<svg role="img" aria-label="{escape(caption)}" '
        plot = Markup(looks_svg(looks, measure).replace("<svg ", named, 1))
    return page.from_string(source).render(
        title=title, style=page_style(), tables=list(tables), plot=plot, plot_caption=caption
    )
