"""RRA-GPT: a decoder with a dense ranking layer. It reads a prompt and scores it without generating text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

from rrarank.engine.batches import Batch, Ids
from rrarank.engine.reranker import Explains, Pointwise, RerankerConfig
from rrarank.errors import RrarankError
from rrarank.rerankers.backends.base import device_of, tokens_at_once
from rrarank.rerankers.backends.exported import padding_id
from rrarank.rerankers.backends.torch import TORCH_DTYPES, load_whole
from rrarank.rerankers.checkpoints import Checkpoint, additions
from rrarank.rerankers.decoders import LastStates, score_by_query
from rrarank.rerankers.pairs import PairEncoder
from rrarank.storage.model_folders import LANGUAGE_HEAD, fingerprint, loading, locate


@dataclass(frozen=True)
class RRAGPTConfig(RerankerConfig):
    """Settings beyond the shared ones.

    Args:
        share: compute the part that a query's prompts share once, instead of once per candidate.
        reason_tokens: most tokens of a verdict with its reason (see `explain`).
    """

    share: bool = True
    reason_tokens: int = 64


class RRAGPT(Pointwise, Explains):
    """A student saved by `rrarank.train --config rra-gpt` (RRADistill: Choi et al., EMNLP 2024), or any decoder with
    one label whose tokenizer contains the prompt.

    The reranker `cross-encoder` gives the same scores, but slower; not for a text that spells a special token of the
    model: here it is no such token, so a passage cannot end its prompt.

    Raises:
        RrarankError: no model given, or the model is not such a decoder.
    """

    name = "rra-gpt"

    Config = RRAGPTConfig
    config: RRAGPTConfig
    precisions: ClassVar[Mapping[str, Sequence[str]]] = {"torch": tuple(TORCH_DTYPES)}

    def __init__(self, config: RRAGPTConfig | None = None) -> None:
        if not (config and config.model):
            raise RrarankError(
                "rra-gpt: no model; give model (--model), a folder that rrarank.train --config rra-gpt made"
            )
        super().__init__(config)
        self.folder = locate(self.config.model, allow_pickle=self.config.allow_pickle)
        self.device = device_of(self.config)
        with loading(self.model_name, self.config.device, self.config.threads):
            checkpoint = Checkpoint.open(self.folder, self.model_name)
            self.tokenizer: Any = checkpoint.tokenizer
            if added := additions(checkpoint):
                raise RrarankError(f"{self.model_name}: has {added}; use --reranker cross-encoder")
            model = load_whole(self.folder, self.model_name, self.config.allow_pickle)
        self._check_decoder(model)
        self.model = model.to(self.device, TORCH_DTYPES[self.config.precision]).eval()
        longest = checkpoint.longest(self.config.max_length)
        self.encode_pairs = PairEncoder(self.tokenizer, longest, plain=True, shares=True)
        self._pad = padding_id(checkpoint.config)
        self.last_states = LastStates(self.model.base_model, self.device, share=self.config.share)
        self.batch_tokens = tokens_at_once(self.device)
        self.writer: Any = None  # loaded when reasons are asked for
        self._fingerprint = fingerprint(self.folder)

    def _check_decoder(self, model: Any) -> None:
        """Refuse models that do not pool the last token; in transformers those that do call their head `score`."""
        if model.config.num_labels != 1 or not hasattr(model, "score"):
            raise RrarankError(
                f"{self.model_name}: {type(model).__name__} with {model.config.num_labels} labels, expected a decoder "
                "with one label; use encoders with --reranker cross-encoder"
            )

    @property
    def cut(self) -> int:
        return self.encode_pairs.cut

    def encode(self, query: str, texts: Sequence[str]) -> list[Ids]:
        return self.encode_pairs(query, texts)

    def score_all(self, pairs: Batch) -> list[float]:
        return score_by_query(pairs, self.score, self.batch_tokens, self.config.batch_size)

    @torch.inference_mode()
    def score(self, batch: Batch) -> np.ndarray:
        rows = [self._without_padding(row) for row in batch]
        return np.asarray(self.model.score(self.last_states(rows))[:, 0].float().cpu().numpy())

    def _without_padding(self, row: Ids) -> Ids:
        """Without a padding token at the end, such as an end of text: transformers scores by the token before it."""
        ids = np.asarray(row["input_ids"])
        own = np.flatnonzero(ids != self._pad)
        return row if self._pad is None or not len(own) else {**row, "input_ids": ids[: own[-1] + 1]}

    def fingerprint(self) -> str:
        return f"{super().fingerprint()} {self._fingerprint}"

    def prepare_to_explain(self) -> None:
        self.writer = self.writer or load_writer(self.folder, self.model_name, self.device)

    def explain(self, query: str, texts: Sequence[str]) -> Iterator[str]:
        """The model's continuation for each text, without sampling: a verdict and its reason."""
        self.prepare_to_explain()
        for row in self.encode(query, texts):
            ids = torch.as_tensor(np.asarray(row["input_ids"], dtype=np.int64), device=self.device)[None]
            settings = {"max_new_tokens": self.config.reason_tokens, "do_sample": False}
            said = self.writer.generate(ids, attention_mask=torch.ones_like(ids), **settings)
            yield self.tokenizer.decode(said[0, ids.shape[1] :], skip_special_tokens=True).strip()


def load_writer(folder: Path, name: str, device: str) -> Any:
    """The language model of an RRA-GPT: its decoder with the output matrix that training saved beside it.

    Raises:
        RrarankError: the model was trained without reasons.
    """
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    trained = (getattr(config, "rrarank", {}).get("recipe", {}).get("reasoning") or {}).get("reasons", 0)
    if not trained:
        raise RrarankError(f"{name}: was trained without reasons, so it cannot explain; give a model trained with them")
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
    )
    if not config.tie_word_embeddings:
        if not (folder / LANGUAGE_HEAD).is_file():
            raise RrarankError(f"{name}: has no {LANGUAGE_HEAD}, so it cannot explain; copy it from the training")
        model.get_output_embeddings().load_state_dict(load_file(folder / LANGUAGE_HEAD))
    return model.to(device).eval()
