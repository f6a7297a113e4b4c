"""The page in a real browser: retrieve, re-rank, see what moved. Skipped where there is no Chromium, or no playwright.

PAGE_SCREENSHOT=docs/serve.png also keeps what the browser shows.
"""

import json
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest
from server_process import serving  # type: ignore[import-not-found]  # pytest finds it beside this file

from rrarank.data.impressions import impressions
from rrarank.data.ubi_files import read_log
from rrarank.retrieve.__main__ import main as retrieve

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH")]

SAMPLE = Path(__file__).parents[2] / "prebuilt" / "sample"
QUERY = "how to get candle wax out of a wool rug without using an iron"
SLOW_MS = 120_000  # a browser on a busy machine


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    flags = ["--index", folder / "sample", "--collection", SAMPLE / "collection.jsonl"]
    flags += ["--topics", SAMPLE / "topics.tsv", "--output", folder / "bm25.trec"]
    assert retrieve(list(map(str, flags))) == 0
    with serving(folder, "--index", folder / "sample", "--max-documents", "30", "--device", "cpu") as server:
        yield server


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    """A server with an experiment and a log."""
    folder = tmp_path_factory.mktemp("trial")
    rankers = "{bm25: {model: first-stage}, student: {model: rra-bert-mini}}"
    (folder / "experiment.yaml").write_text(f"name: e\ndesign: team-draft\nrankers: {rankers}\n")
    flags = ["--experiment", folder / "experiment.yaml", "--log", folder / "users", "--device", "cpu"]
    with serving(folder, *flags) as server:
        yield server, folder / "users"


@pytest.fixture
def page(server):
    with opened(server) as page:
        page.wait_for_selector("#sources")  # visible
        yield page


@contextmanager
def opened(server):
    """The page as it opens; a JavaScript error or a request to another host fails the test."""
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=SLOW_MS)
        page = browser.new_page(viewport={"width": 1280, "height": 1100})
        page.set_default_timeout(SLOW_MS)
        complaints, asked = [], []
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(server.url)
        page.locator("#about", has_text="model").wait_for()  # wait_for_function needs eval, which the page forbids
        page.asked, page.complaints = asked, complaints
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        yield page
        browser.close()
    assert all(url.startswith((server.url, "data:")) for url in asked)


def cards(page, which):
    """(docid or text, score, what moved) of each card, in the order shown."""

    def said(card, part):
        return card.locator(part).inner_text() if card.locator(part).count() else ""

    shown = page.locator(f"#{which} li").all()
    return [(said(one, ".docid") or said(one, ".text"), said(one, ".score"), said(one, ".move .sr")) for one in shown]


def test_what_an_index_gives_is_reranked_beside_it(server, page):
    page.check("[name=source][value=index]")
    page.fill("#query", QUERY)
    page.fill("#hits", "10")
    page.click("#go")
    page.wait_for_selector("#after li")
    found = server.post({"query": QUERY, "hits": 10}, path="/v1/search").json()
    wanted = server.post(found).json()["candidates"]
    before, after = cards(page, "before"), cards(page, "after")
    assert [docid for docid, *_ in before] == [one["docid"] for one in found["candidates"]]
    assert [(docid, score) for docid, score, _ in after] == [(one["docid"], f"{one['score']:.2f}") for one in wanted]
    places = {docid: place for place, (docid, *_) in enumerate(before)}
    moves = [places[docid] - place for place, (docid, *_) in enumerate(after)]
    said = [f"{'up' if move > 0 else 'down'} {abs(move)}" if move else "same place" for move in moves]
    assert [move for *_, move in after] == said
    assert any(moves)
    assert page.locator("#summary").inner_text().startswith(f"{sum(map(bool, moves))} of {len(after)} moved")
    assert page.complaints == []
    if place := os.environ.get("PAGE_SCREENSHOT"):
        page.screenshot(path=place)


def test_passages_that_are_pasted_are_reranked(page):
    page.fill("#query", "how long to boil an egg")
    page.fill("#passages", "A hen lays an egg on most mornings.\nBoil an egg for ten minutes if you want it hard.")
    page.click("#go")
    page.wait_for_selector("#after li")
    assert [text for text, *_ in cards(page, "after")] == [
        "Boil an egg for ten minutes if you want it hard.",
        "A hen lays an egg on most mornings.",
    ]
    assert [move for *_, move in cards(page, "after")] == ["up 1", "down 1"]
    assert page.complaints == []


def test_what_the_server_refuses_is_said_and_mended(page):
    page.fill("#query", "tea")
    page.fill("#passages", "\n".join(f"passage {number}" for number in range(31)))
    page.click("#go")
    page.wait_for_selector("#problem:not([hidden])")
    assert "30" in page.locator("#problem").inner_text()
    assert not page.locator("#orders").is_visible()
    page.fill("#passages", "one\ntwo")
    page.click("#go")
    page.wait_for_selector("#after li")
    assert not page.locator("#problem").is_visible()


def test_a_text_is_shown_as_text(page):
    page.fill("#query", "tea")
    page.fill("#passages", "<img src=x onerror=\"document.title='owned'\">\n<b>tea</b>")
    page.click("#go")
    page.wait_for_selector("#after li")
    assert page.locator("#after img, #after b").count() == 0
    assert page.title() == "rrarank: try the reranker"


# -- experiments -------------------------------------------------------------------------------------------------------


def user_of(page):
    return page.evaluate("localStorage.getItem('rrarank-user')")


