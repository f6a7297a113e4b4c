"""Language models that are asked by a prompt whether a document is relevant; nothing is generated."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from rrarank.engine.batches import Ids
from rrarank.engine.reranker import Pointwise, RerankerConfig
from rrarank.rerankers.backends.base import device_of, tokens_at_once
from rrarank.rerankers.backends.torch import TORCH_DTYPES
from rrarank.rerankers.checkpoints import Checkpoint
from rrarank.rerankers.pairs import PairEncoder, prompt_template
from rrarank.storage.model_folders import fingerprint, loading, locate


@dataclass(frozen=True)
class PromptedConfig(RerankerConfig):
    """Beyond the shared settings.

    Args:
        yes, no: the answers for relevant and not relevant; one token each.
    """

    max_length: int = 512
    yes: str = ""
    no: str = ""


class Prompted(Pointwise):
    """Load the model and write the prompt. In a pair that is too long the longer text is cut, never the prompt.

    A special token of the model that a query or text spells is no such token: a passage cannot end its prompt.
    """

    Config = PromptedConfig
    config: PromptedConfig
    shares: ClassVar[bool] = False  # pairs carry `shared`, for `decoders.LastStates`

    def __init__(self, config: PromptedConfig | None = None) -> None:
        super().__init__(config)
        folder = locate(self.config.model, allow_pickle=self.config.allow_pickle)
        self.device = device_of(self.config)
        self.batch_tokens = tokens_at_once(self.device)
        with loading(self.config.model, self.config.device, self.config.threads):
            checkpoint = Checkpoint.open(folder, self.config.model)
            self.tokenizer: Any = checkpoint.tokenizer
            self.model = self.load_model(
                folder,
                dtype=TORCH_DTYPES[self.config.precision],
                use_safetensors=None if self.config.allow_pickle else True,
            ).to(self.device)
        self.model.eval()
        self.answers = [self.answer_token(text) for text in (self.config.no, self.config.yes)]
        template = prompt_template(self.tokenizer, self.prompt)
        longest = checkpoint.longest(self.config.max_length)
        self.encode_pairs = PairEncoder(self.tokenizer, longest, template, plain=True, shares=self.shares)
        self._fingerprint = fingerprint(folder)

    @property
    @abstractmethod
    def prompt(self) -> str:
        """Contains `{query}` and, after it, `{document}`."""

    @abstractmethod
    def load_model(self, folder: Path, **settings: Any) -> Any:
        """Load the model with the right class of transformers."""

    @abstractmethod
    def answer_token(self, text: str) -> int:
        """The token of an answer.

        Raises:
            RrarankError: the answer is not exactly one token.
        """

    @property
    def cut(self) -> int:
        return self.encode_pairs.cut

    def encode(self, query: str, texts: Sequence[str]) -> list[Ids]:
        return self.encode_pairs(query, texts)

    def fingerprint(self) -> str:
        return f"{super().fingerprint()} {self._fingerprint}"
