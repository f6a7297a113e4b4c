"""Architectures x {short, over-long, empty text} x {batch of 1, 7}: every score equals CrossEncoder's."""

import numpy as np
import pytest
import torch
from architectures import DECODERS, ENCODERS, make_folder, make_tokenizer  # type: ignore[import-not-found]
from sentence_transformers import CrossEncoder as Peer
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from rrarank.rerankers.backends.torch import CrossEncoderConfig
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


@torch.inference_mode()
def by_transformers(folder, max_length):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    cut = {"truncation": "longest_first", "max_length": max_length, "return_tensors": "pt"}
    return lambda text: float(model(**tokenizer([QUERY], [text], **cut)).logits[0, 0].detach())


@pytest.mark.parametrize("kind", [*ENCODERS, *DECODERS])
def test_scores_equal_cross_encoders_or_the_model_is_refused(kind, tmp_path):
    pair = "<s> $A </s> </s> $B </s>" if kind in ENCODERS else "<s> $A </s> $B"
    folder = make_folder(tmp_path, kind, make_tokenizer(pair))
    ours = CrossEncoder(CrossEncoderConfig(str(folder), "cpu"))
    peer = by_transformers if kind == "markuplm" else by_cross_encoder  # which wants to read that one's web pages
    expected = [*map(peer(folder, ours.longest), TEXTS)]
    pairs = ours.encode(QUERY, TEXTS)
    together = ours.score(pairs)
    alone = [float(ours.score([row])[0]) for row in pairs]
    assert together == pytest.approx(expected, abs=1e-4)
    assert alone == pytest.approx(expected, abs=1e-4)
    assert np.ptp(expected) > 1e-3
