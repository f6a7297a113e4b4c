"""A cross-encoder that starts where its bi-encoder stands: before the first step it ranks as that does.

The two towers of a BERT bi-encoder become one BERT over `[CLS] query [SEP] document [SEP]`, with one layer more:

1. Two directions of the residual stream that the bi-encoder hardly uses are set apart: one carries the segment of a
   token (-1 query, +1 document), the other a constant. Layer normalisation scales both alike, token by token.
2. From them, the two least needed dimensions of every head make `segment * segment - constant * constant`: exactly 0
   within a segment, far below 0 across, so that query and document are read apart, as by two towers.
3. The layer on top averages the tokens of either segment at [CLS], half of the heads for each, and its feed-forward
   layer multiplies the averages, (a+b)^2 - (a-b)^2 = 4ab with gelu(x) + gelu(-x) ~ x^2 sqrt(2/pi) for small x: the dot
   product of the two embeddings, in the half of their dimensions in which queries and documents vary most. Pooler and
   classifier pass it on.

All of it are plain weights of a `BertForSequenceClassification`, and training changes all of them. Ours, not published.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize
from transformers import BertForSequenceClassification

from rrarank.data.types import blocks
from rrarank.errors import RrarankError

Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class GraftConfig:
    """How a bi-encoder becomes a cross-encoder.

    Args:
        apart: half of the logits that attention across segments loses, for a token of median scale.
        texts: queries and documents, so many each, by which the least needed dimensions are found.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}  # an unknown key is an error

    apart: Amount = 6.0
    texts: Annotated[int, Field(ge=2)] = 400


FLAG = 0.15  # of the segment and the constant, beside word embeddings of norm about 1.4
STEADY = 0.25  # of the dimensions: those whose scale the layer normalisations change most alike
LOUD = 8.0  # how far the two averages drown what [CLS] itself holds
SMALL = 0.25  # sums at which gelu is squared
SHUT = 8.0  # logits that the wrong segment loses in the layer on top


@torch.no_grad()
def graft(
    bi_encoder: Any, tokenizer: Any, queries: Sequence[str], documents: Sequence[str], config: GraftConfig
) -> BertForSequenceClassification:
    """The cross-encoder of a bi-encoder with mean pooling and a cosine; one label, one layer more.

    Args:
        bi_encoder: a `BertModel` with gelu; is left as it is.
        queries, documents: what it will read, for the statistics; they need not be paired.

    Raises:
        RrarankError: a model that is not built so.
    """
    _check_other(bi_encoder)
    model = _taller(bi_encoder)
    texts = [*queries, *documents]
    lanes = _lanes(bi_encoder, _states(bi_encoder, tokenizer, texts))
    _clear(model.bert, lanes)
    states = _states(model.bert, tokenizer, texts)
    for number, layer in enumerate(model.bert.encoder.layer[:-1]):
        _part(layer.attention.self, states[2 * number], lanes[2 * number + 1], config.apart)
    held, asked = _embed(bi_encoder, tokenizer, documents), _embed(bi_encoder, tokenizer, queries)
    place = _compare(model, states[-3], lanes[-1], held, asked)  # as the top layer meets them
    closest = (normalize(asked) @ normalize(held).T).argmax(1)
    pairs = [*zip(queries, documents, strict=False), *zip(queries, [documents[i] for i in closest], strict=True)]
    _read_out(model, place, _products(model, tokenizer, pairs, place))
    return model.eval()


# -- the two lanes ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Lanes:
    """Where segment and constant travel in the residual stream at one place, (2, width) each.

    Args:
        carry: what holds them: a state is ... + segment * carry[0] + constant * carry[1].
        read: what reads them: read @ carry.T is the identity.
    """

    carry: Tensor
    read: Tensor


def _check_other(bi_encoder: Any) -> None:
    config = bi_encoder.config
    if config.model_type != "bert" or config.hidden_act != "gelu" or config.intermediate_size < 2 * config.hidden_size:
        raise RrarankError(
            f"graft: for BERT with gelu and a feed-forward layer of twice its width, not {config.model_type} with "
            f"{config.hidden_act} and {config.intermediate_size}; leave it out"
        )


def _taller(bi_encoder: Any) -> BertForSequenceClassification:
    config = deepcopy(bi_encoder.config)
    config.num_hidden_layers, config.num_labels = config.num_hidden_layers + 1, 1
    model = BertForSequenceClassification(config).eval()
    model.bert.load_state_dict(bi_encoder.state_dict(), strict=False)  # less the pooler, if it has none
    return model


