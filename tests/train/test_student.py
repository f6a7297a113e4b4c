"""The student: one loss of two scores, whose gradients meet in the encoder, whatever pads or shares the batch."""

from copy import deepcopy

import pytest
import torch
from transformers import BertForSequenceClassification, LlamaConfig, LlamaForSequenceClassification

from rrarank.train.lists import Collator, TrainingList
from rrarank.train.losses import LossConfig, infonce, margin_mse, ranknet, ranknet_parts
from rrarank.train.student import Student
from rrarank.train.term_control import DOCUMENT, PADDING, SelectionConfig, TermControlConfig, closeness

RULES = ["list", "exact", "all", "random", "none"]
READOUTS = ["pool", "cls"]
CATS = TrainingList("why is the cat long", ("the cat is long.", "tea", "a long document about dogs?"), (2.0, 1.0, 0.0))
TEA = TrainingList(
    "tea",
    ("tea, tea!", "bread", "how short is the mat", "dogs"),
    (2.0, 1.0, 0.0, 0.0),
    (0.9, 0.5, 0.1, 0.3),
)
LISTS = [CATS, TEA]


@pytest.fixture(scope="session")
def marked(tokenizer):
    """The tiny tokenizer with some punctuation of its own, which would else be unknown."""
    changed = deepcopy(tokenizer)
    changed.add_tokens([".", ",", "!", "?"])
    return changed


@pytest.fixture
def make_bert(marked, tiny_bert):
    def make():
        torch.manual_seed(0)
        config = deepcopy(tiny_bert)
        config.vocab_size, config.num_labels = len(marked), 1
        return BertForSequenceClassification(config).eval()

    return make


@pytest.fixture
def make_student(marked, make_bert):
    def make(readout="pool", weight=1.0, **selection):
        config = TermControlConfig(weight, readout, SelectionConfig(**selection))
        return Student(make_bert(), marked, config).eval()

    return make


@pytest.fixture
def batch(marked):
    def make(lists=LISTS, chunk=16):
        return Collator(marked, 64, chunk)(lists)

    return make


def scores_of(found, name="scores"):
    return found[name].split([len(one.texts) for one in LISTS])


def selection(student, given):
    """Of each pair, in the order of the lists, which tokens are selected; without padding."""
    layer, flags = student.control.selection.layer, {}
    inputs = [{k: v for k, v in chunk.items() if k not in ("roles", "places")} for chunk in given["chunks"]]
    hidden = [student.base(**one, output_hidden_states=True).hidden_states[layer] for one in inputs]
    chosen = student.selected(given["chunks"], hidden, [len(level) for level in given["levels"]])
    for chunk, rows in zip(given["chunks"], chosen, strict=True):
        for place, row, role in zip(chunk["places"].tolist(), rows, chunk["roles"], strict=True):
            flags[place] = row[role != PADDING].tolist()
    return [flags[place] for place in sorted(flags)]


def selected_words(student, given, tokenizer):
    ids = {}
    for chunk in given["chunks"]:
        for place, row, role in zip(chunk["places"].tolist(), chunk["input_ids"], chunk["roles"], strict=True):
            ids[place] = tokenizer.convert_ids_to_tokens(row[role != PADDING])
    return [
        " ".join(word for word, flag in zip(ids[place], flags, strict=True) if flag)
        for place, flags in enumerate(selection(student, given))
    ]


def gradients(module):
    return [part.grad for part in module.parameters() if part.grad is not None]


# -- the scores --------------------------------------------------------------------------------------------------------


def test_s_base_is_the_plain_classifiers_score_with_or_without_term_control(make_student, make_bert, marked, batch):
    plain, pairs = make_bert(), [(one.query, text) for one in LISTS for text in one.texts]
    expected = [plain(**marked(*pair, return_tensors="pt")).logits.item() for pair in pairs]
    assert make_student()(**batch())["scores"].tolist() == pytest.approx(expected, abs=1e-5)
    found = Student(make_bert(), marked).eval()(**batch())
    assert found["scores"].tolist() == pytest.approx(expected, abs=1e-5)
    assert found.keys() == {"loss", "listed_pairs", "missing_pairs", "scores"}


def test_s_tcl_is_the_layers_score_of_the_last_states_and_the_selected_tokens(make_student, batch):
    student, given = make_student(layer=1), batch([CATS], chunk=3)
    (chunk,) = given["chunks"]
    inputs = {k: v for k, v in chunk.items() if k not in ("roles", "places")}
    states = student.base(**inputs, output_hidden_states=True).hidden_states
    chosen = student.selected([chunk], [states[1]], [3])[0]
    expected = student.term_control(states[2], chunk["roles"], chosen)[chunk["places"].argsort()]
    assert student(**given)["term_scores"].tolist() == pytest.approx(expected.tolist(), abs=1e-6)
    assert chosen.tolist() != student.selected([chunk], [states[2]], [3])[0].tolist()  # so the layer matters


