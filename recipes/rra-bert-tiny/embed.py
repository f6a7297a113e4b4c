"""Embed texts once and keep the vectors: `python embed.py MODEL TEXTS.jsonl OUTPUT [--sparse]`

TEXTS holds one {"id", "contents"} a line. OUTPUT is a folder: `ids.json` and `vectors.npy` (dense, unit length,
float16), or `vectors.npz` (sparse, scipy CSR). Work is kept in parts of 1,024 texts, so that a killed job can go on.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scipy import sparse
from scores import FAST, save_vectors
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer

from rrarank.storage.files import atomic_write

PART, BATCH_TOKENS = 1024, 8192


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("texts", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--sparse", action="store_true", help="max over tokens of log(1 + relu(logits)) (SPLADE)")
    parser.add_argument("--max-length", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    flags = parser.parse_args()
    torch.set_num_threads(flags.threads)
    records = [json.loads(line) for line in flags.texts.read_text(encoding="utf-8").splitlines()]
    encoder = (Sparse if flags.sparse else Dense)(flags.model, flags.max_length)
    parts = flags.output / "parts"
    parts.mkdir(parents=True, exist_ok=True)
    for start in range(0, len(records), PART):
        path = parts / f"{start:07d}.npz"
        if not path.exists():
            found = encoder([record["contents"] for record in records[start : start + PART]])
            with atomic_write(path) as file:
                sparse.save_npz(file.buffer, found)
            print(f"{flags.output}: {min(start + PART, len(records)):,} of {len(records):,}", flush=True)
    whole = sparse.vstack([sparse.load_npz(path) for path in sorted(parts.glob("*.npz"))], format="csr")
    save_vectors(flags.output, [record["id"] for record in records], whole if flags.sparse else whole.toarray())


class _Encoder:
    kind: type

    def __init__(self, model: str, max_length: int) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(model)
        self.tokenizer.backend_tokenizer.no_padding()  # some are saved with padding to 128 tokens
        self.model = self.kind.from_pretrained(model, dtype=torch.float32).eval()
        self.max_length = max_length

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str]) -> sparse.csr_matrix:
        ids = self.tokenizer(list(texts), truncation=True, max_length=self.max_length)["input_ids"]
        order = sorted(range(len(ids)), key=lambda place: len(ids[place]))
        rows: dict[int, sparse.csr_matrix] = {}
        while order:
            size = max(1, BATCH_TOKENS // len(ids[order[-1]]))
            batch, order = order[-size:], order[:-size]
            longest = max(len(ids[place]) for place in batch)
            tokens = torch.full((len(batch), longest), self.tokenizer.pad_token_id)
            mask = torch.zeros((len(batch), longest), dtype=torch.int64)
            for row, place in enumerate(batch):
                tokens[row, : len(ids[place])] = torch.tensor(ids[place])
                mask[row, : len(ids[place])] = 1
            for place, vector in zip(batch, self.vectors(tokens, mask), strict=True):
                rows[place] = sparse.csr_matrix(vector)
        return sparse.vstack([rows[place] for place in range(len(ids))], format="csr")


class Dense(_Encoder):
    """The mean of the last layer's states, at unit length; matrix products in bfloat16 where the processor has it."""

    kind = AutoModel

    def vectors(self, tokens: torch.Tensor, mask: torch.Tensor) -> np.ndarray:
        with torch.autocast("cpu", torch.bfloat16, enabled=FAST is torch.bfloat16):
            states = self.model(tokens, attention_mask=mask).last_hidden_state.float()  # (batch, tokens, width)
        mean = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return torch.nn.functional.normalize(mean, dim=-1).numpy()


class Sparse(_Encoder):
    """The encoder in float32, the product with the vocabulary in bfloat16 where the processor has it."""

    kind = AutoModelForMaskedLM

    def vectors(self, tokens: torch.Tensor, mask: torch.Tensor) -> np.ndarray:
        states = self.model.cls.predictions.transform(self.model.bert(tokens, attention_mask=mask).last_hidden_state)
        decoder = self.model.cls.predictions.decoder
        weight = decoder.weight.to(FAST)
        rows = []
        for row, length in zip(states, mask.sum(1).tolist(), strict=True):
            logits = (row[:length].to(FAST) @ weight.T).amax(0).float() + decoder.bias  # (vocabulary,)
            rows.append(torch.log1p(torch.relu(logits)))
        return torch.stack(rows).numpy().astype(np.float32)


if __name__ == "__main__":
    main()
