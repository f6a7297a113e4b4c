"""Rerankers that are causal language models: the prompt around query and document, and the tokens that answer it.

A folder of sentence-transformers says both in its own files (`backends/modular`). Of the other folders the architecture
and what the chat template renders tell the format; each one here is the one that its authors published.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rrarank.engine.batches import Ids
from rrarank.errors import RrarankError, did_you_mean
from rrarank.rerankers.checkpoints import Checkpoint
from rrarank.rerankers.pairs import beginnings, reading_plainly, special_ids, tokenise

KEPT_TEXTS = 20_000  # whose ids are cached


@dataclass(frozen=True)
class Format:
    """A prompt. `{instruction}`, `{query}` and `{document}` stand for the texts.

    Args:
        system: message before the prompt, in the folder's chat template; empty for a model without one.
        instruction: what the model was trained with; empty for none.
        asked: put before the query if there is an instruction.
        query, document, task: the parts of the prompt, each tokenised by itself, with a line break between them.
        yes, no: the answers for relevant and not relevant, one token each; without `no` the score is the logit of
            `yes`, else the difference of the two.
        longest: tokens of a prompt: all of them if `together`, else those of query and document.
        together: query and document are tokenised as one text, whose end is cut if it is too long.
    """

    system: str = ""
    instruction: str = ""
    asked: str = ""
    query: str = "{query}"
    document: str = "{document}"
    task: str = ""
    yes: str = "yes"
    no: str = ""
    longest: int = 8192
    together: bool = False


FORMATS: Mapping[str, Format] = {
    "qwen3": Format(  # Qwen3-Reranker (Zhang et al., 2025)
        system="Judge whether the Document meets the requirements based on the Query and the Instruct provided. Note "
        'that the answer can only be "yes" or "no".',
        instruction="Given a web search query, retrieve relevant passages that answer the query",
        query="<Instruct>: {instruction}\n<Query>: {query}",
        document="<Document>: {document}",
        no="no",
        together=True,
    ),
    "mxbai": Format(  # mxbai-rerank-v2 (Li et al., 2025)
        system="You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
        asked="instruction: {instruction}\n",
        query="query: {query}",
        document="document: {document}",
        task="You are a search relevance expert who evaluates how well documents match search queries. For each "
        "query-document pair, carefully analyze the semantic relationship between them, then provide your binary "
        "relevance judgment (0 for not relevant, 1 for relevant).\nRelevance:",
        yes="1",
        no="0",
    ),
    "bge": Format(  # bge-reranker-v2-gemma and -minicpm-layerwise (Chen et al., 2024)
        instruction="Given a query A and a passage B, determine whether the passage contains an answer to the query by "
        "providing a prediction of either 'Yes' or 'No'.",
        query="A: {query}",
        document="B: {document}",
        task="{instruction}",
        yes="Yes",
        longest=1024,
    ),
}
_TURNS = "<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{user}<|im_end|>\n<|im_start|>assistant\n"
_RECOGNISED = {  # architecture, what the chat template renders
    ("Qwen3ForCausalLM", f"{_TURNS}<think>\n\n</think>\n\n"): "qwen3",
    ("Qwen2ForCausalLM", _TURNS): "mxbai",
    ("GemmaForCausalLM", ""): "bge",
    ("LayerWiseMiniCPMForCausalLM", ""): "bge",
}


def find_format(checkpoint: Checkpoint, asked: str = "") -> str:
    """The name of a causal model's format, by what its folder says; empty for any other model.

    Args:
        asked: the name that the user gave; empty to tell by the folder.
    """
    if asked and asked not in FORMATS:
        known = ", ".join(FORMATS)
        raise RrarankError(f"--option format={asked}: no such format{did_you_mean(asked, FORMATS)} (known: {known})")
    architecture = next(iter(checkpoint.architectures), "")
    if not architecture.endswith("ForCausalLM"):
        if asked:
            raise RrarankError(f"{checkpoint.name}: is a {architecture}, which needs no format; leave out format")
        return ""
    return asked or _RECOGNISED.get((architecture, _rendered(checkpoint.tokenizer, "{system}", "{user}")), "")


def _rendered(tokenizer: Any, system: str, user: str) -> str:
    """What the chat template makes of two messages; empty if there is none, or it refuses them."""
    messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
    if not tokenizer.chat_template:
        return ""
    try:
        settings = {"tokenize": False, "add_generation_prompt": True, "enable_thinking": False}
        return str(tokenizer.apply_chat_template(messages, **settings))
    except Exception as error:  # a template can raise what it likes
        return f"({error})"


class FormatEncoder:
    """(query, texts) to prompts. Special tokens that a query or text spells are read as other words are.

    Args:
        longest: tokens of a prompt; 0 for the format's own.
        instruction: empty for the format's own.

    Raises:
        RrarankError: the tokens do not suffice for two texts.
    """

    def __init__(self, checkpoint: Checkpoint, chosen: Format, longest: int = 0, instruction: str = "") -> None:
        self._tokenizer = tokenizer = checkpoint.tokenizer
        self._format = replace(chosen, instruction=instruction or chosen.instruction)
        self._special = special_ids(tokenizer)
        before, behind = "", ""
        if chosen.system:
            before, _, behind = _rendered(tokenizer, chosen.system, "\0").partition("\0")
        task = self._format.task.replace("{instruction}", self._format.instruction)
        self._break = self._ids("\n")
        self._before = self._ids(before)
        self._start = [] if chosen.system else _start_of_text(tokenizer)
        self._behind = (self._break + self._ids(task) if task else []) + self._ids(behind)
        own = len(self._before) + len(self._behind)
        usual = chosen.longest if chosen.together else chosen.longest + own  # as their authors count
        most = checkpoint.longest(longest or min(usual, checkpoint.longest(0)))
        self._room = most - own
        if self._room < len(self._start) + len(self._break) + 2:
            raise RrarankError(f"max_length is {most}: the prompt alone has {own} tokens; give {own + 32} or more")
        self.longest, self.cut = most, 0
        self._known: dict[str, np.ndarray] = {}

    def __call__(self, query: str, texts: Sequence[str]) -> list[Ids]:
        """`input_ids` of each prompt, and how many of the first ones are `shared` by all of the query's."""
        if not texts:
            return []
        parts = self._format
        lead = parts.asked if parts.instruction else ""
        asked = f"{lead}{parts.query}".replace("{instruction}", parts.instruction).replace("{query}", query)
        documents = [parts.document.replace("{document}", text) for text in texts]
        inner = self._as_one(asked, documents) if parts.together else self._one_by_one(asked, documents)
        rows = [np.concatenate([self._before, ids, self._behind]).astype(np.int32) for ids in inner]
        shared = np.array([_shared(rows)])
        return [{"input_ids": ids, "shared": shared} for ids in rows]

    def _as_one(self, asked: str, documents: Sequence[str]) -> list[np.ndarray]:
        found = self._tokens([f"{asked}\n{document}" for document in documents])
        self.cut += sum(len(ids) > self._room for ids in found)
        return [ids[: self._room] for ids in found]

    def _one_by_one(self, asked: str, documents: Sequence[str]) -> list[np.ndarray]:
        """The query takes three quarters at most; what is left is the document's."""
        query, *found = self._kept([asked, *documents])
        before = np.concatenate([self._start, query[: self._room * 3 // 4], self._break])
        left = self._room - len(before)
        self.cut += sum(len(query) > self._room * 3 // 4 or len(ids) > left for ids in found)
        return [np.concatenate([before, ids[:left]]) for ids in found]

    def _kept(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The ids of each text; those of documents serve other queries too."""
        if len(self._known) > KEPT_TEXTS:
            self._known = {}
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        self._known.update(zip(new, self._tokens(new), strict=True))
        return [self._known[text] for text in texts]

    def _tokens(self, texts: Sequence[str]) -> list[np.ndarray]:
        with reading_plainly(self._tokenizer):
            found = beginnings(self._tokenizer, texts, self._room + 1)
        return [ids[~np.isin(ids, self._special)] for ids in found]

    def _ids(self, text: str) -> list[int]:
        [ids] = tokenise(self._tokenizer, [text])
        return [int(number) for number in ids]


def _start_of_text(tokenizer: Any) -> list[int]:
    """Gemma and MiniCPM begin a text by a token of its own."""
    begin = tokenizer.bos_token_id
    return [] if begin is None or begin == tokenizer.pad_token_id else [begin]


def _shared(rows: Sequence[np.ndarray]) -> int:
    """How many first ids all rows have in common; 0 for a single row."""
    if len(rows) < 2:
        return 0
    length = min(map(len, rows))
    same = np.all([row[:length] == rows[0][:length] for row in rows], axis=0)
    return int(same.argmin()) if not same.all() else length
