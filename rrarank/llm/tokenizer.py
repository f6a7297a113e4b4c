"""Count tokens as a model's server does: by the tokenizer and the chat template in the model's folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rrarank.errors import MissingResource
from rrarank.llm.base import Messages

BARE = {"add_special_tokens": False, "verbose": False}  # the template adds special tokens; no length warnings


class ChatTokenizer:
    """A tokenizer with its chat template.

    Args:
        folder: of the tokenizer; weights are not needed.
        options: for the chat template.
    """

    def __init__(self, folder: str, options: Mapping[str, Any] | None = None) -> None:
        from transformers import AutoTokenizer

        try:
            self._tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        except (OSError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise MissingResource(f"tokenizer {folder}: cannot be loaded ({reason}); give a model's folder") from error
        self._options = dict(options or {})

    def count(self, text: str) -> int:
        """The tokens of a text alone."""
        return len(self._tokenizer(text, **BARE)["input_ids"])

    def count_chat(self, messages: Messages) -> int:
        """The tokens of a chat, with those that the template adds."""
        if not self._tokenizer.chat_template:
            return sum(self.count(message["content"]) for message in messages)
        text = self._tokenizer.apply_chat_template(
            [dict(message) for message in messages], tokenize=False, add_generation_prompt=True, **self._options
        )
        return len(self._tokenizer(text, **BARE)["input_ids"])