# -- the loss ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_the_loss_is_the_base_scores_plus_lambda_times_the_term_scores_mean_over_lists(make_student, batch, weight):
    found = make_student(weight=weight)(**batch())
    base, terms = (
        sum(ranknet(one, torch.tensor(given.levels)) for one, given in zip(scores, LISTS, strict=True)) / 2
        for scores in (scores_of(found), scores_of(found, "term_scores"))
    )
    assert found["loss"].item() == pytest.approx((base + weight * terms).item())
    assert [found["base_loss"].item(), found["term_loss"].item()] == pytest.approx([base.item(), terms.item()])


def test_the_parts_of_ranknet_are_told_as_the_loss_weighs_them(make_student, batch):
    student = make_student()
    student.loss = LossConfig(options={"mu": 0.5})
    found = student(**batch())
    for prefix, loss in (("", "base_loss"), ("term_", "term_loss")):
        listed, missing = found[f"{prefix}listed_pairs"], found[f"{prefix}missing_pairs"]
        assert (listed + 0.5 * missing).item() == pytest.approx(found[loss].item())
    pairs = zip(scores_of(found), LISTS, strict=True)
    parts = [ranknet_parts(one, torch.tensor(given.levels)) for one, given in pairs]
    assert found["missing_pairs"].item() == pytest.approx(sum(part[1].item() for part in parts) / 2)


def test_every_loss_reads_its_own_labels(make_student, batch):
    student = make_student()
    student.loss = LossConfig("margin-mse", scale=20.0, infonce=0.1)
    found = student(**batch())
    targets = [[2.0, 1.0, 0.0], [0.9, 0.5, 0.1, 0.3]]  # the first teacher gave no scores: its levels
    expected = sum(
        margin_mse(one, 20 * torch.tensor(target)) + 0.1 * infonce(one, torch.tensor(given.levels))
        for one, target, given in zip(scores_of(found), targets, LISTS, strict=True)
    )
    assert found["base_loss"].item() == pytest.approx(expected.item() / 2)
    assert "listed_pairs" not in found  # parts of ranknet alone


# -- gradients ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("readout", READOUTS)
def test_the_term_score_alone_teaches_the_encoder(make_student, batch, readout):
    student = make_student(readout)
    student(**batch())["term_loss"].backward()
    for part in (student.base.bert.embeddings, student.base.bert.encoder.layer[-1], student.term_control):
        assert any(grad.abs().max() > 0 for grad in gradients(part))
    assert gradients(student.base.classifier) == gradients(student.base.bert.pooler) == []


def test_the_base_score_alone_teaches_the_encoder(make_student, batch):
    student = make_student()
    student(**batch())["base_loss"].backward()
    for part in (student.base.bert.embeddings, student.base.bert.encoder.layer[-1], student.base.classifier):
        assert any(grad.abs().max() > 0 for grad in gradients(part))
    assert gradients(student.term_control) == []


def test_with_lambda_0_the_encoder_learns_as_without_term_control(make_student, make_bert, marked, batch):
    with_it, plain = make_student(weight=0.0), Student(make_bert(), marked).eval()
    for student in (with_it, plain):
        student(**batch())["loss"].backward()
    for ours, theirs in zip(gradients(with_it.base), gradients(plain.base), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)


def test_no_gradient_passes_through_the_selection(make_student, batch):
    student, (chunk,) = make_student(), batch()["chunks"]
    hidden = torch.randn(*chunk["roles"].shape, 16, requires_grad=True)
    documents = chunk["roles"] == DOCUMENT
    assert not closeness(hidden, ~documents, documents).requires_grad
    (chosen,), (again,) = (
        student.selected([chunk], [hidden], [3, 4]),
        student.selected([chunk], [hidden.detach()], [3, 4]),
    )
    assert chosen.equal(again)
    assert not chosen.requires_grad


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("readout", READOUTS)
def test_every_rule_and_readout_takes_a_step(make_student, batch, rule, readout):
    student = make_student(readout, rule=rule).train()
    optimizer = torch.optim.AdamW(student.parameters(), 1e-2)
    found = student(**batch(chunk=3))
    found["loss"].backward()
    assert all(grad.isfinite().all() for grad in gradients(student))
    optimizer.step()
    after = student(**batch(chunk=3))
    assert all(value.isfinite().all() for value in after.values())
    assert after["term_loss"] != found["term_loss"]


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16], ids=str)
def test_mixed_precision_takes_a_step(make_student, batch, precision):
    student = make_student().train()
    with torch.autocast("cpu", dtype=precision):
        found = student(**batch())
    found["loss"].backward()
    assert found["term_scores"].dtype == found["scores"].dtype == torch.float32
    assert all(grad.isfinite().all() for grad in gradients(student))


