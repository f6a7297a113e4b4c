"""The model that a training starts from: loaded, checked, partly frozen."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from rrarank.errors import RrarankError
from rrarank.rerankers.backends.torch import with_pad_token
from rrarank.rerankers.checkpoints import longest_input
from rrarank.storage.model_folders import loading, locate, minilm
from rrarank.train.config import TrainConfig
from rrarank.train.lists import check_fast_tokenizer
from rrarank.train.lora import add_adapters
from rrarank.train.prompted import prompted

SHORT = 192
"""Tokens of a pair up to which a CPU trains faster with plain attention than with torch's fused one
(`python -m benchmarks training rate`); beyond, plain attention takes too much memory."""


def load_base(config: TrainConfig, threads: int) -> tuple[Any, Any, Any]:
    """(tokenizer, sequence classifier, language-model head or None).

    The classifier's head is new, unless the base is a student already or a prompted language model.
    """
    head = None
    folder = locate(config.base or minilm())
    changes: dict[str, Any] = {"hidden_dropout_prob": config.dropout, "attention_probs_dropout_prob": config.dropout}
    with loading(config.base, "", threads):
        _check_unfit(config, AutoConfig.from_pretrained(folder, trust_remote_code=False))
        changes = changes if config.dropout >= 0 else {}
        if config.prompt:
            tokenizer, base, head = prompted(folder, config.base, config.prompt, **changes)
        else:
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
            if config.max_length <= SHORT and not torch.cuda.is_available():
                changes["attn_implementation"] = "eager"
            base = AutoModelForSequenceClassification.from_pretrained(
                folder, trust_remote_code=False, num_labels=1, dtype=torch.float32, use_safetensors=True, **changes
            )
    check_fast_tokenizer(tokenizer)
    with_pad_token(tokenizer, base)
    _check_misfit(config, tokenizer, base)
    if config.frozen:
        _freeze(base.base_model, config.frozen)
    if config.lora:
        add_adapters(base, config.lora)
    return tokenizer, base, head


def _check_unfit(config: TrainConfig, known: Any) -> None:
    """Check the base's configuration before its weights are read."""
    has_head = any("SequenceClassification" in name for name in known.architectures or ())
    if known.is_encoder_decoder:
        raise RrarankError(f"{config.base}: an encoder-decoder ({known.model_type}); give an encoder, such as BERT")
    if has_head and config.prompt:
        raise RrarankError(f"{config.base}: already a re-ranker; leave prompt out, or give a causal language model")
    if has_head and known.num_labels != 1:
        raise RrarankError(
            f"{config.base}: a classifier of {known.num_labels} labels; give an encoder, or a re-ranker with one label"
        )
    if config.dropout >= 0 and not hasattr(known, "hidden_dropout_prob"):
        raise RrarankError(f"dropout is {config.dropout:g}: {known.model_type} names its own otherwise; leave it out")


def _check_misfit(config: TrainConfig, tokenizer: Any, base: Any) -> None:
    """Check what would fail during the training: padding, vocabulary, positions, layers."""
    if tokenizer.pad_token is None:
        raise RrarankError(f"{config.base}: its tokenizer has no padding token; set its pad_token")
    if len(tokenizer) > (size := base.get_input_embeddings().num_embeddings):
        raise RrarankError(f"{config.base}: {len(tokenizer):,} tokens in its tokenizer, but {size:,} embeddings")
    if config.max_length > (longest := longest_input(tokenizer, base.config)):
        raise RrarankError(f"max_length is {config.max_length}: the base reads {longest} tokens at most")
    layers = base.config.get_text_config().num_hidden_layers
    if config.term_control and not -layers - 1 <= config.term_control.selection.layer <= layers:
        raise RrarankError(f"term_control.selection.layer: the base has {layers} layers; expected -1 to {layers}")
    if config.frozen > layers:
        raise RrarankError(f"frozen is {config.frozen}: the base has {layers} layers")


def _freeze(encoder: Any, layers: int) -> None:
    """Freeze the embeddings and the lowest layers."""
    if hasattr(encoder, "embeddings") and hasattr(getattr(encoder, "encoder", None), "layer"):
        parts = (encoder.embeddings, *encoder.encoder.layer[:layers])
    elif hasattr(encoder, "embed_tokens") and hasattr(encoder, "layers"):
        parts = (encoder.embed_tokens, *encoder.layers[:layers])
    else:
        name = type(encoder).__name__
        raise RrarankError(f"frozen is {layers}: only for models built as BERT or Llama, not {name}; leave it out")
    for part in parts:
        part.requires_grad_(False)
