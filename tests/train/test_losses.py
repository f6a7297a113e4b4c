"""Losses: their values worked out by hand, their signs, the lists that have nothing to teach, and other libraries'."""

from itertools import combinations
from math import exp, log

import pytest
import torch
from sentence_transformers.cross_encoder import losses as peers
from torch import nn

from rrarank.train.losses import LOSSES, LossConfig, listnet, margin_mse, ranknet, ranknet_parts
from rrarank.train.student import list_loss

SCORES = [1.0, 2.0, 0.0, 3.0]
LEVELS = [2.0, 1.0, 0.0, 0.0]  # a > b > c = d, which are missing


def doubles(values):
    return torch.tensor(values, dtype=torch.float64)


def loss(name, scores, levels, **options):
    return LOSSES[name](doubles(scores), doubles(levels), **options).item()


def softplus(x):
    return log(1 + exp(x))


# -- ranknet -----------------------------------------------------------------------------------------------------------


def test_ranknet_is_the_mean_of_listed_pairs_and_that_of_pairs_with_missing_ones():
    among, missing = ranknet_parts(doubles(SCORES), doubles(LEVELS))
    assert among.item() == pytest.approx(softplus(2 - 1))  # b - a: 1.3133
    assert missing.item() == pytest.approx(
        (softplus(0 - 1) + softplus(3 - 1) + softplus(0 - 2) + softplus(3 - 2))
        / 4  # c - a, d - a, c - b, d - b: 0.9701
    )
    assert loss("ranknet", SCORES, LEVELS) == pytest.approx(1.3133 + 0.9701, abs=1e-4)


def test_mu_weighs_the_part_of_the_missing_ones():
    assert loss("ranknet", SCORES, LEVELS, mu=0.5) == pytest.approx(1.3133 + 0.5 * 0.9701, abs=1e-4)
    assert loss("ranknet", SCORES, LEVELS, mu=0.0) == pytest.approx(softplus(1))


def test_tied_documents_give_no_pair():
    assert loss("ranknet", [1.0, 2.0, 0.0], [2.0, 2.0, 1.0]) == pytest.approx((softplus(-1) + softplus(-2)) / 2)


def test_ranknet_has_no_part_where_it_has_no_pairs():
    parts = {
        levels: [part.item() for part in ranknet_parts(doubles([1.0, 2.0]), doubles(levels))]
        for levels in [(2.0, 1.0), (1.0, 0.0), (1.0, 1.0), (0.0, 0.0)]
    }
    assert parts == {
        (2.0, 1.0): [pytest.approx(softplus(1)), 0],  # nothing missing
        (1.0, 0.0): [0, pytest.approx(softplus(1))],  # one listed
        (1.0, 1.0): [0, 0],
        (0.0, 0.0): [0, 0],
    }


# -- the others --------------------------------------------------------------------------------------------------------


def test_infonce_is_the_best_documents_share_of_the_softmax():
    assert loss("infonce", SCORES, LEVELS) == pytest.approx(-log(exp(1) / (exp(1) + exp(2) + exp(0) + exp(3))))


def test_infonce_takes_each_of_several_best_ones_against_all_below():
    by_hand = [-log(exp(1) / (exp(1) + exp(0))), -log(exp(2) / (exp(2) + exp(0)))]
    assert loss("infonce", [1.0, 2.0, 0.0], [5.0, 5.0, 0.0]) == pytest.approx(sum(by_hand) / 2)


def test_margin_mse_is_the_mean_over_all_pairs_of_squared_differences_of_margins():
    # margins a-b, a-c, b-c: ours -1, 1, 2; the teacher's 2, 3, 1
    assert loss("margin-mse", [1.0, 2.0, 0.0], [3.0, 1.0, 0.0]) == pytest.approx((9 + 4 + 1) / 3)


