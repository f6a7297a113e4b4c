"""Set-wise, pair-wise and point-wise LLMs over a real loopback server; forecasts against what it was asked."""

import json
import math
import random
import re
from collections import Counter
from typing import Any

import pytest
from job_files import write_inputs  # type: ignore[import-not-found]  # pytest finds it beside this file's folder
from openai_server import Reply, completion, serving  # type: ignore[import-not-found]  # beside this file's folder

from rrarank.data.trec import read_run
from rrarank.data.types import Candidate, Query, Ranking
from rrarank.engine.registry import load_reranker
from rrarank.errors import RrarankError
from rrarank.rerank.__main__ import main

pytestmark = pytest.mark.usefixtures("no_endpoint")


def worths(request):
    """What each passage of a prompt is worth, in the order shown: the number that follows `worth`."""
    return [int(found) for found in re.findall(r"worth (\d+)", request["messages"][-1]["content"])]


def judge(request, nth):
    """Choose the passage that is worth most, in the way that the prompt asks for."""
    shown, text = worths(request), request["messages"][-1]["content"]
    best = shown.index(max(shown))
    if "yes or no" in text:
        return probable(request, shown[0])
    said = f"Passage {'AB'[best]}" if "Passage A:" in text else f"[{best + 1}]"
    return Reply(completion(request, content=said))


def probable(request, worth):
    """Yes with a probability that rises with what the passage is worth."""
    yes = 1 / (1 + math.exp(-(worth - 15) / 10))
    reply = json.loads(completion(request, content="Yes" if yes > 0.5 else "No"))
    top = [{"token": "Yes", "logprob": math.log(yes)}, {"token": "No", "logprob": math.log(1 - yes)}]
    reply["choices"][0]["logprobs"] = {"content": [{"token": "Yes", "logprob": 0.0, "top_logprobs": top}]}
    return Reply(json.dumps(reply).encode())


def ranking(count, qid="1"):
    order = random.Random(f"{qid} {count}").sample(range(count), count)
    found = (Candidate(f"d{worth}", f"worth {worth} words about {qid}", -float(n)) for n, worth in enumerate(order))
    return Ranking(Query(qid, f"query {qid}"), tuple(found))


def order_of(ranked):
    return [int(candidate.docid[1:]) for candidate in ranked.candidates]


def load(name, server, **config: Any):
    return load_reranker(name, model="judge", base_url=server.url, total_s=20.0, **config)


WAYS = [
    ("setwise-llm", {"sort": "heapsort"}),
    ("setwise-llm", {"sort": "bubblesort"}),
    ("setwise-llm", {"sort": "bubblesort", "group": 10}),
    ("pairwise-llm", {"sort": "heapsort"}),
    ("pairwise-llm", {"sort": "bubblesort"}),
    ("pairwise-llm", {"sort": "allpairs"}),
    ("pointwise-llm", {}),
]


@pytest.mark.parametrize(("name", "config"), WAYS)
def test_the_best_ten_are_on_top_and_the_forecast_is_what_was_asked(name, config):
    block = [ranking(count, qid=str(count)) for count in (14, 0, 1, 12)]
    with serving(judge) as server:
        reranker = load(name, server, **config)
        expected = reranker.forecast(block)
        assert server.requests == []
        ranked = reranker.rerank_block(block)
    for before, after in zip(block, ranked, strict=True):
        best_first = sorted(order_of(before), reverse=True)
        assert order_of(after)[:10] == best_first[:10]
        assert sorted(c.docid for c in after.candidates) == sorted(c.docid for c in before.candidates)
    if expected.is_exact:
        assert expected.questions == len(server.requests)
    else:
        assert expected.questions == pytest.approx(len(server.requests), rel=0.15)  # 2 % over many queries: tests/llm


def test_answers_that_contradict_are_a_tie_and_a_tie_keeps_the_order():
    def first(request, nth):
        return Reply(completion(request, content="Passage A"))

    for sort in ("heapsort", "bubblesort", "allpairs"):
        with serving(first) as server:
            [ranked] = load("pairwise-llm", server, sort=sort).rerank_block([ranking(12)])
        assert order_of(ranked) == order_of(ranking(12))


def test_each_pair_is_shown_in_both_orders():
    with serving(judge) as server:
        load("pairwise-llm", server, sort="allpairs").rerank_block([ranking(6)])
    seen = Counter(tuple(worths(request)) for request in server.requests)
    assert seen == {(a, b): 1 for a in range(6) for b in range(6) if a != b}


