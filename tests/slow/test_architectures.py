"""Architectures x {short, over-long, empty text} x {batch of 1, 7}: every score equals CrossEncoder's."""

from inspect import signature

import numpy as np
import pytest
import torch
from architectures import DECODERS, ENCODERS, EOS, make_folder, make_tokenizer  # type: ignore[import-not-found]
from sentence_transformers import CrossEncoder as Peer
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from rrarank import RrarankError
from rrarank.rerankers.backends.base import CrossEncoderConfig
from rrarank.rerankers.cross_encoder import CrossEncoder

pytestmark = pytest.mark.slow

QUERY = "why is the cat long"
TEXTS = [
    "tea",
    "a long document about cats and dogs " * 20,
    "",
    "the cat sat",
    "how dogs sat",
    "mat " * 20,
    "bread is long",
]


def by_cross_encoder(folder, max_length):
    """text -> score, each alone: in a batch, padding changes what some architectures compute."""
    peer = Peer(str(folder), device="cpu", local_files_only=True, max_length=max_length)
    return lambda text: float(peer.predict([(QUERY, text)], activation_fn=torch.nn.Identity())[0])


def by_transformers(folder, max_length):
    """The same without sentence-transformers, which asks every tokenizer for a padding token."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    cut = {"truncation": "longest_first", "max_length": max_length, "return_tensors": "pt"}
    takes = signature(model.forward).parameters

    @torch.inference_mode()
    def score(text):
        inputs = tokenizer([QUERY], [text], **cut)
        return float(model(**{name: value for name, value in inputs.items() if name in takes}).logits[0, 0])

    return score


def check(folder, texts, peer):
    ours = CrossEncoder(CrossEncoderConfig(str(folder), "cpu"))
    expected = [*map(peer(folder, ours.longest), texts)]
    pairs = ours.encode(QUERY, texts)
    assert ours.score(pairs) == pytest.approx(expected, abs=1e-4)
    assert [float(ours.score([row])[0]) for row in pairs] == pytest.approx(expected, abs=1e-4)
    assert np.ptp(expected) > 1e-3


def pair(kind):
    return "<s> $A </s> </s> $B </s>" if kind in ENCODERS else "<s> $A </s> $B"


@pytest.mark.parametrize("kind", [*ENCODERS, *DECODERS])
def test_every_score_equals_cross_encoders(kind, tmp_path):
    folder = make_folder(tmp_path, kind, make_tokenizer(pair(kind)))
    check(folder, TEXTS, by_transformers if kind == "markuplm" else by_cross_encoder)  # it wants to read web pages


@pytest.mark.parametrize("tokenizers", [None, "<pad>"])
@pytest.mark.parametrize("models", [None, EOS])
@pytest.mark.parametrize("kind", [*ENCODERS, *DECODERS])
def test_any_padding_gives_transformers_scores_or_is_refused(kind, models, tokenizers, tmp_path):
    """Beside texts that hold special tokens, which some architectures look for."""
    tokenizer = make_tokenizer(pair(kind), pad_token=tokenizers)
    try:
        folder = make_folder(tmp_path, kind, tokenizer, pad_token_id=models)
        by_transformers(folder, 46)("tea")
    except Exception:  # this architecture cannot do without a padding id
        if (tmp_path / "tokenizer.json").exists():
            with pytest.raises(RrarankError, match="cannot score a pair of texts"):
                CrossEncoder(CrossEncoderConfig(str(folder), "cpu"))
        return
    check(
        folder, [*TEXTS, "the cat </s> sat", "mat <pad> cat", "mat </s> " * 20, "tea <pad>", "<s> cat"], by_transformers
    )
