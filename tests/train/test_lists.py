"""What a student reads: which levels a label teaches, how lists are cut, and whose part of a pair each token is."""

import random
from copy import deepcopy
from dataclasses import replace
from itertools import chain

import pytest
import torch

from rrarank.data.types import Candidate, LabelledRanking, Query
from rrarank.errors import RrarankError
from rrarank.rerankers.backends.base import CrossEncoderConfig
from rrarank.rerankers.cross_encoder import CrossEncoder
from rrarank.train.lists import (
    Collator,
    TrainingList,
    check_fast_tokenizer,
    cut,
    epoch,
    punctuation,
    training_list,
)
from rrarank.train.term_control import CLS, DOCUMENT, PADDING, QUERY, SPECIAL


def label(listed="", missing="", unknown="", **provenance):
    """Docids and texts are letters, shown in alphabetical order."""
    shown = tuple(Candidate(letter, letter, 0.0) for letter in sorted(listed + missing + unknown))
    return LabelledRanking(
        Query("1", "query"), shown, tuple(listed), tuple(missing), tuple(unknown), provenance=provenance
    )


def taught(given, missing="hard-negative", seed=0):
    """Texts and levels, best first."""
    found = training_list(given, missing, random.Random(seed))
    return "".join(found.texts), found.levels


# -- levels ------------------------------------------------------------------------------------------------------------

LABEL = label(listed="ca", missing="db", unknown="e")  # the prompt showed a, b, c, d, e


def test_hard_negatives_are_tied_below_every_listed_document():
    assert taught(LABEL) == ("cadb", (2, 1, 0, 0))


def test_re_append_puts_missing_ones_below_in_the_order_shown():
    assert taught(LABEL, "re-append") == ("cabd", (4, 3, 2, 1))


def test_drop_leaves_missing_ones_out():
    assert taught(LABEL, "drop") == ("ca", (2, 1))


def test_random_puts_missing_ones_below_in_either_order():
    assert {taught(LABEL, "random", seed) for seed in range(20)} == {
        ("cabd", (4, 3, 2, 1)),
        ("cadb", (4, 3, 2, 1)),
    }
    assert taught(LABEL, "random", 7) == taught(LABEL, "random", 7)


@pytest.mark.parametrize("missing", ["hard-negative", "re-append", "drop", "random"])
def test_with_nothing_missing_the_treatments_are_one(missing):
    assert taught(label(listed="cab", unknown="e"), missing) == ("cab", (3, 2, 1))


def test_a_label_without_a_pair_teaches_nothing():
    rng = random.Random(0)
    assert training_list(label(listed="a", missing="b"), "drop", rng) is None
    assert training_list(label(missing="ab"), "hard-negative", rng) is None
    assert training_list(label(listed="a", unknown="b"), "hard-negative", rng) is None
    assert training_list(label(listed="a", missing="b"), "hard-negative", rng) is not None


def test_grades_of_the_teacher_make_ties():
    given = label(listed="cab", missing="d", grades={"a": 3, "b": 1, "c": 1})
    assert taught(given) == ("acbd", (3, 1, 1, 0))


def test_documents_without_a_grade_are_at_the_bottom_listed_or_not():
    assert taught(label(listed="cab", missing="d", unknown="e", grades={"d": 1})) == ("dcab", (1, 0, 0, 0))


def test_the_teachers_scores_come_along_in_the_lists_order():
    given = replace(LABEL, provenance={"scores": {"a": 0.5, "b": 0.1, "c": 0.9, "d": 0.2, "e": 0.3}})
    found = training_list(given, "hard-negative", random.Random(0))
    assert list(zip(found.texts, found.scores, strict=True)) == [("c", 0.9), ("a", 0.5), ("d", 0.2), ("b", 0.1)]


def test_scores_that_are_not_of_every_document_are_no_scores():
    given = replace(LABEL, provenance={"scores": {"a": 0.5, "b": 0.1, "c": 0.9}})
    assert training_list(given, "hard-negative", random.Random(0)).scores == ()
    assert training_list(given, "drop", random.Random(0)).scores == (0.9, 0.5)  # d was dropped


# -- cutting -----------------------------------------------------------------------------------------------------------

