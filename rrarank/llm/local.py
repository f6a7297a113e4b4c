"""Local LLMs: decoders with a chat template, run by transformers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rrarank.errors import RrarankError, shown
from rrarank.llm.base import LLM, Answer, Failure, LLMConfig, Messages
from rrarank.llm.tokenizer import BARE
from rrarank.storage.model_folders import fingerprint, loading, locate

if TYPE_CHECKING:
    import torch


class LocalModel(LLM):
    """A decoder with a chat template, on CPU, one question at a time."""

    def __init__(self, config: LLMConfig) -> None:
        super().__init__(config)
        folder = locate(config.model)
        self.name = folder.resolve().name
        effort = {"reasoning_effort": config.reasoning_effort} if config.reasoning_effort else {}
        self._template_options = effort | _template_options(config.extra, self.name)
        with loading(self.name, "cpu", 0):
            self._tokenizer, self._model = _load(folder, self.name)
        text_config = self._model.config.get_text_config()
        self.context = int(getattr(text_config, "max_position_embeddings", 0) or self._tokenizer.model_max_length)
        self._digest = fingerprint(folder)

    def answers(self, questions: Iterable[tuple[str, Messages]]) -> Iterator[tuple[str, Answer | Failure]]:
        for key, messages in questions:
            yield key, self._answer(messages)

    def fingerprint(self) -> dict[str, object]:
        template = hashlib.sha256(json.dumps(self._tokenizer.chat_template).encode()).hexdigest()
        return super().fingerprint() | {"model": self.name, "sha256": self._digest, "chat_template": template}

    @property
    def count_tokens(self) -> Callable[[str], int]:
        return lambda text: len(self._tokenizer(text, **BARE)["input_ids"])

    def count_chat(self, messages: Messages) -> int:
        return int(self._prompt(messages).shape[1])

    def _answer(self, messages: Messages) -> Answer | Failure:
        from jinja2 import TemplateError

        try:
            prompt = self._prompt(messages)
        except TemplateError as error:  # for example Gemma's, which accepts no system message
            return Failure(f"the chat template refuses the messages: {error}", retryable=False)
        asked = prompt.shape[1]
        room = self.context - asked
        if room < 1:
            return Failure(f"the prompt has {asked} tokens, the model takes {self.context}", retryable=False)
        tokens, first = self._generate(prompt, min(self.config.longest or room, room))
        text, finished = self._read(tokens)
        reason = "stop" if finished else "length"
        return Answer(text, reason, asked, len(tokens), self.name, first=first)

    def _prompt(self, messages: Messages) -> torch.Tensor:
        """(1, length) token ids."""
        chat = [{**message, "content": self._without_special_tokens(message["content"])} for message in messages]
        text = self._tokenizer.apply_chat_template(
            chat, tokenize=False, add_generation_prompt=True, **self._template_options
        )
        ids: torch.Tensor = self._tokenizer(text, return_tensors="pt", **BARE)["input_ids"]
        return ids

    def _without_special_tokens(self, text: str) -> str:
        """A passage must not end its turn of the chat by a special token of this model."""
        special = [str(token) for token in self._tokenizer.added_tokens_decoder.values() if token.special]
        for token in sorted(special, key=len, reverse=True):
            text = text.replace(token, f"({token.strip('<|>[]/')})")
        return text

    def _generate(self, prompt: torch.Tensor, longest: int) -> tuple[list[int], dict[str, float]]:
        """The new tokens, and the log-probabilities of the alternatives for the first one."""
        import torch

        stop = {"stop_strings": list(self.config.stop), "tokenizer": self._tokenizer} if self.config.stop else {}
        with torch.inference_mode(), torch.random.fork_rng(devices=[]):
            if self.config.seed is not None:
                torch.manual_seed(self.config.seed)  # so that an answer does not depend on earlier questions
            output = self._model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                max_new_tokens=longest,
                return_dict_in_generate=True,
                output_logits=self.config.top_logprobs > 0,
                **_sampling(self.config.temperature),
                **stop,
            )
            first = self._alternatives(output.logits[0][0]) if self.config.top_logprobs else {}  # (vocabulary,)
        return list(output.sequences[0, prompt.shape[1] :].tolist()), first  # (1, length + new)

    def _alternatives(self, logits: torch.Tensor) -> dict[str, float]:
        values, ids = logits.float().log_softmax(-1).topk(min(self.config.top_logprobs, len(logits)))
        tokens = self._tokenizer.batch_decode(ids[:, None])
        return dict(reversed(list(zip(tokens, values.tolist(), strict=True))))  # of equal texts the likelier stays

    def _read(self, tokens: Sequence[int]) -> tuple[str, bool]:
        """The text, cut before a stop text as endpoints do, and whether the model ended it."""
        text = self._tokenizer.decode(tokens, skip_special_tokens=True)
        ends = [place for stop in self.config.stop if (place := text.find(stop)) >= 0]
        eos = self._model.generation_config.eos_token_id
        ended = bool(tokens) and tokens[-1] in (eos if isinstance(eos, list) else [eos])
        return text[: min(ends)] if ends else text, bool(ends) or ended


def _template_options(extra: Mapping[str, object], name: str) -> dict[str, Any]:
    """`chat_template_kwargs`, the only extra field that a local model understands."""
    options = extra.get("chat_template_kwargs", {})
    if extra.keys() - {"chat_template_kwargs"} or not isinstance(options, Mapping):
        raise RrarankError(f"{name}: extra {shown(extra)}; a local model accepts only chat_template_kwargs, an object")
    return dict(options)


def _load(folder: Path, name: str) -> tuple[Any, Any]:
    """Tokenizer and model, in float32: float16 is slow on CPU."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    if not tokenizer.chat_template:
        raise RrarankError(f"{name}: the tokenizer has no chat template; give an instruction-tuned model")
    model, report = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, use_safetensors=True, output_loading_info=True, trust_remote_code=False
    )
    if report["missing_keys"]:
        raise RrarankError(f"{name}: incomplete checkpoint; missing {shown(sorted(report['missing_keys']), 3)}")
    if model.generation_config.pad_token_id is None:  # else generate() warns for each question
        eos = model.generation_config.eos_token_id
        model.generation_config.pad_token_id = eos[0] if isinstance(eos, list) else eos
    return tokenizer, model.eval()


def _sampling(temperature: float | None) -> dict[str, object]:
    if temperature is None:
        return {}
    if temperature == 0:
        return {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    return {"do_sample": True, "temperature": temperature}
