"""Token Selection and the Term Control Layer: cosines and readouts worked out apart, and what cannot change a score."""

from math import inf, sqrt

import pytest
import torch
from torch.nn.functional import gelu, layer_norm

from rrarank.train.term_control import (
    CLS,
    DOCUMENT,
    PADDING,
    QUERY,
    SPECIAL,
    SelectionConfig,
    TermControl,
    TermControlConfig,
    closeness,
    select,
)

READOUTS = ["pool", "cls"]

# -- closeness ---------------------------------------------------------------------------------------------------------

#                        [CLS]   query           [SEP]   document: .6, .8 and -1, 0 with the query; a full stop
HIDDEN = torch.tensor([[[1, 1], [1, 0], [0, 2], [9, 9], [3, 4], [-7, 0], [1, 0]]]).float()
IN_QUERY = torch.tensor([[False, True, True, False, False, False, False]])
IN_DOCUMENT = torch.tensor([[False, False, False, False, True, True, False]])  # no full stop


def test_closeness_is_the_greatest_cosine_with_a_query_token():
    assert closeness(HIDDEN, IN_QUERY, IN_DOCUMENT)[0].tolist() == pytest.approx([-inf] * 4 + [0.8, 0.0, -inf])


def test_a_query_token_that_may_not_select_is_no_measure():
    first_alone = IN_QUERY & (torch.arange(7) == 1)
    assert closeness(HIDDEN, first_alone, IN_DOCUMENT)[0, 4:].tolist() == pytest.approx([0.6, -1.0, -inf])


def test_each_pair_is_compared_with_its_own_query():
    two = closeness(HIDDEN.repeat(2, 1, 1), torch.cat([IN_QUERY, IN_QUERY & False]), IN_DOCUMENT.repeat(2, 1))
    assert two.tolist() == [closeness(HIDDEN, IN_QUERY, IN_DOCUMENT)[0].tolist(), [-inf] * 7]


def test_no_gradient_comes_back_through_closeness():
    hidden = HIDDEN.clone().requires_grad_()
    found = closeness(hidden, IN_QUERY, IN_DOCUMENT)
    assert not found.requires_grad
    assert not select(SelectionConfig(), found, IN_DOCUMENT, IN_DOCUMENT).requires_grad


def test_mixed_precision_does_not_round_the_cosines():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert closeness(HIDDEN, IN_QUERY, IN_DOCUMENT)[0, 4].item() == pytest.approx(0.8, abs=1e-6)


# -- selection ---------------------------------------------------------------------------------------------------------

# two documents of one list; the last token of each is punctuation
CLOSE = torch.tensor([[0.8, 0.3, 0.2, 0.1, 0.99], [0.05, 0.15, 0.2, 0.1, 0.99]])
MAY = torch.tensor([[True, True, True, True, False]] * 2)
SAME = torch.tensor([[True, False, False, False, True], [False, False, False, False, True]])


def chosen(close=CLOSE, may=MAY, generator=None, **config):
    return [
        "".join("01"[flag] for flag in row)
        for row in select(SelectionConfig(**config), close, may, SAME, generator).tolist()
    ]


def test_list_selects_above_a_bound_of_the_whole_list_so_a_document_without_matches_selects_nothing():
    # mean 1.9 / 8 = .2375, standard deviation sqrt(.855 / 8 - .2375^2) = .2247
    assert chosen() == ["10000", "00000"]  # above .3498
    assert chosen(deviations=0.0) == ["11000", "00000"]  # above .2375
    assert chosen(deviations=-0.5) == ["11100", "01100"]  # above .1252
    assert chosen(deviations=-0.6) == ["11100", "01100"]  # above .1027; with n - 1 it were .0934, below two more


def test_exact_selects_the_querys_own_tokens():
    assert chosen(rule="exact") == ["10000", "00000"]


def test_all_selects_every_token_that_may_be_selected_and_none_nothing():
    assert chosen(rule="all") == ["11110", "11110"]
    assert chosen(rule="none") == ["00000", "00000"]


def test_random_selects_as_many_of_each_document_as_list_would_anywhere_in_it():
    generator = torch.Generator().manual_seed(0)
    drawn = [chosen(rule="random", deviations=-0.5, generator=generator) for _ in range(100)]
    for document, count in enumerate([3, 2]):  # as `list` above
        rows = [row[document] for row in drawn]
        assert {row.count("1") for row in rows} == {count}
        assert {place for row in rows for place in range(5) if row[place] == "1"} == {0, 1, 2, 3}


