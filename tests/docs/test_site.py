"""The site builds without a warning, loads nothing from other hosts, and covers every verb, row and public name."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import rrarank
from rrarank.cli import VERBS
from rrarank.storage.yaml_settings import read_yaml

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    pytest.importorskip("mkdocs", reason="the extra `docs` is not installed")
    folder = tmp_path_factory.mktemp("site")
    typed = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    proxies = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")  # whoever asked the network would fail
    done = subprocess.run(
        typed, cwd=ROOT, env=os.environ | proxies | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_no_page_loads_anything_from_another_host(site):
    loaded = re.compile(r"<(?:script|img|link|iframe)\b[^>]*\b(?:src|href)=[\"']?(?:https?:)?//[^>]*>")
    found = {str(page.relative_to(site)): loaded.findall(page.read_text()) for page in site.rglob("*.html")}
    assert len(found) > 40
    assert {page: tags for page, tags in found.items() if tags} == {}
    styles = "".join(style.read_text() for style in site.rglob("*.css"))
    assert "url(http" not in styles
    assert "@import" not in styles


def test_every_verb_has_a_page_with_its_flags(site):
    for verb in VERBS:
        assert (site / "command-line" / verb / "index.html").is_file(), verb
    page = (site / "command-line" / "rerank" / "index.html").read_text()
    assert "<code>--depth DEPTH</code>" in page
    assert "Default: <code>1000</code>" in page  # of --hits
    sets = (site / "command-line" / "sets" / "index.html").read_text()
    assert "<code>--share SHARE</code>" in sets  # of an act


def test_every_public_name_is_documented(site):
    page = (site / "python-api" / "index.html").read_text()
    assert [name for name in rrarank.__all__ if f'id="rrarank.{name}"' not in page] == []


def test_every_row_of_the_papers_table_has_a_page():
    rows: Any = read_yaml(ROOT / "prebuilt/tables/rradistill.yaml")["rows"]
    of_paper = {row for row, settings in rows.items() if "paper" in settings}
    assert {path.stem for path in (ROOT / "docs/rradistill").glob("*.md")} - {"index"} == of_paper
    menu = (ROOT / "mkdocs.yml").read_text()
    assert [row for row in of_paper if f"rradistill/{row}.md" not in menu] == []


def test_the_readme_is_short_and_its_links_lead_somewhere():
    readme = (ROOT / "README.md").read_text()
    assert len(readme) <= 6000
    for link in re.findall(r"\]\((?!https?:)([^)#]+)(?:#([^)]+))?\)", readme):
        place, anchor = ROOT / link[0], link[1]
        assert place.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", place.read_text(), re.M)
            assert anchor in [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings], link


def test_every_verb_is_in_the_readme():
    readme = (ROOT / "README.md").read_text()
    assert [verb for verb in VERBS if f"[`{verb}`](docs/" not in readme] == []
