"""Topics: each shape that people have them in gives the same queries; a fault is refused by its line."""

import json

import pytest

from rrarank.data.topics import FIELDS, parse_topics, read_topics
from rrarank.errors import RrarankError
from rrarank.retrieve.__main__ import main


@pytest.mark.parametrize(
    ("text", "topics"),
    [
        ("1\twhat is tea\r\n\n2\t why \n", {"1": "what is tea", "2": "why"}),
        ("007\ta\tb\tc", {"007": "a\tb\tc"}),
        ("9\tx\n10\ty\n1\tz", {"9": "x", "10": "y", "1": "z"}),
        ("1\tone\u2028line", {"1": "one\u2028line"}),
        ('{"_id": "1", "text": "beir", "metadata": {}}', {"1": "beir"}),
        ('{"id": 7, "query": "q"}\n{"qid": "x", "title": "t"}', {"7": "q", "x": "t"}),
        ('{"qid": "a", "id": "b", "text": "t", "title": "u"}', {"a": "t"}),
        ('{"qid": null, "id": "b", "text": "t"}', {"b": "t"}),
    ],
)
def test_topics_from_tsv_and_jsonl(text, topics, tmp_path):
    (tmp_path / "topics").write_text(text)
    for found in (parse_topics(text), read_topics(tmp_path / "topics")):
        assert list(found.items()) == list(topics.items())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "topics: no queries; expected lines of qid<TAB>query"),
        ("1\ta\n2 b", "topics:2: no tab; expected qid<TAB>query"),
        ("1\ta\n\n1\tb", "topics:3: query '1' occurs twice; keep one line"),
        ('{"id": 1, "text": "a"}\n{"id": "1", "text": "b"}', "topics:2: query '1' occurs twice; keep one line"),
        ("\tb", "topics:1: an empty qid; expected qid<TAB>query"),
        ("a b\tquery", "topics:1: qid 'a b' contains a space, which a run cannot hold"),
        ('[{"id": "1", "text": "a"}, 7]', "topics: topic 2: a JSON int, expected an object"),
        ('{"1": {"body": "a"}}', "topics:1: topic '1': fields 'body', 'qid'; expected one of 'text', 'query', 'title'"),
        ('{"1": "a", "1": "b"}', "topics: '1' occurs twice in one JSON object; keep one"),
        ('{"1": ["a", "b"]}', "topics:1: topic '1': field 'text' is a list, expected a string"),
        ("[1, 2]", "topics: topic 1: a JSON int, expected an object"),
        ("<top>\n<title> a\n</top>", "topics: topic 1: an empty qid"),
        ("<top>\n<num> 1\n<title> a", "topics: topic 1: <top> without </top>; the file may be cut off"),
        ('{"id": "1", "text": "a"', "topics:1: not JSON (Expecting ',' delimiter at column 24)"),
        ('{"text": "a"}', "topics:1: fields 'text'; expected one of 'qid', '_id', 'id'"),
        ('{"id": "1", "body": "a"}', "topics:1: fields 'id', 'body'; expected one of 'text', 'query', 'title'"),
    ],
)
def test_malformed_topics_are_refused_by_line(text, message):
    with pytest.raises(RrarankError) as error:
        parse_topics(text)
    assert str(error.value).startswith(message)


def test_half_a_surrogate_pair_is_refused_where_it_stands():
    with pytest.raises(RrarankError, match="t:1: half of a surrogate pair"):
        parse_topics('{"id": "1", "text": "\\ud800"}', where="t")


# -- shapes -----------------------------------------------------------------------------------------------------------

CATS = {"1": "why do cats purr", "2": "what do dogs eat"}
TOP = """<top>
<num> Number: 1
<title> why do cats
purr

<desc> Description:
What makes a cat purr?

<narr> Narrative:
Relevant: causes &amp; effects.
</top>

<top>
<num>2</num>
<title>Topic: what do dogs eat</title>
<desc>Food of dogs</desc>
</top>
"""
XML = """<?xml version="1.0"?>
<topics task="x">
  <topic number="1"><query>why do cats purr</query><question>What makes a cat purr?</question></topic>
  <topic number="2"><title>what do dogs eat</title></topic>
</topics>
"""


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(CATS),
        json.dumps(CATS, indent=2),
        json.dumps({qid: {"title": text} for qid, text in CATS.items()}),
        json.dumps({int(qid): {"query": text, "answers": ["x"]} for qid, text in CATS.items()}),
        json.dumps([{"query_id": int(qid), "query": text} for qid, text in CATS.items()], indent=1),
        json.dumps([[qid, text] for qid, text in CATS.items()]),
        json.dumps({"queries": [{"id": qid, "question": text} for qid, text in CATS.items()]}),
        "\n".join(json.dumps({"_id": qid, "text": text, "metadata": {}}) for qid, text in CATS.items()),
        "\n".join(json.dumps({"query": {"qid": qid, "text": text}, "candidates": []}) for qid, text in CATS.items()),
        "\n".join(json.dumps({qid: text}) for qid, text in CATS.items()),
        "\n".join(json.dumps([qid, text]) for qid, text in CATS.items()),
        "\n".join(json.dumps({"topic_id": qid, "title": text}) for qid, text in CATS.items()),
        TOP,
        TOP.replace("</top>", "</TOP>").replace("<title>", "<TITLE>"),
        XML,
    ],
)
def test_the_same_queries_in_every_shape(text, tmp_path):
    (tmp_path / "topics").write_text(text)
    assert read_topics(tmp_path / "topics") == parse_topics(text) == CATS