def test_a_search_and_a_click_are_in_the_log_of_an_experiment(trial):
    server, folder = trial
    with opened(server) as page:
        page.click("#example")
        page.wait_for_selector("#after li")
        assert page.locator("#before").is_hidden()  # clicks there would count for nobody
        with page.expect_response(lambda response: response.url.endswith("/v1/events")):
            page.click("#after li:nth-child(2) .text")
        user, complaints = user_of(page), page.complaints
        page.reload()
        assert user_of(page) == user
    assert complaints == []
    [found], stray = impressions(read_log(folder))
    assert (found.user, found.query.experiment, [one.place for one in found.clicks], stray) == (user, "e", [2], 0)


def test_without_an_experiment_and_a_log_nothing_is_kept_or_sent(page):
    page.click("#example")
    page.wait_for_selector("#after li")
    page.click("#after li:nth-child(2) .text")
    assert user_of(page) is None
    assert not [url for url in page.asked if url.endswith("/v1/events")]


# -- share ------------------------------------------------------------------------------------------------------------


def copied(page, button):
    page.click(button)
    page.locator("#copied", has_text="copied").wait_for()
    return page.evaluate("navigator.clipboard.readText()")


def run(command):
    return json.loads(subprocess.run(["bash", "-c", command], check=True, capture_output=True, text=True).stdout)


def test_what_is_copied_as_curl_is_a_command_with_the_same_answer(server, page):
    passages = ['it\'s "tea" for $USER, `id` and \\ more', "coffee"]
    page.fill("#query", "what's tea?")
    page.fill("#passages", "\n".join(passages))
    found = run(copied(page, "#curl"))["results"]
    wanted = server.post({"query": "what's tea?", "documents": passages}).json()["results"]
    assert found == wanted
    page.check("[name=source][value=index]")
    page.fill("#query", QUERY)
    page.fill("#hits", "5")
    candidates = run(copied(page, "#curl"))["candidates"]
    assert len(candidates) == 5
    assert [one["rank"] for one in candidates] == [1, 2, 3, 4, 5]


def test_a_link_holds_the_query_and_the_options_and_no_texts(server, page):
    page.fill("#query", "tea & milk #1?")
    page.fill("#passages", "a secret passage\nanother one")
    page.click("#go")
    page.wait_for_selector("#after li")
    link = copied(page, "#link")
    assert page.url == link
    assert "secret" not in link
    assert link.startswith(f"{server.url}/#")  # what follows # is told to no server
    page.check("[name=source][value=index]")
    page.fill("#hits", "7")
    of_index = copied(page, "#link")
    page.goto("about:blank")
    page.goto(link)
    page.wait_for_selector("#sources")
    assert page.input_value("#query") == "tea & milk #1?"
    assert page.input_value("#passages") == ""
    assert not page.locator("#orders").is_visible()
    page.goto("about:blank")
    page.goto(of_index)  # an index is searched at once
    page.wait_for_selector("#after li")
    assert page.input_value("#hits") == "7"
    assert page.complaints == []


# -- read -------------------------------------------------------------------------------------------------------------


def test_the_words_of_the_query_are_marked_and_common_ones_are_not(page):
    page.fill("#query", "how long do Eggs boil")
    page.fill("#passages", "Boil an egg for long, how long?\n卵 <mark>x</mark>")
    page.click("#go")
    page.wait_for_selector("#before li")
    assert page.locator("#before mark").all_inner_texts() == ["Boil", "egg", "long", "long"]
    page.fill("#query", "卵を茹でる")
    page.keyboard.press("Enter")
    page.locator("#before mark", has_text="卵").wait_for()
    assert page.complaints == []


def test_a_keyboard_is_enough(page):
    def focused(what):
        return page.evaluate(f"document.activeElement.{what}")

    page.keyboard.press("/")
    assert focused("id") == "query"
    page.keyboard.type("boil eggs / fry eggs")
    page.locator("#passages").focus()
    page.keyboard.type("Tea is hot.\nBoil an egg for ten minutes.\nA hen lays eggs.")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#after li")
    page.locator("#after li").first.focus()
    page.keyboard.press("ArrowDown")
    place = focused("dataset.place")
    assert page.locator("#after li").nth(1).get_attribute("data-place") == place
    page.keyboard.press("ArrowLeft")
    assert (focused("parentElement.id"), focused("dataset.place")) == ("before", place)
    assert page.locator("li.twin").count() == 2
    page.keyboard.press("ArrowRight")
    assert (focused("parentElement.id"), focused("dataset.place")) == ("after", place)
    page.keyboard.press("/")
    assert focused("id") == "query"
    assert page.complaints == []


def test_dark_and_light_follow_the_system_until_chosen_and_the_choice_is_kept(page):
    def paper():
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    page.emulate_media(color_scheme="dark")
    dark = paper()
    page.emulate_media(color_scheme="light")
    light = paper()
    assert dark != light
    page.click("#theme")
    assert paper() == dark
    page.reload()
    assert paper() == dark
    page.click("#theme")
    assert paper() == light


def test_a_phone_needs_no_scrolling_sideways(page):
    page.set_viewport_size({"width": 390, "height": 800})
    page.click("#example")
    page.wait_for_selector("#after li")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_api_opens_the_docs(server, page):
    page.click("nav >> text=API")
    page.get_by_text("/v1/rerank", exact=False).first.wait_for()
    assert page.url == f"{server.url}/docs"
