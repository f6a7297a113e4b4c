import copy
import random

import pytest
from tokenizers import processors
from transformers import PreTrainedTokenizerFast

from rrarank.rerankers import pairs
from rrarank.rerankers.pairs import KEPT_CHARACTERS, PairEncoder, longest_first

WORDS = "what is a re rank of query document about cats dogs tea bread long short why how the cat dog sat mat".split()


def plain(tokenizer, query, texts, max_length):
    rows = tokenizer([query] * len(texts), texts, truncation="longest_first", max_length=max_length)
    names = [name for name in rows if name != "attention_mask"]
    return [{name: rows[name][i] for name in names} for i in range(len(texts))]


def as_lists(pairs):
    return [{name: list(values) for name, values in pair.items()} for pair in pairs]


def words(rng, most):
    return " ".join(rng.choices(WORDS, k=rng.randrange(most)))


def rebuilt(tokenizer, template=None):
    made = PreTrainedTokenizerFast(
        tokenizer_object=type(tokenizer.backend_tokenizer).from_str(tokenizer.backend_tokenizer.to_str())
    )
    made.cls_token, made.sep_token, made.pad_token = "[CLS]", "[SEP]", "[PAD]"
    if template:
        ids = [(token, made.convert_tokens_to_ids(token)) for token in ("[CLS]", "[SEP]", "tea")]
        made.backend_tokenizer.post_processor = processors.TemplateProcessing(
            pair=template, single="$A", special_tokens=ids
        )
    return made


@pytest.mark.parametrize("max_length", [9, 16, 17, 40, 64])
def test_pairs_are_those_of_the_tokenizer_for_any_lengths(max_length, tokenizer):
    rng = random.Random(max_length)
    encode = PairEncoder(copy.deepcopy(tokenizer), max_length)
    for _ in range(40):
        query, texts = words(rng, 30), [words(rng, 60) for _ in range(5)]
        assert as_lists(encode(query, texts)) == plain(tokenizer, query, texts, max_length)


@pytest.mark.parametrize("template", ["[CLS] $A:0 tea $B:1 tea [SEP]:1", "$A [SEP] [SEP] $B [SEP]", "tea tea $A $B"])
def test_a_prompt_in_the_post_processor_is_kept(template, tokenizer):
    prompted = rebuilt(tokenizer, template)
    encode = PairEncoder(prompted, 24)
    assert encode._template is not None
    for query, text in [("what is tea", "the cat " * 20), ("cats " * 20, "dog"), ("a", "b")]:
        assert as_lists(encode(query, [text])) == plain(rebuilt(tokenizer, template), query, [text], 24)


def test_an_order_that_ids_cannot_tell_is_left_to_the_tokenizer(tokenizer):
    swapped = rebuilt(tokenizer, "[CLS] $B [SEP] $A [SEP]")
    encode = PairEncoder(swapped, 24)
    assert encode._template is None
    assert as_lists(encode("what is tea", ["the cat"])) == plain(swapped, "what is tea", ["the cat"], 24)


def test_each_text_is_tokenised_once(tokenizer, monkeypatch):
    from rrarank.rerankers import pairs

    seen: list[str] = []
    tokenise = pairs.tokenise

    def seen_tokenise(tokenizer, texts):
        seen.extend(texts)
        return tokenise(tokenizer, texts)

    monkeypatch.setattr(pairs, "tokenise", seen_tokenise)
    encode = PairEncoder(rebuilt(tokenizer), 64)
    seen.clear()  # the probes
    encode("what is tea", ["the cat", "a dog", "the cat"])
    encode("why dogs", ["a dog", "the mat"])
    assert seen == ["what is tea", "the cat", "a dog", "why dogs", "the mat"]


def test_what_is_remembered_is_bounded(tokenizer):
    encode = PairEncoder(rebuilt(tokenizer), 64)
    long = "x" * 1_000_000
    for number in range(40):
        encode("what is tea", [f"{long}{number}"])
    assert sum(map(len, encode._known)) <= KEPT_CHARACTERS + 2_000_000


def test_no_text_is_no_pair(tokenizer):
    assert PairEncoder(rebuilt(tokenizer), 64)("what is tea", []) == []


@pytest.mark.parametrize(
    ("first", "second", "room", "kept"),
    [
        (3, 4, 7, (3, 4)),
        (3, 9, 7, (3, 4)),
        (9, 3, 7, (4, 3)),
        (9, 9, 7, (3, 4)),
        (8, 9, 7, (3, 4)),
        (9, 8, 7, (4, 3)),
        (0, 9, 7, (0, 7)),
    ],
)
def test_the_longer_text_gives_way(first, second, room, kept):
    assert longest_first(first, second, room) == kept


@pytest.mark.parametrize("text", ["cat sat " * 50_000, "x" * 200_000, "a" + " " * 200_000 + "mat", "dog" * 9_000])
def test_of_a_very_long_text_only_a_beginning_is_tokenised(text, tokenizer, monkeypatch):
    asked, tokenise = [], pairs.tokenise

    def counting(tokenizer, texts):
        asked.extend(texts)
        return tokenise(tokenizer, texts)

    monkeypatch.setattr(pairs, "tokenise", counting)
    encode = PairEncoder(tokenizer, 48)
    asked.clear()
    made = encode("the cat", [text, "short"])
    assert as_lists(made) == plain(tokenizer, "the cat", [text, "short"], 48)
    assert encode.cut == (len(tokenizer(text)["input_ids"]) > 40)
    if encode.cut:
        assert sum(map(len, asked)) < 10_000


def test_special_tokens_that_a_text_spells_are_read_as_words_where_asked(tokenizer):
    query, text = "the [SEP] cat", "a dog [CLS] sat [SEP]"
    [usual], [plainly] = (PairEncoder(tokenizer, 64, plain=asked)(query, [text]) for asked in (False, True))
    assert as_lists([usual]) == plain(tokenizer, query, [text], 64)
    specials = [tokenizer.cls_token_id, tokenizer.sep_token_id]
    assert [list(usual["input_ids"]).count(one) for one in specials] == [2, 4]
    assert [list(plainly["input_ids"]).count(one) for one in specials] == [1, 2]
    assert as_lists(PairEncoder(tokenizer, 64)(query, [text])) == as_lists([usual])  # the tokenizer is as before
