"""Synthetic queries: which passages are drawn, how a model is asked, what an answer is worth, and the way back."""

import random
import time
from pathlib import Path
from typing import Any

import pytest
from openai_server import (  # type: ignore[import-not-found]  # pytest finds it beside this file's folder
    BEHAVIOURS,
    Reply,
    completion,
    serving,
)

from rrarank.errors import RrarankError
from rrarank.generate.queries import Attempt, read_attempts, read_query, round_trip, sample_passages
from rrarank.generate.writer import Example, QueryWriter, load_query_prompt, read_examples
from rrarank.llm.base import LLM, Answer, Failure, LLMConfig
from rrarank.llm.load import load_llm
from rrarank.llm.text_prompt import TextPrompt
from rrarank.sources.collection import Collection
from rrarank.sources.lucene import LuceneIndex, build_index
from rrarank.storage.journal import Journal

LONG = "ten words are enough for a passage to be drawn"
TEA = "Tea is a drink made of leaves. It was first brewed in China, and is now drunk in all the world."


pytestmark = pytest.mark.usefixtures("no_endpoint")


@pytest.fixture
def journal(tmp_path):
    opened = Journal(tmp_path / "journal")
    yield opened
    opened.close()


# -- which passages ----------------------------------------------------------------------------------------------------


def numbered(*numbers):
    return [(f"d{number}", f"{LONG}, {number}") for number in numbers]


def test_a_sample_hangs_on_docids_and_seed_and_not_on_the_order_of_the_collection():
    documents = numbered(*range(100))
    drawn = sample_passages(documents, 10, seed=1)
    assert len(drawn) == 10
    assert drawn.items() <= dict(documents).items()
    random.Random(0).shuffle(documents)
    revised = [(docid, f"{text}, as revised") for docid, text in documents]
    assert list(sample_passages(revised, 10, seed=1)) == list(drawn)
    assert list(sample_passages(documents, 10, seed=1).items()) == list(drawn.items())
    assert set(drawn) not in [set(sample_passages(documents, 10, seed=seed)) for seed in (2, 3)]


def test_passages_stay_drawn_when_more_are_asked_for_or_documents_are_added():
    few = list(sample_passages(numbered(*range(100)), 10))
    assert list(sample_passages(numbered(*range(100)), 25))[:10] == few
    grown = list(sample_passages(numbered(*range(110)), 10))
    assert [docid for docid in few if docid in grown] == [docid for docid in grown if docid in few]
    assert len({*few} & {*grown}) >= 7


@pytest.mark.parametrize(
    ("text", "fewest", "is_drawn"),
    [
        (LONG, 10, True),
        (LONG, 11, False),
        ("", 1, False),
        ("고교 취업연계 장려금 대상", 4, True),
        ("高校就職支援金", 7, True),  # written without spaces
        ("高校就職支援金", 8, False),
    ],
)
def test_short_passages_are_passed_over(text, fewest, is_drawn):
    assert bool(sample_passages([("d", text)], 1, fewest_words=fewest)) is is_drawn


def test_passages_left_out_make_room_for_others():
    first, second, *_ = sample_passages(numbered(*range(9)), 9)
    assert list(sample_passages(numbered(*range(9)), 1, leave_out={first})) == [second]


def test_real_passages_are_drawn_alike_whoever_reads_them(shared_data):
    corpus = Collection(shared_data / "ko-welfare" / "corpus.jsonl.gz")
    drawn = sample_passages(corpus, 20)
    assert list(drawn) == list(sample_passages(reversed(list(corpus)), 20))
    assert all(len(text.split()) >= 10 for text in drawn.values())


# -- what is asked -----------------------------------------------------------------------------------------------------


def writer(url="http://localhost:1/v1", prompt=None, examples=(), longest=300, **settings: Any):
    settings = {"retries": 0, "timeout_s": 5.0, "total_s": 5.0, **settings}
    return QueryWriter(load_llm(LLMConfig("any", url, **settings)), prompt or load_query_prompt(), examples, longest)


def test_a_question_is_a_dialogue_in_which_the_examples_were_answered():
    examples = [Example("who drinks tea", "d1", "All do."), Example("tea price", "d2", "Two coins.")]
    _, messages = writer(prompt=TextPrompt("P: {passage} Q:", "Be brief."), examples=examples).question("A  new\none")
    assert [(message["role"], message["content"]) for message in messages] == [
        ("system", "Be brief."),
        ("user", "P: All do. Q:"),
        ("assistant", "who drinks tea"),
        ("user", "P: Two coins. Q:"),
        ("assistant", "tea price"),
        ("user", "P: A new one Q:"),
    ]


