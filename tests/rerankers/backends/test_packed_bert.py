import copy

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from rrarank.rerankers.backends.packed_bert import ACTIVATIONS, PackedBert, Rows, attend, attend_jagged

LENGTHS = {"equal": [7, 7, 7], "falling": [30, 30, 12, 5, 5, 1], "mixed": [3, 40, 3, 17, 40], "one": [9]}


def batch(lengths, seed=0):
    rng = np.random.default_rng(seed)
    return [
        {"input_ids": rng.integers(5, 60, size=n).tolist(), "token_type_ids": [0] * (n // 2) + [1] * (n - n // 2)}
        for n in lengths
    ]


@pytest.fixture(scope="module", params=[1, 3])
def model(request):
    torch.manual_seed(request.param)
    size = {"hidden_size": 32, "num_hidden_layers": request.param, "num_attention_heads": 4, "intermediate_size": 48}
    config = BertConfig(vocab_size=60, max_position_embeddings=64, num_labels=2, initializer_range=0.4, **size)
    model = BertForSequenceClassification(config).eval()
    for module in model.modules():  # a fresh model's normalisations and biases are all ones and noughts
        if isinstance(module, torch.nn.LayerNorm):
            torch.nn.init.normal_(module.weight, 1.0, 0.3)
        if getattr(module, "bias", None) is not None:
            torch.nn.init.normal_(module.bias, 0.0, 0.3)
    return model


def packed(model, precision=torch.float32):
    return PackedBert(model.config, model.state_dict(), precision)


@torch.inference_mode()
def reference(model, rows):
    return torch.cat([model(**{name: torch.tensor([values]) for name, values in row.items()}).logits for row in rows])


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@torch.inference_mode()
def test_logits_are_transformers_own_of_each_row_alone(model, lengths):
    rows = batch(lengths)
    torch.testing.assert_close(packed(model)(Rows.pack(rows)), reference(model, rows), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@torch.inference_mode()
def test_each_activation_is_applied_once(model, activation):
    config, rows = copy.deepcopy(model.config), batch(LENGTHS["mixed"])
    config.hidden_act = activation
    other = BertForSequenceClassification(config).eval()
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(packed(other)(Rows.pack(rows)), reference(other, rows), atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_without_segments_all_are_the_first(model):
    rows = [{"input_ids": row["input_ids"]} for row in batch([4, 9])]
    torch.testing.assert_close(packed(model)(Rows.pack(rows)), reference(model, rows), atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_half_precision_is_nearer_than_a_model_cast_whole(model):
    rows = batch([30, 12, 12, 40, 7])
    exact = reference(model, rows)
    ours = packed(model, torch.bfloat16)(Rows.pack(rows))
    cast = reference(copy.deepcopy(model).to(torch.bfloat16), rows).float()
    assert ours.dtype == torch.float32
    assert 0 < (ours - exact).abs().mean() < (cast - exact).abs().mean()


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("first_only", [False, True])
@torch.inference_mode()
def test_attention_equals_jagged_attention(lengths, first_only):
    rows = Rows.pack(batch(lengths))
    generator = torch.Generator().manual_seed(3)
    q, k, v = torch.randn(3, rows.tokens.shape[1], 4, 8, generator=generator)
    q = q[rows.ends[:-1]] if first_only else q
    torch.testing.assert_close(attend(q, k, v, rows), attend_jagged(q, k, v, rows), atol=1e-5, rtol=1e-5)


def test_batches_of_many_sizes_are_of_few_to_the_library_that_keeps_code_for_each():
    sizes = {Rows.pack(batch([3] * count + [5])).tokens.shape[1] for count in range(1, 100)}
    assert sizes == {64, 128, 192, 256, 320}