def test_random_draws_the_same_from_the_same_generator():
    first, again = (chosen(rule="random", generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert first == again


@pytest.mark.parametrize("rule", ["list", "random"])
def test_where_no_query_token_may_select_nothing_is_selected(rule):
    assert chosen(torch.full((2, 5), -inf), rule=rule) == ["00000", "00000"]


@pytest.mark.parametrize("rule", ["list", "exact", "all", "random"])
def test_a_document_of_punctuation_alone_selects_nothing(rule):
    may = torch.tensor([[True, True, True, True, False], [False] * 5])
    assert chosen(may=may, rule=rule)[1] == "00000"
    assert chosen(may=may & False, rule=rule) == ["00000", "00000"]


# -- the layer ---------------------------------------------------------------------------------------------------------

#                     [CLS] query       [SEP]    document: the first and third token are selected       [SEP]
ROLES = torch.tensor([[CLS, QUERY, QUERY, SPECIAL, DOCUMENT, DOCUMENT, DOCUMENT, DOCUMENT, SPECIAL, PADDING]])
SELECTED = torch.tensor([[False] * 4 + [True, False, True, False, False, False]])
TERMS, OTHERS = [1, 2, 4, 6], [3, 5, 7, 8, 9]


def term_control(readout, width=4, heads=2):
    torch.manual_seed(1)
    return TermControl(TermControlConfig(readout=readout), width, heads).eval()


def states(seed=0):
    return torch.randn(1, 10, 4, generator=torch.Generator().manual_seed(seed))


def score(module, hidden, roles=ROLES, selected=SELECTED):
    return module(hidden, roles, selected).item()


def attention(layer, tokens):
    """(tokens, width): two heads, over these tokens and no others."""
    weights = layer.self_attn.in_proj_weight, layer.self_attn.in_proj_bias
    parts = (tokens @ weights[0].T + weights[1]).split(4, dim=1)
    heads = [
        (query @ key.T / sqrt(2)).softmax(1) @ value
        for query, key, value in zip(*(part.split(2, dim=1) for part in parts), strict=True)
    ]
    return layer.self_attn.out_proj(torch.cat(heads, 1))


def transformer_layer(layer, tokens):
    """(tokens, width): attention and a feed-forward net, each added to what it read, then normalised."""
    once = layer_norm(tokens + attention(layer, tokens), (4,), layer.norm1.weight, layer.norm1.bias)
    twice = once + layer.linear2(gelu(layer.linear1(once)))
    return layer_norm(twice, (4,), layer.norm2.weight, layer.norm2.bias)


def by_hand(module, hidden):
    """The score from [CLS], query and selected tokens alone, as if there were no others."""
    tokens = hidden[0, [0, *TERMS]]
    read = transformer_layer(module.layer, tokens)
    if module.readout == "cls":
        return module.score(read[0]).item()
    weights = module.attend(read[1:]).softmax(0)
    return module.score((weights * read[1:]).sum(0)).item()


@pytest.mark.parametrize("readout", READOUTS)
def test_the_score_equals_a_computation_without_the_other_tokens(readout):
    module = term_control(readout)
    for seed in range(3):
        assert score(module, states(seed)) == pytest.approx(by_hand(module, states(seed)), abs=1e-5)


@pytest.mark.parametrize("readout", READOUTS)
def test_tokens_that_are_neither_cls_nor_query_nor_selected_change_nothing(readout):
    module, hidden = term_control(readout), states()
    hidden[0, OTHERS] = 100 * torch.randn(5, 4)
    assert score(module, hidden) == score(module, states())


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("place", TERMS)
def test_each_query_token_and_each_selected_one_counts(readout, place):
    module, hidden = term_control(readout), states()
    hidden[0, place] += torch.tensor([1.0, -1.0, 0.5, 0.0])
    assert abs(score(module, hidden) - score(module, states())) > 1e-4


@pytest.mark.parametrize("readout", READOUTS)
def test_cls_is_found_where_padding_stands_before_it(readout):
    moved = [part.roll(1, dims=1) for part in (states(), ROLES, SELECTED)]
    assert moved[1][0, :2].tolist() == [PADDING, CLS]
    assert score(term_control(readout), *moved) == pytest.approx(score(term_control(readout), states()), abs=1e-6)


@pytest.mark.parametrize("readout", READOUTS)
def test_a_row_with_nothing_selected_has_a_score_and_gradients(readout):
    module, hidden = term_control(readout), states().requires_grad_()
    for roles in (ROLES, ROLES.where(ROLES != QUERY, SPECIAL)):  # the second one without a query token, too
        found = module(hidden, roles, SELECTED & False)
        found.backward()
        assert found.isfinite().all()
        assert hidden.grad.isfinite().all()


@pytest.mark.parametrize("readout", READOUTS)
def test_a_score_does_not_depend_on_the_rest_of_the_batch_or_on_gradients_being_kept(readout):
    module = term_control(readout)
    batch = torch.cat([states(0), states(1)]), ROLES.repeat(2, 1), torch.cat([SELECTED, SELECTED & False])
    together = module(*batch).tolist()
    apart = [score(module, states(0)), score(module, states(1), selected=SELECTED & False)]
    assert together == pytest.approx(apart, abs=1e-6)
    with torch.inference_mode():
        assert module(*batch).tolist() == pytest.approx(together, abs=1e-6)


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16], ids=str)
def test_mixed_precision_gives_the_same_score_but_for_rounding(readout, precision):
    module = term_control(readout)
    with torch.autocast("cpu", dtype=precision):
        found = module(states(), ROLES, SELECTED)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(score(module, states()), abs=0.03)