def test_the_prompt_that_ships_holds_the_passage():
    _, [system, user] = writer().question(TEA)
    assert (system["role"], user["role"]) == ("system", "user")
    assert user["content"].startswith(f"Passage: {TEA}\n\nWrite one query ")


def test_braces_in_a_passage_stay_and_doubled_ones_in_a_prompt_are_single():
    _, [user] = writer(prompt=TextPrompt("{{x}} {passage}")).question("{passage} {0} {{")
    assert user["content"] == "{x} {passage} {0} {{"


class Letters(LLM):
    """A model whose tokens are letters."""

    def answers(self, questions):
        return iter(())

    @property
    def count_tokens(self):
        return len


def test_a_long_passage_is_cut_by_the_models_own_tokens_and_an_examples_too():
    letters = QueryWriter(Letters(LLMConfig("any")), TextPrompt("{passage}"), [Example("q", "d", TEA)], 17)
    _, messages = letters.question(TEA)
    assert [message["content"] for message in messages] == ["Tea is a drink", "q", "Tea is a drink"]
    assert letters.tokens(TEA) == 29


def test_the_key_hangs_on_all_that_determines_the_answer():
    def key(passage=TEA, **settings: Any) -> str:
        return writer(**settings).question(passage)[0]

    assert key() == key(url="http://elsewhere/v1", in_flight=99, retries=3)
    changes: list[dict[str, Any]] = [
        {"passage": "other"},
        {"temperature": 0.7},
        {"max_tokens": 7},
        {"prompt": TextPrompt("{passage}?")},
        {"examples": [Example("q", "d", "p")]},
        {"longest": 5},
    ]
    assert len({key(), *(key(**change) for change in changes)}) == 1 + len(changes)


def test_provenance_names_what_determined_the_answers_and_no_place():
    asked = writer("http://secret-host/v1", examples=[Example("q", "d", "p")])
    found = asked.provenance([Answer("a", model="one"), Answer("b"), Answer("c", model="one")])
    assert found == {
        **load_llm(LLMConfig("any", "http://elsewhere/v1")).fingerprint(),
        "prompt_sha256": load_query_prompt().sha256,
        "passage_tokens": 300,
        "examples": 1,
        "answered_by": ["one"],
    }
    assert "secret-host" not in str(found)