def _norms(bert: Any) -> list[nn.LayerNorm]:
    """In the order of the stream: the embeddings', and two a layer."""
    layers = ((layer.attention.output.LayerNorm, layer.output.LayerNorm) for layer in bert.encoder.layer)
    return [bert.embeddings.LayerNorm, *(norm for pair in layers for norm in pair)]


def _lanes(bi_encoder: Any, states: Sequence[Tensor]) -> list[_Lanes]:
    """Before the first layer normalisation and after each, by the weights' scales and the variance of the states.

    A vector v behind normalisations of scales g1, g2, … lies at (g1 g2 …) v, and v / (g1 g2 …) reads it alone, if it is
    orthogonal to what the normalisations subtract, the mean.
    """
    scales = [torch.ones(bi_encoder.config.hidden_size)]
    for norm in _norms(bi_encoder):
        scales.append(scales[-1] * norm.weight)
    uneven = torch.stack([(scale.abs() / scale.abs().median()).log().abs() for scale in scales]).max(0).values
    steady = uneven.argsort()[: max(round(STEADY * len(uneven)), 2 * len(scales) + 2)]
    used = torch.zeros(len(steady), len(steady))  # the variance that a lane would displace
    for scale, state in zip(scales[1:], states, strict=True):
        reading = state[:, steady] / scale[steady]
        used += torch.cov(reading.T) * (scale**2).mean()
    means = torch.stack([1 / scale[steady] for scale in scales])
    free = torch.linalg.svd(means).Vh[len(scales) :].T  # (steady, what is orthogonal to all means)
    quiet = free @ torch.linalg.eigh(free.T @ used @ free).eigenvectors[:, :2]  # (steady, 2), orthonormal
    lanes = torch.zeros(2, len(uneven))
    lanes[:, steady] = quiet.T
    return [_Lanes(lanes * scale, lanes / scale.where(scale != 0, 1)) for scale in scales]  # no lane where one is 0


def _clear(bert: Any, lanes: Sequence[_Lanes]) -> None:
    """Let the embeddings fill the lanes, and all that follows neither read nor write them."""
    own = lanes[0].carry
    for table in (bert.embeddings.word_embeddings, bert.embeddings.position_embeddings):
        table.weight -= table.weight @ own.T @ own
    plain = bert.embeddings.token_type_embeddings.weight[0]
    plain = plain - plain @ own.T @ own + FLAG * own[1]
    bert.embeddings.token_type_embeddings.weight.copy_(torch.stack([plain - FLAG * own[0], plain + FLAG * own[0]]))
    for norm, lane in zip(_norms(bert), lanes[1:], strict=False):
        norm.bias.sub_((lane.read @ norm.bias) @ lane.carry)
    for number, layer in enumerate(bert.encoder.layer[:-1]):
        before, between = lanes[2 * number + 1], lanes[2 * number + 2]
        attention = layer.attention.self
        for reader in (attention.query, attention.key, attention.value):
            _ignore(reader, before)
        _spare(layer.attention.output.dense, before)
        _ignore(layer.intermediate.dense, between)
        _spare(layer.output.dense, between)


def _ignore(reader: nn.Linear, lane: _Lanes) -> None:
    reader.weight -= reader.weight @ lane.carry.T @ lane.read


def _spare(writer: nn.Linear, lane: _Lanes) -> None:
    writer.weight -= lane.carry.T @ (lane.read @ writer.weight)
    writer.bias.sub_((lane.read @ writer.bias) @ lane.carry)


# -- two towers in one ------------------------------------------------------------------------------------------------