def test_a_score_is_the_log_odds_of_yes():
    with serving(judge) as server:
        [ranked] = load("pointwise-llm", server).rerank_block([ranking(30)])
    assert [c.score for c in ranked.candidates] == pytest.approx([(29 - n - 15) / 10 for n in range(30)])
    assert {(one["max_tokens"], one["logprobs"], one["top_logprobs"]) for one in server.requests} == {(1, True, 20)}


def test_without_log_probabilities_yes_is_above_no_and_ties_keep_the_order(caplog):
    def words(request, nth):
        return Reply(completion(request, content="Yes" if worths(request)[0] > 15 else "No"))

    with serving(words) as server:
        [ranked] = load("pointwise-llm", server).rerank_block([ranking(30)])
    before = order_of(ranking(30))
    assert order_of(ranked) == [n for n in before if n > 15] + [n for n in before if n <= 15]
    assert "judge gives no log-probabilities" in caplog.text


def test_an_answer_that_is_neither_puts_its_passage_last():
    def shy(request, nth):
        return Reply(completion(request, content="Perhaps")) if worths(request) == [29] else judge(request, nth)

    with serving(shy) as server:
        [ranked] = load("pointwise-llm", server).rerank_block([ranking(30)])
    assert order_of(ranked)[0] == 28
    assert sorted(order_of(ranked)) == list(range(30))


def test_the_prompt_of_another_method_is_refused_with_its_reranker(tmp_path):
    (tmp_path / "p.yaml").write_text("method: pointwise\nbody: '{query} {doc_content}'\n")
    with serving(judge) as server:
        for name, message in {
            "listwise-llm": "that is one for pointwise-llm",
            "pairwise-llm": "expected 'pairwise'",
        }.items():
            with pytest.raises(RrarankError, match=message):
                load(name, server, prompt=str(tmp_path / "p.yaml"))
        with pytest.raises(RrarankError, match="sort 'allpairs': expected one of heapsort, bubblesort"):
            load("setwise-llm", server, sort="allpairs")


def test_fingerprints_name_what_determines_the_order():
    with serving(judge) as server:
        variants: dict[str, list[dict[str, Any]]] = {
            "setwise-llm": [{"sort": "bubblesort"}, {"group": 5}, {"top": 3}, {"thought_tokens": 9}],
            "pairwise-llm": [{"sort": "allpairs"}, {"top": 3}, {"reasoning_effort": "low"}],
            "listwise-llm": [{"permutations": 3}, {"json": True}, {"window": 0}],
        }
        for name, changes in variants.items():
            found = {load(name, server, **change).fingerprint() for change in [{}, *changes]}
            assert len(found) == 1 + len(changes)


# -- the verb ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def job(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return [*write_inputs([ranking(12, qid=qid) for qid in ("q2", "q10", "q1")]), "--model", "judge"]


@pytest.mark.parametrize("name", ["setwise-llm", "pairwise-llm", "pointwise-llm", "listwise-llm"])
def test_a_job_says_what_it_will_ask_and_what_was_asked(name, job, capsys):
    def answer(request, nth):
        if name == "listwise-llm":
            best_first = sorted(range(len(worths(request))), key=lambda n: -worths(request)[n])
            return Reply(completion(request, content=" > ".join(f"[{n + 1}]" for n in best_first)))
        return judge(request, nth)

    with serving(answer) as server:
        flags = [*job, "--reranker", name, "--option", f"base_url={server.url}"]
        assert main([*flags, "--dry-run"]) == 0
        said = capsys.readouterr().err
        planned = re.search(r"would ask (?:about )?([\d,]+) questions, about [\d,]+ tokens asked", said)
        assert "no log-probabilities" not in said, "nothing was asked yet"
        assert server.requests == []
        assert main(flags) == 0
    asked = len(server.requests)
    assert planned
    assert int(planned[1].replace(",", "")) == pytest.approx(asked, rel=0.15)
    assert (
        f"{asked} answers (ok {asked}); {100 * asked:,} tokens asked, {20 * asked:,} answered"
        in capsys.readouterr().err
    )
    sidecar = json.loads(open(f"bm25.{name}.trec.json").read())
    assert sidecar["tokens"] == {"questions": asked, "asked": 100 * asked, "answered": 20 * asked}
    for qid, hits in read_run(f"bm25.{name}.trec").items():
        assert [hit.docid for hit in hits[:10]] == [f"{qid}-d{worth}" for worth in range(11, 1, -1)]