def test_a_prompt_of_a_users_own(tmp_path):
    (tmp_path / "mine.yaml").write_text('# brief\nbody: "{passage}\\n질문:"\n')
    found = load_query_prompt(tmp_path / "mine.yaml")
    assert found == TextPrompt("{passage}\n질문:")
    assert found.sha256 != TextPrompt("{passage}").sha256
    assert found.sha256 == TextPrompt("{passage}\n질문:", "").sha256


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- body", "mine.yaml: a YAML list, expected keys such as body"),
        ("body: [1\n", "mine.yaml:2: not YAML ("),
        ("prefix: a", "mine.yaml: body is missing; prefix is an unknown key"),
        ("body: '{passage}'\nsystem: a", "mine.yaml: system is an unknown key"),
        ("body: 3", "mine.yaml: body is 3: input should be a valid string"),
        ("body: write", "mine.yaml: the body contains no placeholder, expected {passage} alone"),
        ("body: '{passage} {query}'", "mine.yaml: the body contains '{passage}', '{query}', expected {passage} alone"),
        ("body: '{passage!r}'", "mine.yaml: the body contains '{passage!r}', expected {passage} alone"),
        ("body: '{passage} {'", "mine.yaml: body: "),
    ],
)
def test_a_prompt_that_cannot_be_filled_is_refused_in_one_line(text, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(RrarankError) as raised:
        load_query_prompt("mine.yaml")
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


def test_examples_are_queries_with_the_passages_of_their_docids(tmp_path):
    (tmp_path / "texts.tsv").write_text("a\tof a\nb\tof b\nc\tof c\n")
    (tmp_path / "examples.tsv").write_text("why b\tb\n\nwhy a \ta\r\nand why b\tb\n")
    assert read_examples(tmp_path / "examples.tsv", Collection(tmp_path / "texts.tsv")) == [
        Example("why b", "b", "of b"),
        Example("why a", "a", "of a"),
        Example("and why b", "b", "of b"),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("why a", "examples.tsv:2: no tab; expected query<TAB>docid"),
        ("why a\t ", "examples.tsv:2: an empty part; expected query<TAB>docid"),
        ("\ta", "examples.tsv:2: an empty part; expected query<TAB>docid"),
        ("a\twhy a", "examples.tsv: not in texts.tsv: docid 'why a'; expected query<TAB>docid"),
    ],
)
def test_examples_that_cannot_be_are_refused(line, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts.tsv").write_text("a\tof a\n")
    (tmp_path / "examples.tsv").write_text(f"why\ta\n{line}\n")
    with pytest.raises(RrarankError) as raised:
        read_examples("examples.tsv", Collection(Path("texts.tsv")))
    assert str(raised.value) == message


# -- asking ------------------------------------------------------------------------------------------------------------


def echo(request, nth):
    """The last word of the passage."""
    passage = request["messages"][-1]["content"].split("\n")[0]
    return Reply(completion(request, content=f"about {passage.split()[-1]}"))


def test_what_is_answered_is_on_record_and_never_asked_again(journal):
    passages = {"a": "one", "b": "two", "c": "three"}
    with serving(
        lambda request, nth: (BEHAVIOURS["bad-request"] if "two" in str(request) else echo)(request, nth)
    ) as at:
        outcomes = dict(writer(at.url).ask(passages, journal))
    assert isinstance(outcomes["b"], Failure)
    assert list(writer().answers(passages, journal)) == ["a", "c"]
    with serving(echo) as server:
        assert list(dict(writer(server.url).ask(passages, journal))) == ["b"]
        assert len(server.requests) == 1
        assert list(writer(server.url).ask(passages, journal)) == []
    assert [answer.text for answer in writer().answers(passages, journal).values()] == [
        "about one",
        "about two",
        "about three",
    ]


def test_equal_passages_are_asked_about_once(journal):
    passages = {"a": "tea", "b": "tea", "c": "bread"}
    with serving(echo) as server:
        assert sorted(dict(writer(server.url).ask(passages, journal))) == ["a", "c"]
        assert len(server.requests) == 2
    assert [answer.text for answer in writer().answers(passages, journal).values()] == [
        "about tea",
        "about tea",
        "about bread",
    ]


# -- what is answered --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "query"),
    [
        ("what is tea", "what is tea"),
        ("\n\n  What is tea?\nAnd what is bread?", "What is tea?"),
        ('"what is tea"', "what is tea"),
        ("'what's tea'.", "what's tea"),
        ("“what is tea”", "what is tea"),
        ("「東京の人口は」", "東京の人口は"),
        ("Query: what is tea", "what is tea"),
        ("Search query 1: what is tea", "what is tea"),
        ('The query is: "what is tea?"', "what is tea?"),
        ("Here's a relevant search query: what is tea", "what is tea"),
        ("검색어: 취업 장려금 대상", "취업 장려금 대상"),
        ("Sure! Here is one:\n\n- what is tea", "what is tea"),
        ("1. what is tea\n2. what is bread", "what is tea"),
        ("### Query\n**what is tea**", "what is tea"),
        ('1. **Query:** "what is tea"', "what is tea"),
        ("```\nwhat is tea\n```", "what is tea"),
        ("<query>what is tea</query><|im_end|>", "what is tea"),
        ("<think>Query: no\n</think>\nwhat is tea", "what is tea"),
        ("<think>Query: what is tea", ""),
        ("what\tis \x00 tea", "what is tea"),  # neither could stand in a file of topics
        ("", ""),
        ('---\n"""\n', ""),
        # what looks like mark-up, and is not
        ('"tea" or "bread"', '"tea" or "bread"'),
        ("3.5 mm jack", "3.5 mm jack"),
        ("1984 author", "1984 author"),
        ("what is **kwargs in python", "what is **kwargs in python"),
        ("question of the west lothian", "question of the west lothian"),
        ("Q: why", "why"),
        ("qatar: capital", "qatar: capital"),
    ],
)
def test_the_query_is_the_first_line_that_is_one_bare(answer, query):
    assert read_query(answer) == query


def attempt(text, passage=TEA, finish_reason="stop", **settings: Any):
    [one] = read_attempts({"d": passage}, {"d": Answer(text, finish_reason)}, **settings)
    return one


FIRST = "It was first brewed in China, and is now"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("where was tea first brewed", ""),
        ("", "empty"),
        ("...", "empty"),
        ("I'm sorry, but I cannot write this.", "refused"),
        ("I cannot help with that.", "refused"),
        ("As an AI language model, I have no queries.", "refused"),
        ("The passage does not say much.", "refused"),
        ("죄송합니다만 도와드릴 수 없습니다.", "refused"),
        ("sorry seems to be the hardest word singer", ""),
        ("I can't sleep what to drink", ""),
        ("What does the passage say of tea?", "mentions the passage"),
        ("who drinks tea according to this text", "mentions the passage"),
        ("I'm looking for a query that asks about tea", "mentions the passage"),
        ("이 글에 따르면 차는 무엇인가", "mentions the passage"),
        ("how to book passage to india", ""),
        ("tea is a drink made of leaves", "copied"),  # a sentence, but for case and point
        ("Tea is a drink made of paper", ""),
        ("drink made of leaves", ""),  # words that a person may type
        (FIRST, "copied"),  # of a sentence, but many
        (" ".join(FIRST.split()[:7]), ""),
        (f"when {FIRST} tea", ""),
        ("tea " * 32, ""),
        ("tea " * 33, "too long"),
        ("茶" * 33, "too long"),
    ],
)
def test_what_is_no_query_is_dropped_for_a_reason(text, fault):
    assert attempt(text).fault == fault