WHOLE = TrainingList(
    "query", tuple("abcdefghij"), tuple(range(10, 0, -1)), tuple(score / 10 for score in range(10, 0, -1))
)


@pytest.mark.parametrize("size", range(2, 12))
@pytest.mark.parametrize("seed", range(5))
def test_each_document_is_in_one_part_and_no_part_is_larger_than_asked(size, seed):
    parts = list(cut(WHOLE, size, random.Random(seed)))
    assert sorted(text for part in parts for text in part.texts) == list("abcdefghij")
    assert max(len(part.texts) for part in parts) <= size


@pytest.mark.parametrize("seed", range(5))
def test_every_part_spans_the_levels(seed):
    parts = list(cut(WHOLE, 4, random.Random(seed)))
    assert len(parts) == 3
    for neighbours in ("abc", "def", "ghi"):
        assert all(len(set(part.texts) & set(neighbours)) == 1 for part in parts)


def test_levels_and_scores_stay_with_their_documents_best_first():
    belongings = dict(zip(WHOLE.texts, zip(WHOLE.levels, WHOLE.scores, strict=True), strict=True))
    for part in cut(WHOLE, 4, random.Random(0)):
        assert part.query == "query"
        assert [belongings[text] for text in part.texts] == list(zip(part.levels, part.scores, strict=True))
        assert list(part.levels) == sorted(part.levels, reverse=True)


def test_a_short_list_stays_whole():
    assert list(cut(WHOLE, 10, random.Random(0))) == [WHOLE]


def test_parts_without_a_pair_are_left_out():
    one_relevant = TrainingList("query", tuple("abcdef"), (1, 0, 0, 0, 0, 0))
    parts = list(cut(one_relevant, 2, random.Random(0)))
    assert [len(part.texts) for part in parts] == [2]
    assert parts[0].texts[0] == "a"


# -- epochs ------------------------------------------------------------------------------------------------------------

WHOLES = [replace(WHOLE, query=f"query {number}") for number in range(5)]


def test_the_same_seed_and_number_give_the_same_lists():
    assert epoch(WHOLES, 4, seed=1, number=0) == epoch(WHOLES, 4, seed=1, number=0)


@pytest.mark.parametrize("other", [(1, 1), (2, 0), (11, 0)], ids=str)
def test_another_seed_or_number_gives_another_order_and_another_cut(other):
    first, second = epoch(WHOLES, 4, 1, 0), epoch(WHOLES, 4, *other)
    assert [one.query for one in first] != [one.query for one in second]
    assert {(one.query, one.texts) for one in first} != {(one.query, one.texts) for one in second}


def test_an_epoch_holds_each_document_of_each_query_once():
    seen = [(one.query, text) for one in epoch(WHOLES, 4, 0, 0) for text in one.texts]
    assert len(seen) == len(set(seen)) == 50


def test_an_epoch_is_the_same_in_every_process():
    """Each hashes texts in its own way; a training that goes on after a crash must see the lists it would have seen."""
    found = [f"{one.query[-1]} {''.join(one.texts)}" for one in epoch(WHOLES[:2], 4, seed=1, number=0)]
    assert found == ["0 cfi", "1 ceh", "1 afi", "0 adh", "0 begj", "1 bdgj"]  # as another process told


# -- tokens ------------------------------------------------------------------------------------------------------------

LISTS = [
    TrainingList("the cat", ("tea", "the cat sat on"), (1.0, 0.0)),
    TrainingList("tea", ("short", "dogs and cats"), (2.0, 1.0), (0.75, 0.25)),
]


def rows(batch, name):
    """Place -> that pair's values, as they stand in the chunks."""
    found = {
        place: row
        for chunk in batch["chunks"]
        for place, row in zip(chunk["places"].tolist(), chunk[name].tolist(), strict=True)
    }
    return [found[place] for place in sorted(found)]


@pytest.fixture
def left_tokenizer(tokenizer):
    changed = deepcopy(tokenizer)
    changed.padding_side = "left"
    return changed


