"""A grafted cross-encoder ranks as its bi-encoder does, before it has learned anything."""

from copy import deepcopy

import pytest
import torch
from transformers import BertConfig, BertModel

from rrarank.errors import RrarankError
from rrarank.train.graft import GraftConfig, _factors, graft

WORDS = "cat dog tea bread mat query document rank long short what why how is the a about".split()


def texts(count, words, seed):
    draws = torch.Generator().manual_seed(seed)
    return [" ".join(WORDS[int(i)] for i in torch.randint(len(WORDS), (words,), generator=draws)) for _ in range(count)]


QUERIES, DOCUMENTS = texts(40, 4, 1), texts(120, 12, 2)


@pytest.fixture(scope="module")
def towers(tokenizer):
    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=192,
        max_position_embeddings=64,
        initializer_range=0.15,
    )
    model = BertModel(config, add_pooling_layer=False).eval()
    for name, weight in model.named_parameters():
        if name.endswith("LayerNorm.weight"):  # or else the two lanes would be the same everywhere
            torch.nn.init.uniform_(weight, 0.7, 1.3)
    return model


@pytest.fixture(scope="module")
def grafted(towers, tokenizer):
    torch.manual_seed(4)
    return graft(towers, tokenizer, QUERIES, DOCUMENTS, GraftConfig())


def pair(tokenizer, query, document):
    return tokenizer(query, document, return_tensors="pt")


def correlation(a, b):
    return float(torch.corrcoef(torch.stack([a, b]))[0, 1])


def test_a_dimension_that_a_normalisation_shuts_is_no_lane(towers, tokenizer):
    shut = deepcopy(towers)
    shut.encoder.layer[-1].output.LayerNorm.weight.data[5] = 0  # as rounding to half precision may leave it
    model = graft(shut, tokenizer, QUERIES, DOCUMENTS, GraftConfig())
    assert all(weight.isfinite().all() for weight in model.parameters())


@torch.no_grad()
def test_the_query_is_read_as_its_tower_reads_it(towers, grafted, tokenizer):
    for query, document in zip(QUERIES[:8], DOCUMENTS, strict=False):
        tower = towers(**tokenizer(query, return_tensors="pt")).last_hidden_state[0]
        states = grafted(**pair(tokenizer, query, document), output_hidden_states=True).hidden_states[-2][0]
        assert torch.nn.functional.cosine_similarity(tower, states[: len(tower)]).mean() > 0.8


@torch.no_grad()
def test_scores_follow_the_cosine_of_the_two_averages_below_the_top_layer(grafted, tokenizer):
    for query in QUERIES[:8]:
        rows = tokenizer([query] * len(DOCUMENTS), DOCUMENTS, padding=True, return_tensors="pt")
        found = grafted(**rows, output_hidden_states=True)
        real, held = rows["attention_mask"], rows["token_type_ids"]
        asked, read = (
            (found.hidden_states[-2] * mask[..., None]).sum(1) / mask.sum(1)[:, None] for mask in (real - held, held)
        )
        cosines = torch.nn.functional.cosine_similarity(asked, read)
        assert correlation(found.logits[:, 0], cosines) > 0.5


@torch.no_grad()
def test_below_the_top_layer_the_document_changes_nothing_in_the_query(grafted, tokenizer):
    def query_states(document):
        tokens = pair(tokenizer, "why is the cat long", document)
        states = grafted(**tokens, output_hidden_states=True).hidden_states[-2][0]
        return states[tokens["token_type_ids"][0] == 0]

    assert torch.allclose(query_states("tea"), query_states("bread and a long dog"), atol=1e-2)


@torch.no_grad()
def test_the_towers_are_left_as_they_are(towers, tokenizer):
    before = {name: value.clone() for name, value in towers.state_dict().items()}
    graft(towers, tokenizer, QUERIES, DOCUMENTS, GraftConfig())
    assert all(torch.equal(value, before[name]) for name, value in towers.state_dict().items())


def test_equal_seeds_give_equal_weights(towers, tokenizer, grafted):
    torch.manual_seed(4)
    again = graft(towers, tokenizer, QUERIES, DOCUMENTS, GraftConfig()).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in grafted.state_dict().items())


def test_one_layer_more_and_one_label(towers, grafted):
    assert grafted.config.num_hidden_layers == towers.config.num_hidden_layers + 1
    assert grafted.config.num_labels == 1


def test_factors_keep_the_product_where_texts_vary():
    draws = torch.Generator().manual_seed(0)
    queries, documents = (torch.randn(200, 10, generator=draws) for _ in range(2))
    queries[:, 5:] *= 1e-3  # what queries do not vary in is what can be left out
    asked, held = _factors(queries, documents, 5)
    kept = (queries @ asked.T) @ (documents @ held.T).T
    assert correlation(kept.flatten(), (queries @ documents.T).flatten()) > 0.999


def test_other_models_are_refused(tokenizer):
    config = BertConfig(vocab_size=len(tokenizer), hidden_size=16, num_attention_heads=2, intermediate_size=16)
    with pytest.raises(RrarankError, match="graft: for BERT with gelu"):
        graft(BertModel(config), tokenizer, QUERIES, DOCUMENTS, GraftConfig())
