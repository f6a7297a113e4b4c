"""Click models find the places' and the documents' share in clicks; counterfactuals find the unseen ranker's clicks."""

from dataclasses import replace

import numpy as np
import pytest
from online_log import make_log  # type: ignore[import-not-found]  # pytest finds it beside this folder

from rrarank.data.impressions import impressions
from rrarank.data.types import Hit, Run
from rrarank.errors import RrarankError
from rrarank.measures.click_models import fit
from rrarank.measures.counterfactual import estimate

DOCS = [f"d{number}" for number in range(6)]
ATTRACTION = {
    str(q): dict(zip(DOCS, np.random.default_rng(q).permutation([0.9, 0.6, 0.4, 0.2, 0.1, 0.05]), strict=True))
    for q in range(4)
}
ARMS = {
    "one": dict.fromkeys(ATTRACTION, DOCS),
    "two": dict.fromkeys(ATTRACTION, DOCS[::-1]),
    "three": dict.fromkeys(ATTRACTION, DOCS[1:] + DOCS[:1]),
}
BEST = Run(
    {qid: [Hit(d, s) for d, s in sorted(own.items(), key=lambda pair: -pair[1])] for qid, own in ATTRACTION.items()}
)


@pytest.fixture(scope="module")
def found():
    return impressions(make_log(ARMS, ATTRACTION, users=1500, seed=1))[0]


@pytest.mark.parametrize("model", ["pbm", "intervention"])
def test_places_and_documents_are_told_apart(found, model):
    fitted = fit(found, model)
    np.testing.assert_allclose(fitted.examination, [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5, 1 / 6], atol=0.06)
    for (qid, docid), looks in fitted.examined.items():
        assert fitted.attraction((qid, docid)) == pytest.approx(ATTRACTION[qid][docid], abs=4 / np.sqrt(looks))


def test_raw_clicks_prefer_whatever_was_on_top(found):
    """What the models correct: arm `one` alone has another document in front for some query; the model has the best."""
    fitted, wrong = fit(found, "pbm"), 0
    for qid, own in ATTRACTION.items():
        shown = [one for one in found if (one.query.arm, one.name) == ("one", qid)]
        raw = {docid: sum(click.docid == docid for one in shown for click in one.clicks) for docid in DOCS}
        best = max(own, key=own.__getitem__)
        wrong += max(raw, key=raw.__getitem__) != best
        assert max(DOCS, key=lambda docid: fitted.attraction((qid, docid))) == best
    assert wrong


def test_places_that_nothing_links_to_the_first_are_not_compared_with_it():
    """Documents move between places 1 and 3, and between 2 and 4: of 2, nothing is known but what stands above."""
    docs = ["a", "b", "c", "d"]
    arms = {"one": {"q": docs}, "two": {"q": ["c", "d", "a", "b"]}}
    log = make_log(arms, {"q": dict.fromkeys(docs, 0.9)}, users=600)
    first, second, third, fourth = fit(impressions(log)[0], "intervention").examination
    assert first == second == 1
    assert third == fourth == pytest.approx(1 / 3, abs=0.08)


def test_a_cascade_looks_down_to_the_last_click_only():
    log = make_log(
        {"one": ARMS["one"]}, {q: dict.fromkeys(DOCS, 0.0) | {"d2": 1.0} for q in ATTRACTION}, users=20, decay=0
    )
    fitted = fit(impressions(log)[0], "cascade")
    assert fitted.examination == [1, 1, 1, 0, 0, 0]
    assert fitted.attraction(("0", "d2"), prior=0.0) == 1
    assert ("0", "d3") not in fitted.examined


def test_no_click_teaches_nothing(found):
    with pytest.raises(RrarankError, match="nothing to learn from"):
        fit([])
    with pytest.raises(RrarankError, match=r"known: pbm, intervention, cascade"):
        fit(found, "pmb")


@pytest.mark.parametrize("model", ["pbm", "intervention"])
def test_places_are_not_compared_with_a_first_one_that_nobody_clicked(found, model):
    """They would be looked at a million times as often, and every estimate would be 0."""
    lower = [replace(one, clicks=tuple(click for click in one.clicks if click.place > 1)) for one in found]
    with pytest.raises(RrarankError, match=f"no click on a first place, with which the model {model} compares"):
        fit(lower, model)
    assert fit(lower, "cascade").examination[0] == 1


def test_intervention_needs_documents_that_moved():
    log = make_log({"one": ARMS["one"]}, ATTRACTION, users=20)
    with pytest.raises(RrarankError, match="no document was shown at two places"):
        fit(impressions(log)[0], "intervention")


def truth(run):
    return np.mean([sum(own[h.docid] / place for place, h in enumerate(run[q], 1)) for q, own in ATTRACTION.items()])


@pytest.mark.parametrize("shares", [None, dict.fromkeys(ARMS, 1.0)])
def test_ips_and_snips_find_the_clicks_of_a_ranker_that_was_not_shown(found, shares):
    one = estimate(found, BEST, [1 / place for place in range(1, 7)], shares=shares)
    assert one.ips_low <= truth(BEST) <= one.ips_high
    assert one.snips_low <= truth(BEST) <= one.snips_high
    assert one.logged < one.ips_low  # what was shown had fewer
    assert one.covered == pytest.approx(1)
    assert 0 < one.effective <= one.clicks
    assert one.left_out == 0


def test_the_estimate_of_what_was_shown_is_what_was_clicked():
    log = impressions(make_log({"one": ARMS["one"]}, ATTRACTION, users=100))[0]
    same = Run({qid: [Hit(d, -float(n)) for n, d in enumerate(DOCS)] for qid in ATTRACTION})
    one = estimate(log, same, [1 / place for place in range(1, 7)])
    assert one.ips == pytest.approx(one.logged)
    assert one.snips == pytest.approx(one.logged)
    assert one.effective == pytest.approx(one.clicks)


def test_documents_that_were_never_shown_are_not_covered(found):
    new = Run({qid: [Hit("unseen", 2.0), *BEST[qid]] for qid in ATTRACTION})
    one = estimate(found, new, [1 / place for place in range(1, 7)])
    assert one.covered == pytest.approx(1 - 1 / 2.45, abs=0.001)


def test_weights_are_clipped_and_counted(found):
    one = estimate(found, BEST, [1 / place for place in range(1, 7)], clip=1.0)
    assert one.clipped > 0
    assert one.ips < truth(BEST)
    with pytest.raises(RrarankError, match="none of the logged queries is in the run"):
        estimate(found, Run({"other": [Hit("d0", 1.0)]}), [1.0])