def test_margin_mse_equals_the_loop_over_pairs():
    scores, targets = torch.randn(2, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    pairs = combinations(range(9), 2)
    squares = [((scores[i] - scores[j]) - (targets[i] - targets[j])).item() ** 2 for i, j in pairs]
    assert margin_mse(scores, targets).item() == pytest.approx(sum(squares) / 36)


def test_listnet_is_the_divergence_between_the_two_softmaxes():
    # teacher: 1/2, 1/4, 1/4; ours: 1/4, 1/2, 1/4; sum of p log(p / q) = 1/2 log 2 - 1/4 log 2
    assert loss("listnet", [0.0, log(2), 0.0], [log(2), 0.0, 0.0]) == pytest.approx(log(2) / 4)
    assert loss("listnet", [5.0, 4.0, 3.0], [2.0, 1.0, 0.0]) == pytest.approx(0)


def test_bce_asks_each_document_whether_it_is_relevant():
    # sigmoids 1/2, 3/4, 1/4; the third one is missing
    assert loss("bce", [0.0, log(3), -log(3)], [2.0, 1.0, 0.0]) == pytest.approx(-(log(1 / 2) + 2 * log(3 / 4)) / 3)


# -- all of them -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOSSES)
def test_raising_the_better_and_lowering_the_missing_one_lowers_the_loss(name):
    scores = torch.zeros(3, requires_grad=True)
    (slope,) = torch.autograd.grad(LOSSES[name](scores, torch.tensor([2.0, 1.0, 0.0])), scores)
    assert slope[0] < 0 < slope[2]
    assert loss(name, [0.1, 0.0, 0.0], [2.0, 1.0, 0.0]) < loss(name, [0.0, 0.0, 0.0], [2.0, 1.0, 0.0])


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(
    "scores", [[0.0, 0.0, 0.0], [1e4, 0.0, -1e4], [-1e4, 0.0, 1e4]], ids=["equal", "right", "wrong"]
)
@pytest.mark.parametrize("levels", [[3, 2, 1], [1, 0, 0], [2, 2, 0], [1, 1, 1], [0, 0, 0]], ids=str)
def test_loss_and_gradient_are_finite(name, scores, levels):
    scores = torch.tensor(scores, requires_grad=True)
    value = LOSSES[name](scores, torch.tensor(levels).float())
    (slope,) = torch.autograd.grad(value, scores)
    assert value.isfinite()
    assert value >= 0
    assert slope.isfinite().all()


@pytest.mark.parametrize("name", ["ranknet", "infonce"])
@pytest.mark.parametrize("levels", [[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]], ids=["listed", "missing"])
def test_where_all_are_tied_there_is_no_order_to_learn(name, levels):
    assert loss(name, [1.0, 2.0, 0.0], levels) == 0


@pytest.mark.parametrize("name", LOSSES)
def test_one_document_is_a_list_too(name):
    scores = torch.tensor([2.0], requires_grad=True)
    LOSSES[name](scores, torch.tensor([1.0])).backward()
    assert scores.grad.isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
def test_the_order_in_which_documents_are_given_does_not_matter(name):
    assert loss(name, SCORES[::-1], LEVELS[::-1]) == pytest.approx(loss(name, SCORES, LEVELS))


# -- the teacher's scores ----------------------------------------------------------------------------------------------

TARGETS = [0.9, 0.5, 0.4, 0.1]


@pytest.mark.parametrize(("name", "function"), [("margin-mse", margin_mse), ("listnet", listnet)])
def test_two_losses_learn_from_the_teachers_scores_times_the_scale(name, function):
    found = list_loss(LossConfig(name, scale=20.0), *map(doubles, (SCORES, LEVELS, TARGETS)))
    assert found == function(doubles(SCORES), 20 * doubles(TARGETS))


@pytest.mark.parametrize("name", sorted(LOSSES.keys() - {"margin-mse", "listnet"}))
def test_the_others_learn_from_levels_alone(name):
    found = list_loss(LossConfig(name, scale=20.0), *map(doubles, (SCORES, LEVELS, TARGETS)))
    assert found.item() == loss(name, SCORES, LEVELS)


def test_options_reach_the_loss_and_infonce_is_added():
    found = list_loss(LossConfig(options={"mu": 0.5}, infonce=0.1), *map(doubles, (SCORES, LEVELS, LEVELS)))
    expected = ranknet(doubles(SCORES), doubles(LEVELS), mu=0.5).item() + 0.1 * loss("infonce", SCORES, LEVELS)
    assert found.item() == pytest.approx(expected)


# -- beside sentence-transformers --------------------------------------------------------------------------------------


class ScoresAsTexts(nn.Module):
    """In the place of a CrossEncoder: a document's text is its score."""

    num_labels, device = 1, torch.device("cpu")

    def preprocess(self, pairs, **_):
        return {"scores": torch.tensor([float(text) for _, text in pairs])}

    def forward(self, inputs):
        return inputs


def peer_loss(kind, scores, labels, **options):
    inputs = [["query"], [[repr(score) for score in scores]]]
    return kind(ScoresAsTexts(), **options)(inputs, [torch.tensor(labels)]).item()


def test_ranknet_equals_sentence_transformers_which_is_in_bits():
    levels = [4.0, 3.0, 2.0, 1.0]
    found = peer_loss(peers.RankNetLoss, SCORES, levels)
    assert loss("ranknet", SCORES, levels) == pytest.approx(log(2) * found, rel=1e-5)


def test_listnet_equals_sentence_transformers_less_the_teachers_entropy():
    shares = [exp(level) / sum(map(exp, LEVELS)) for level in LEVELS]
    entropy = -sum(share * log(share) for share in shares)
    found = peer_loss(peers.ListNetLoss, SCORES, LEVELS)
    assert loss("listnet", SCORES, LEVELS) == pytest.approx(found - entropy, rel=1e-5)