def _part(attention: Any, states: Tensor, lane: _Lanes, apart: float) -> None:
    """Give up two dimensions of each head for logits that are 0 within a segment and about -2 `apart` across."""
    width, size = states.shape[1], attention.attention_head_size
    known = torch.cat([states, torch.ones(len(states), 1)], 1)  # (tokens, width + 1): the bias is a weight, too
    values, vectors = torch.linalg.eigh(known.T @ known / len(known))
    root = values.clamp(min=1e-8).sqrt()
    spread, gather = vectors * root @ vectors.T, vectors / root @ vectors.T
    strength = math.sqrt(apart * math.sqrt(size)) / float((states @ lane.read[0]).abs().median())
    for head in range(attention.num_attention_heads):
        rows = slice(head * size, (head + 1) * size)
        asked = torch.cat([attention.query.weight[rows], attention.query.bias[rows, None]], 1)
        held = torch.cat([attention.key.weight[rows], attention.key.bias[rows, None]], 1)
        # the logits of typical states, as a sum of `size` products from the largest to the smallest
        left, left_sizes = torch.linalg.qr(spread @ asked.T)
        right, right_sizes = torch.linalg.qr(spread @ held.T)
        u, sizes, v = torch.linalg.svd(left_sizes @ right_sizes.T)
        asked, held = (sizes.sqrt()[:, None] * (vectors_of.T @ gather) for vectors_of in (left @ u, right @ v.T))
        asked[-2:], held[-2:] = 0, 0
        asked[-2:, :width] = strength * lane.read * torch.tensor([[1.0], [-1.0]])
        held[-2:, :width] = strength * lane.read
        for part, rank in ((attention.query, asked), (attention.key, held)):
            part.weight[rows], part.bias[rows] = rank[:, :width], rank[:, width]


# -- the layer on top -------------------------------------------------------------------------------------------------