@pytest.mark.parametrize(
    ("topic_field", "first", "second"),
    [
        ("title", "why do cats purr", "what do dogs eat"),
        ("description", "What makes a cat purr?", "Food of dogs"),
        ("narrative", "Relevant: causes & effects.", ""),
        ("title+description", "why do cats purr What makes a cat purr?", "what do dogs eat Food of dogs"),
    ],
)
def test_the_part_of_a_topic_that_is_the_query(topic_field, first, second):
    assert parse_topics(TOP, topic_field=topic_field) == {"1": first, "2": second}
    row = {"qid": "1", "title": "why do cats purr", "desc": "What makes a cat purr?"}
    row["narrative"] = "Relevant: causes & effects."
    assert parse_topics(json.dumps(row), topic_field=topic_field) == {"1": first}


def test_an_unknown_part_is_refused():
    with pytest.raises(RrarankError, match="'title', 'description'"):
        parse_topics(TOP, topic_field="desc")
    assert all(parse_topics(TOP, topic_field=part)["1"] for part in FIELDS)


@pytest.mark.parametrize(
    "text", ["1\t \n2\tq", '{"id": "1", "text": null}\n{"id": "2", "text": "q"}', '{"1": "", "2": "q"}']
)
def test_an_empty_query_is_kept_for_whoever_asks_it(text):
    assert parse_topics(text) == {"1": "", "2": "q"}


def test_one_line_of_a_pair():
    assert parse_topics('["1", "cats"]') == {"1": "cats"}


def test_a_qid_stays_as_it_is_written():
    assert parse_topics("<top><num> Number: 051 <title> a </top>") == {"051": "a"}


def test_many_topics_are_read_in_linear_time():
    assert len(parse_topics("".join(f"<top><num>{n}<title>t</top>" for n in range(20_000)))) == 20_000
    with pytest.raises(RrarankError, match="without <.top>"):
        parse_topics("<top><num>1<title>" * 50_000)


@pytest.mark.parametrize("end", ["", "\n<top>\n<num> 2\n<title> b\n</top>"])
def test_a_trec_topic_that_is_not_closed_is_refused(end):
    with pytest.raises(RrarankError, match="topics: topic 2: <top> without </top>; the file may be cut off"):
        parse_topics(f"<top>\n<num> 0\n<title> z\n</top>\n<top>\n<num> 1\n<title> a{end}")


def test_comparisons_in_a_trec_title_are_not_tags():
    text = "<top><num>1</num><title>is 3 < 5 and 7 > 2</title></top>"
    assert parse_topics(text) == {"1": "is 3 < 5 and 7 > 2"}


def test_a_topic_field_that_lines_do_not_have_is_refused():
    with pytest.raises(RrarankError, match="topics:1: qid<TAB>query has no description; leave --topic-field out"):
        parse_topics("1\ta", topic_field="description")


def test_an_empty_field_gives_way_to_one_with_text():
    assert parse_topics('{"id": "1", "title": "keep bread fresh", "text": ""}') == {"1": "keep bread fresh"}


def test_of_a_json_topic_with_text_and_title_the_text_is_the_query_as_the_help_says(capsys):
    topic = '{"id": "1", "title": "t", "text": "x"}'
    assert parse_topics(topic) == {"1": "x"}
    assert parse_topics(topic, topic_field="title") == {"1": "t"}
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "text or query in JSON, else the title" in " ".join(capsys.readouterr().out.split())


def test_a_part_that_a_topic_lacks_is_left_out_in_json_as_in_trec():
    topics = {"1": {"title": "keep bread", "description": "long"}, "2": {"title": "capital"}}
    trec = "".join(
        f"<top><num>{qid}<title>{topic['title']}"
        + (f"<desc>{topic['description']}" if "description" in topic else "")
        + "</top>"
        for qid, topic in topics.items()
    )
    for text in (json.dumps(topics), trec):
        assert parse_topics(text, topic_field="title+description") == {"1": "keep bread long", "2": "capital"}
    with pytest.raises(RrarankError, match="topic '2': fields 'title', 'qid'; expected one of 'description'"):
        parse_topics(json.dumps(topics), topic_field="description")
