"""The notebook of `examples/` runs top to bottom, and shows tables and a plot."""

from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed (extra `dev`)")
nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed (extra `dev`)")
NOTEBOOK = Path(__file__).parents[1] / "examples" / "rrarank.ipynb"


def test_the_notebook_runs_and_shows_tables_and_a_plot(tmp_path):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert {output["output_type"] for output in outputs} <= {"execute_result", "display_data"}, outputs
    kinds = [kind for output in outputs for kind in output["data"]]
    assert kinds.count("text/html") == 5
    assert kinds.count("image/png") == 1
    assert "A paper bag keeps bread from going stale." in outputs[0]["data"]["text/html"]


def test_the_notebook_is_kept_without_outputs():
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    assert [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")] == []