def _compare(
    model: BertForSequenceClassification, states: Tensor, lane: _Lanes, documents: Tensor, queries: Tensor
) -> int:
    """Build the top layer; returns the dimension in which the dot product lies at [CLS].

    The residual stream there: the query's average in the first dimensions, the document's in as many after them, and
    two dimensions that neither uses.
    """
    width = states.shape[1]
    kept = width // 2 - 1
    layer = model.bert.encoder.layer[-1]
    middle = documents.mean(0)
    asked, held = _factors(queries, documents - middle, kept)
    _average(layer.attention.self, states, lane, (asked, held), middle)
    output = layer.attention.output
    output.dense.weight.zero_(), output.dense.bias.zero_()
    loud = LOUD * math.sqrt(kept) / float((queries @ asked.T).norm(dim=1).mean())
    places = torch.arange(kept)
    output.dense.weight[places, places] = loud
    output.dense.weight[kept + places, width // 2 + places] = loud
    _multiply(layer.intermediate.dense, layer.output.dense, kept)
    for norm in (output.LayerNorm, layer.output.LayerNorm):
        norm.weight.fill_(1), norm.bias.zero_()
    return 2 * kept


def _average(attention: Any, states: Tensor, lane: _Lanes, factors: Sequence[Tensor], middle: Tensor) -> None:
    """Let [CLS] average the tokens of the query in one half of the heads, those of the document in the other.

    Args:
        factors: (kept, width) each: what of query and of document is averaged.
        middle: (width,), taken off the document's.
    """
    heads, size = attention.num_attention_heads, attention.attention_head_size
    median = float((states @ lane.read[0]).abs().median())
    blank = torch.zeros(1, states.shape[1])
    values = [torch.cat([part - part @ lane.carry.T @ lane.read, blank]) for part in factors]
    for part in (attention.query, attention.key, attention.value):
        part.bias.zero_()
    attention.query.weight.mul_(0.1), attention.key.weight.mul_(0.1)  # what is left is for training to find
    strength = math.sqrt(SHUT * math.sqrt(size) / 2)
    for head in range(heads):
        rows, last = slice(head * size, (head + 1) * size), (head + 1) * size - 1
        of_document = head >= heads // 2
        attention.query.weight[last], attention.query.bias[last] = 0, -strength
        wrong = lane.read[1] + (-1 if of_document else 1) * lane.read[0]  # 0 for tokens of the right segment
        attention.key.weight[last] = strength * wrong / median
        value = values[of_document][(head % (heads // 2)) * size :][:size]
        attention.value.weight[rows] = value
        attention.value.bias[rows] = -(value @ middle) * of_document


def _factors(queries: Tensor, documents: Tensor, kept: int) -> tuple[Tensor, Tensor]:
    """(kept, width) each: A and B for which (A q)(B d) is closest to q d, summed over queries and documents like these;
    what is left out is what they vary least in. Turned at random, so that all dimensions are of like size."""
    roots = []
    for texts in (queries, documents):
        moment = texts.T @ texts / len(texts)
        values, vectors = torch.linalg.eigh(moment + 1e-3 * moment.trace() / len(moment) * torch.eye(len(moment)))
        roots.append((vectors * values.sqrt() @ vectors.T, vectors / values.sqrt() @ vectors.T))
    (q_root, q_inverse), (d_root, d_inverse) = roots
    u, sizes, v = torch.linalg.svd(q_root @ d_root)
    turn = torch.linalg.qr(torch.randn(kept, kept)).Q * sizes[:kept].sqrt()
    asked, held = turn @ u.T[:kept] @ q_inverse, turn @ v[:kept] @ d_inverse
    return asked, held * (documents @ held.T).norm() ** -1 * (queries @ asked.T).norm()


def _multiply(inner: nn.Linear, outer: nn.Linear, kept: int) -> None:
    """Four units a product: gelu(SMALL (a+b)) + gelu(-SMALL (a+b)) less the same of a-b. The others start at random."""
    inner.bias.zero_(), outer.bias.zero_()
    outer.weight.normal_(0, 0.002), outer.weight[2 * kept].zero_()
    scale = 1 / (4 * math.sqrt(2 / math.pi) * SMALL**2)
    signs = [(1, 1, 1), (-1, -1, 1), (1, -1, -1), (-1, 1, -1)]  # of a, of b, of what comes out
    for number, (a, b, out) in enumerate(signs):
        units = number + 4 * torch.arange(kept)
        inner.weight[units], outer.weight[:, units] = 0, 0
        inner.weight[units, torch.arange(kept)] = SMALL * a
        inner.weight[units, kept + torch.arange(kept)] = SMALL * b
        outer.weight[2 * kept, units] = scale * out


def _products(
    model: BertForSequenceClassification, tokenizer: Any, pairs: Sequence[tuple[str, str]], place: int
) -> Tensor:
    """(pairs,): what the top layer's product is before the last normalisation."""
    found: list[Tensor] = []
    hook = model.bert.encoder.layer[-1].output.dense.register_forward_hook(
        lambda _module, _inputs, output: found.append(output[:, 0, place])
    )
    for some in blocks(pairs, 32):
        model(**_tokens(tokenizer, [query for query, _ in some], [text for _, text in some]))
    hook.remove()
    return torch.cat(found)


def _read_out(model: BertForSequenceClassification, place: int, parts: Tensor) -> None:
    """Bring the product to mean 0 and deviation 2, and add it up over units whose tanh bends at different places."""
    output, pooler = model.bert.encoder.layer[-1].output.dense, model.bert.pooler.dense
    output.weight[place] *= 2 / parts.std()
    output.bias[place] = -2 * parts.mean() / parts.std()
    units = len(pooler.bias) // 2
    pooler.bias.zero_()
    pooler.weight[:units] = 0
    pooler.weight[:units, place] = 0.4
    pooler.bias[:units] = torch.linspace(-1.5, 1.5, units)
    model.classifier.bias.zero_()
    model.classifier.weight[0, :units] = 7.5 / units


# -- what the model sees ----------------------------------------------------------------------------------------------


def _states(bert: Any, tokenizer: Any, texts: Sequence[str]) -> list[Tensor]:
    """After each layer normalisation, (tokens, width)."""
    norms = _norms(bert)
    found: list[list[Tensor]] = [[] for _ in norms]
    hooks = [
        norm.register_forward_hook(lambda _module, _inputs, output, kept=kept: kept.append(output))
        for norm, kept in zip(norms, found, strict=True)
    ]
    masks = []
    for some in blocks(texts, 32):
        tokens = _tokens(tokenizer, some)
        bert(**tokens)
        masks.append(tokens["attention_mask"].bool())
    for hook in hooks:
        hook.remove()
    return [torch.cat([state[mask] for state, mask in zip(kept, masks, strict=True)]) for kept in found]


def _embed(bi_encoder: Any, tokenizer: Any, texts: Sequence[str]) -> Tensor:
    """(texts, width): means over tokens."""
    found = []
    for some in blocks(texts, 32):
        tokens = _tokens(tokenizer, some)
        mask = tokens["attention_mask"][..., None]
        found.append((bi_encoder(**tokens).last_hidden_state * mask).sum(1) / mask.sum(1))
    return torch.cat(found)


def _tokens(tokenizer: Any, *texts: Sequence[str]) -> Any:
    return tokenizer(*map(list, texts), padding=True, truncation=True, max_length=128, return_tensors="pt")