def test_a_passages_title_is_no_copy():
    assert attempt("Continental Army", "Continental Army. It was formed by the Congress.").fault == ""


def test_how_long_a_query_may_be_is_a_setting():
    assert [attempt("a b c", most_words=most).fault for most in (3, 2)] == ["", "too long"]


@pytest.mark.parametrize(
    ("text", "finish_reason", "fault"),
    [
        ("what is te", "length", "cut short"),
        ("what is tea\nIt is a dri", "length", ""),  # the query had ended
        ("<think>Let me see", "length", "cut short"),
        ("", "content_filter", "cut short"),
        ("what is te", "stop", ""),
    ],
)
def test_a_query_that_breaks_off_is_dropped(text, finish_reason, fault):
    assert attempt(text, finish_reason=finish_reason).fault == fault


def test_of_queries_equal_but_for_case_the_first_is_kept_and_an_examples_counts():
    said = {"a": "What is tea?", "b": "what is TEA", "c": "what is bread", "d": "Why tea", "e": ""}
    answers = {docid: Answer(text) for docid, text in said.items()}
    attempts = read_attempts(dict.fromkeys(said, "p"), answers, taken=["why tea?"])
    assert [(one.docid, one.fault) for one in attempts] == [
        ("a", ""),
        ("b", "duplicate"),
        ("c", ""),
        ("d", "duplicate"),
        ("e", "empty"),
    ]


def test_a_query_that_was_dropped_does_not_make_another_a_duplicate():
    passages = {"a": "Tea is a drink.", "b": "Of many a drink, tea is the first."}
    attempts = read_attempts(passages, dict.fromkeys(passages, Answer("tea is a drink")))
    assert [one.fault for one in attempts] == ["copied", ""]


def test_a_qid_hangs_on_docid_and_query_alone():
    assert Attempt("d", "q").qid == Attempt("d", "q", "copied").qid == "syn-793ae69c850f"
    assert len({Attempt(docid, query).qid for docid in "de" for query in "qr"}) == 4


# -- the way back ------------------------------------------------------------------------------------------------------

PASSAGES = {
    "tea": "Tea is a drink of hot water and leaves.",
    "mate": "Mate is a drink of hot water and leaves, drunk in Paraguay.",
    "bread": "Bread is baked of flour and water.",
    "cat": "고양이가 매트 위에 앉았다.",
}


@pytest.fixture(scope="module")
def index_of(tmp_path_factory):
    def build(language="en"):
        folder = tmp_path_factory.mktemp("lucene") / language
        build_index(PASSAGES.items(), folder, language=language)
        return LuceneIndex(folder)

    return build


def test_a_query_must_find_its_passage_among_the_first(index_of):
    about = {"tea": "a drink in paraguay", "mate": "what is drunk in Paraguay?", "bread": "volcano eruptions"}
    with index_of() as index:

        def lost(keep_top):
            found = round_trip([Attempt(*one) for one in about.items()], index, keep_top=keep_top)
            return {one.docid: one.fault for one in found}

        assert lost(1) == {"tea": "not found", "mate": "", "bread": "not found"}
        assert lost(2) == {"tea": "", "mate": "", "bread": "not found"}


def test_what_was_dropped_before_is_not_searched_and_keeps_its_reason(index_of):
    attempts = [Attempt("tea", "bread", "copied"), Attempt("bread", "", "empty")]
    with index_of() as index:
        assert round_trip(attempts, index) == attempts


def test_the_search_has_the_language_of_the_index(index_of):
    for language, fault in {"en": "not found", "ko": ""}.items():
        with index_of(language) as index:
            [found] = round_trip([Attempt("cat", "고양이")], index, language=language)
        assert found.fault == fault


@pytest.mark.parametrize("endless", ["- ", '"', "Query: ", "1. ", "**", ".", "\n", "<think>", "a ", "「", "Sure! "])
def test_an_answer_that_never_stops_is_read_at_once(endless):
    started = time.perf_counter()
    read_query(endless * 32_000 + "what is tea")
    assert time.perf_counter() - started < 3
