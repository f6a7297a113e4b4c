"""Models that come with Python code of their own, though transformers has the same layers under other names.

Their code is not run: their configuration and weights are renamed to transformers' own. These are jina-reranker-v2,
an XLM-RoBERTa, and bge-reranker-v2-minicpm-layerwise, whose MiniCPM is a Granite with a head behind each upper layer.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rrarank.errors import RrarankError
from rrarank.storage.files import read_json
from rrarank.storage.model_folders import known_code, own_code

if TYPE_CHECKING:
    from torch import Tensor

Weights = Mapping[str, "Tensor"]


def converted_config(folder: Path) -> Any:  # transformers is untyped
    """The configuration of transformers' own class; None for a folder that needs no conversion."""
    found = read_json(folder / "config.json")
    kind = known_code(found) if isinstance(found, dict) else ""
    if not kind:
        return None
    return _granite(found, folder.name) if kind == "layerwise-minicpm" else _xlm_roberta(found)


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All weights of a checkpoint in float32, whether in one file or several."""
    from safetensors.torch import load_file

    files = sorted(folder.glob("model*.safetensors"))
    return {key: value.float() for path in files for key, value in load_file(path).items()}


# -- jina-reranker-v2: flash-attn's names for XLM-RoBERTa -------------------------------------------------------------

_LAYER = "roberta.encoder.layer"
_RENAMED = (
    (r"^roberta\.emb_ln\.", "roberta.embeddings.LayerNorm."),
    (r"^roberta\.encoder\.layers\.(\d+)\.mixer\.out_proj\.", rf"{_LAYER}.\1.attention.output.dense."),
    (r"^roberta\.encoder\.layers\.(\d+)\.norm1\.", rf"{_LAYER}.\1.attention.output.LayerNorm."),
    (r"^roberta\.encoder\.layers\.(\d+)\.mlp\.fc1\.", rf"{_LAYER}.\1.intermediate.dense."),
    (r"^roberta\.encoder\.layers\.(\d+)\.mlp\.fc2\.", rf"{_LAYER}.\1.output.dense."),
    (r"^roberta\.encoder\.layers\.(\d+)\.norm2\.", rf"{_LAYER}.\1.output.LayerNorm."),
)


def _xlm_roberta(found: Mapping[str, Any]) -> Any:
    from transformers import XLMRobertaConfig

    left_out = ("auto_map", "model_type", "torch_dtype", "dtype", "use_flash_attn", "_name_or_path")
    return XLMRobertaConfig(**{key: value for key, value in found.items() if key not in left_out})


def xlm_roberta_weights(weights: Weights) -> dict[str, Tensor]:
    """The weights by transformers' names; query, key and value lie in one matrix in the checkpoint."""
    made: dict[str, Tensor] = {}
    for key, value in weights.items():
        if joined := re.fullmatch(r"roberta\.encoder\.layers\.(\d+)\.mixer\.Wqkv\.(weight|bias)", key):
            place = f"{_LAYER}.{joined[1]}.attention.self"
            parts = zip(("query", "key", "value"), value.chunk(3), strict=True)
            made |= {f"{place}.{name}.{joined[2]}": part.contiguous() for name, part in parts}
        else:
            for pattern, name in _RENAMED:
                key = re.sub(pattern, name, key)
            made[key] = value
    return made


# -- bge-reranker-v2-minicpm-layerwise --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layerwise:
    """A decoder cut off behind a layer, and the head that scores there.

    Args:
        body: of all layers that are needed, by transformers' names, without a language head.
        head: (1, width).
    """

    config: Any
    body: Mapping[str, Tensor]
    head: Tensor


_SAME = (  # settings that have one name in both
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "max_position_embeddings", "rms_norm_eps", "hidden_act", "attention_bias",
    "bos_token_id", "eos_token_id", "pad_token_id", "initializer_range",
)  # fmt: skip


def _granite(found: Mapping[str, Any], name: str) -> Any:
    """MiniCPM's factors are Granite's; see its paper (Hu et al., 2024), section 4."""
    from transformers import GraniteConfig

    if found.get("head_type") != "simple" or found.get("rope_scaling"):
        raise own_code(name)
    config = GraniteConfig(
        **{key: found[key] for key in _SAME if key in found},
        embedding_multiplier=found["scale_emb"],
        residual_multiplier=found["scale_depth"] / math.sqrt(found["num_hidden_layers"]),
        attention_multiplier=(found["hidden_size"] // found["num_attention_heads"]) ** -0.5,
        logits_scaling=1.0,
        rope_parameters={"rope_type": "default", "rope_theta": found.get("rope_theta", 10000.0)},
    )
    config.start_layer, config.head_multi, config.num_labels = found["start_layer"], found["head_multi"], 1
    return config


def layerwise(config: Any, weights: Weights, cutoff: int, name: str) -> Layerwise:
    """The part of the model that scores behind a layer.

    Args:
        cutoff: number of layers; 0 for all of them.

    Raises:
        RrarankError: there is no head behind that layer, or it is not in the checkpoint.
    """
    layers, first = config.num_hidden_layers, config.start_layer
    cutoff = cutoff or layers
    if not first <= cutoff <= layers:
        raise RrarankError(f"{name}: cutoff_layers={cutoff}: it has a head behind the layers {first} to {layers}")
    head = f"lm_head.{cutoff - first}.linear_head.weight" if config.head_multi else "lm_head.linear_head.weight"
    if head not in weights:
        raise RrarankError(f"{name}: its checkpoint lacks {head}; copy it again")
    config.num_hidden_layers = cutoff
    inner = {key.removeprefix("model."): value for key, value in weights.items() if key.startswith("model.")}
    body = {key: value for key, value in inner.items() if _layer_of(key) < cutoff}
    return Layerwise(config, body, weights[head])


def _layer_of(key: str) -> int:
    found = re.match(r"layers\.(\d+)\.", key)
    return int(found[1]) if found else -1
