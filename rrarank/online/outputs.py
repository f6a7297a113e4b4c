"""Tables as a file of the kind that its suffix says."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rrarank.measures.latex import latex
from rrarank.measures.online_page import online_page
from rrarank.measures.sequential import Look
from rrarank.measures.tables import Table, markdown, plain, print_tables
from rrarank.storage.files import STDIO, atomic_write, is_file
from rrarank.storage.sidecar import write_sidecar

TABLES = (".txt", ".md", ".tex", ".html", ".json")


def write_tables(
    output: str | Path,
    tables: Mapping[str, Table],
    content: Mapping[str, object],
    title: str,
    *,
    config: Mapping[str, object],
    inputs: Mapping[str, str | Path] | None = None,
    looks: Mapping[str, Sequence[Look]] | None = None,
    measure: str = "",
) -> None:
    """Write one output.

    Args:
        content: what a `.json` file holds.
        config, inputs: of its sidecar.
        looks, measure: the figure of an `.html` page.
    """
    suffix = Path(output).suffix
    if str(output) == STDIO and sys.stdout and sys.stdout.isatty():
        return print_tables(tables.values())
    if suffix == ".json":
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    elif suffix == ".tex":
        text = latex(tables)
    elif suffix == ".html":
        text = online_page(title, tables.values(), looks, measure)
    else:
        text = {".md": markdown}.get(suffix, plain)(tables.values())
    with atomic_write(output) as file:
        file.write(text)
    if suffix == ".json" and is_file(output):
        write_sidecar(Path(output), inputs=inputs or {}, config=config)