# -- padding and neighbours --------------------------------------------------------------------------------------------


@pytest.fixture(params=["bert, padded right", "llama, padded right", "llama, padded left"])
def make_padded(request, marked, make_bert):
    """(student of a configuration, its collator); BERT counts positions from the left, so it is never padded there."""
    name, side = request.param.split(", padded ")
    tokenizer = deepcopy(marked)
    tokenizer.padding_side = side

    def make(readout, chunk, **selection):
        if name == "bert":
            base = make_bert()
        else:
            tokenizer.model_input_names = ["input_ids", "attention_mask"]
            torch.manual_seed(0)
            sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
            rest = {"vocab_size": len(tokenizer), "num_labels": 1, "pad_token_id": 0, "initializer_range": 0.5}
            base = LlamaForSequenceClassification(LlamaConfig(**sizes, **rest))
        config = TermControlConfig(1.0, readout, SelectionConfig(**selection))
        return Student(base, tokenizer, config).eval(), Collator(tokenizer, 64, chunk)

    return make


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("chunk", [1, 3])
def test_scores_do_not_depend_on_the_chunks(make_padded, readout, chunk):
    student, wide = make_padded(readout, 16)
    expected, found = student(**wide(LISTS)), student(**Collator(wide.tokenizer, 64, chunk)(LISTS))
    for name in ("scores", "term_scores", "loss", "term_loss"):
        assert found[name].tolist() == pytest.approx(expected[name].tolist(), abs=1e-5), name


@pytest.mark.parametrize("readout", READOUTS)
def test_scores_of_a_list_do_not_depend_on_the_other_lists_of_the_batch(make_padded, readout):
    student, collator = make_padded(readout, 3)
    together = student(**collator(LISTS))
    for name in ("scores", "term_scores"):
        apart = [score for one in LISTS for score in student(**collator([one]))[name].tolist()]
        assert together[name].tolist() == pytest.approx(apart, abs=1e-5), name


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "random"])
def test_the_selection_depends_on_its_own_list_alone_and_not_on_padding(make_padded, rule):
    student, collator = make_padded("pool", 16, rule=rule)
    together = selection(student, collator(LISTS))
    for chunk in (1, 3):
        assert selection(student, Collator(collator.tokenizer, 64, chunk)(LISTS)) == together
    assert [flags for one in LISTS for flags in selection(student, collator([one]))] == together


def test_the_list_rules_bound_is_of_the_whole_list_and_not_of_the_chunk(make_student, batch):
    """One pair a chunk: still the list's bound, which differs from each document's own."""
    student = make_student(rule="list")
    apart = [TrainingList(one.query, (text,), (1.0,)) for one in LISTS for text in one.texts]
    assert selection(student, batch(chunk=1)) != selection(student, batch(apart, chunk=1))


# -- which tokens ------------------------------------------------------------------------------------------------------


def test_punctuation_and_special_tokens_are_never_selected(make_student, batch, marked):
    assert selected_words(make_student(rule="all"), batch(), marked) == [
        "the cat is long",
        "tea",
        "a long document about dogs",
        "tea tea",
        "bread",
        "how short is the mat",
        "dogs",
    ]


def test_exact_selects_what_the_query_says_too(make_student, batch, marked):
    found = selected_words(make_student(rule="exact"), batch(), marked)
    assert found == ["the cat is long", "", "long", "tea tea", "", "", ""]


def test_punctuation_of_the_query_selects_nothing(make_student, batch, marked):
    asked = TrainingList("the cat?", ("the cat sat?", "the dog?"), (1.0, 0.0))
    assert selected_words(make_student(rule="exact"), batch([asked]), marked) == ["the cat", "the"]


def test_the_selected_share_is_told_of_listed_and_of_missing_documents(make_student, batch):
    found = make_student(rule="exact")(**batch())
    # "the cat is long ." 4/5, "tea" 0, "tea , tea !" 2/4, "bread" 0
    assert found["selected_of_listed"].item() == pytest.approx((4 / 5 + 0 + 2 / 4 + 0) / 4)
    # "a long document about dogs ?" 1/6, "how short is the mat" 0, "dogs" 0
    assert found["selected_of_missing"].item() == pytest.approx((1 / 6 + 0 + 0) / 3)