def test_roles_tell_query_document_and_special_tokens(tokenizer):
    first = LISTS[0]
    batch = Collator(tokenizer, 64, 16)([first])
    words = [tokenizer.convert_ids_to_tokens(ids) for ids in rows(batch, "input_ids")]
    assert words[0] == ["[CLS]", "the", "cat", "[SEP]", "tea", "[SEP]", "[PAD]", "[PAD]", "[PAD]", "[PAD]"]
    assert rows(batch, "roles")[0] == [CLS, QUERY, QUERY, SPECIAL, DOCUMENT, SPECIAL] + 4 * [PADDING]
    assert words[1][3:] == ["[SEP]", "the", "cat", "sat", "o", "##n", "[SEP]"]
    assert rows(batch, "roles")[1] == [CLS, QUERY, QUERY, SPECIAL] + 5 * [DOCUMENT] + [SPECIAL]


def test_roles_move_with_padding_on_the_left(left_tokenizer):
    batch = Collator(left_tokenizer, 64, 16)(LISTS[:1])
    assert rows(batch, "roles")[0] == 4 * [PADDING] + [CLS, QUERY, QUERY, SPECIAL, DOCUMENT, SPECIAL]
    assert rows(batch, "attention_mask")[0] == 4 * [0] + 6 * [1]


@pytest.mark.parametrize("chunk", [1, 2, 3, 16])
def test_chunks_hold_every_pair_once_shortest_first_and_no_wider_than_their_longest(tokenizer, chunk):
    chunks = Collator(tokenizer, 64, chunk)(LISTS)["chunks"]
    lengths = [one["attention_mask"].sum(1).tolist() for one in chunks]
    assert [len(found) for found in lengths] == {1: [1] * 4, 2: [2, 2], 3: [3, 1], 16: [4]}[chunk]
    assert [*chain(*lengths)] == sorted(chain(*lengths))
    assert [one["input_ids"].shape[1] for one in chunks] == [max(found) for found in lengths]
    assert sorted(torch.cat([one["places"] for one in chunks]).tolist()) == [0, 1, 2, 3]


def test_places_follow_the_lists_and_their_documents(tokenizer):
    batch = Collator(tokenizer, 64, 3)(LISTS)
    texts = [tokenizer.decode(ids, skip_special_tokens=True) for ids in rows(batch, "input_ids")]
    assert texts == ["the cat tea", "the cat the cat sat on", "tea short", "tea dogs and cats"]


def test_targets_are_the_teachers_scores_or_else_the_levels(tokenizer):
    batch = Collator(tokenizer, 64, 16)(LISTS)
    assert [level.tolist() for level in batch["levels"]] == [[1, 0], [2, 1]]
    assert [target.tolist() for target in batch["targets"]] == [[1, 0], [0.75, 0.25]]


@pytest.mark.parametrize("query", ["the cat", "why is the cat long " * 8], ids=["short", "long"])
def test_pairs_are_cut_as_the_reranker_cuts_them(tokenizer, cross_encoder_folder, query):
    texts = ("tea", "the cat sat " * 10)
    reranker = CrossEncoder(CrossEncoderConfig(model=str(cross_encoder_folder), device="cpu", max_length=16))
    batch = Collator(tokenizer, 16, 1)([TrainingList(query, texts, (1.0, 0.0))])  # one a chunk: no padding
    names = ("input_ids", "token_type_ids")
    ours = [dict(zip(names, row, strict=True)) for row in zip(*(rows(batch, name) for name in names), strict=True)]
    assert ours == [{name: list(row[name]) for name in names} for row in reranker.encode(query, texts)]
    assert len(ours[1]["input_ids"]) == 16


def test_punctuation_and_special_tokens_are_known(tokenizer):
    marked = deepcopy(tokenizer)
    marked.add_tokens([".", "##?!", "…", "、", "a.", "3"])
    found = set(marked.convert_ids_to_tokens(sorted(punctuation(marked))))
    assert found == {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "##?!", "…", "、"}


def test_a_tokenizer_that_cannot_tell_query_from_document_is_an_error(tokenizer):
    from transformers import ByT5Tokenizer

    check_fast_tokenizer(tokenizer)
    with pytest.raises(RrarankError, match="needs a fast tokenizer"):
        check_fast_tokenizer(ByT5Tokenizer())
