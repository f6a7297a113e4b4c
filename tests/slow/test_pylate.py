"""Late interaction against PyLate itself, which has an environment of its own: it needs an older sentence-transformers.

Its index packages, which pin a torch of their own, are left out: encoding and scoring do not import them.
"""

import json
import string
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hub_folders import pylate_folder, stanford_folder  # type: ignore[import-not-found]  # in tests/
from registry import make_environment  # type: ignore[import-not-found]  # pytest finds it beside this file
from transformers import BertConfig, BertModel

from rrarank import Candidate, Query, Ranking, load_reranker

pytestmark = pytest.mark.slow

PYLATE = ["pylate==1.6.0"]
PEERS = ["sentence-transformers==5.3.0", "transformers==5.3.0", "tokenizers<0.23", "huggingface-hub<2"]
BATCH_SIZES = [1, 7, 32]
TEXTS = [
    "the cat sat.",
    "tea",
    "a document about dogs " * 30,
    "",
    "mat mat",
    "how long is: the bread?",
    "why cats",
    "?.",
]
QUERIES = ["why cats", "how long is the tea, the bread and the mat of the cat?", "", "tea."]
SAVED_BY_PYLATE: dict[str, dict[str, Any]] = {
    "plain": {},
    "no expansion": {"do_query_expansion": False},
    "attended expansion": {"attend_to_expansion_tokens": True},
    "no marks": {"query_prefix": "", "document_prefix": ""},
    "words as marks": {"query_prefix": "why ", "document_prefix": "the ", "skiplist_words": ["mat"]},
}


@pytest.fixture(scope="module")
def pylate(tmp_path_factory):
    """Runs pylate_scores.py in its environment."""
    python = make_environment(tmp_path_factory.mktemp("pylate") / "venv", PEERS, ["--no-deps", *PYLATE])
    script = Path(__file__).with_name("pylate_scores.py")

    def run(*words, given):
        command = [python, str(script), *map(str, words)]
        done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="module")
def words(tokenizer, tmp_path_factory):
    """The tokenizer with all punctuation, as BERT's has it: PyLate skips unknown words if a skipped one is unknown."""
    path = tmp_path_factory.mktemp("words") / "vocab.txt"
    known = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    path.write_text("\n".join(dict.fromkeys([*known, *string.punctuation])))
    return type(tokenizer)(str(path), model_max_length=64)


@pytest.fixture(scope="module")
def folders(pylate, words, tiny_bert, tmp_path_factory):
    """name -> a folder that PyLate saved, or one in a layout of the hub."""
    backbone = tmp_path_factory.mktemp("backbone")
    BertModel(BertConfig(**tiny_bert.to_dict() | {"vocab_size": len(words)})).save_pretrained(backbone)
    words.save_pretrained(backbone)
    made = {}
    for name, settings in SAVED_BY_PYLATE.items():
        made[name] = tmp_path_factory.mktemp("saved")
        sizes = {"embedding_size": 8, "query_length": 12, "document_length": 40}
        pylate("save", backbone, made[name], given=sizes | settings)
    made["hub, PyLate"] = pylate_folder(tmp_path_factory.mktemp("new"), words, tiny_bert)
    made["hub, old PyLate"] = pylate_folder(tmp_path_factory.mktemp("old"), words, tiny_bert, old=True)
    made["hub, Stanford"] = stanford_folder(tmp_path_factory.mktemp("stanford"), words, tiny_bert)
    return made


def test_scores_are_pylates(folders, pylate):
    for name, folder in folders.items():
        given = {"batch_sizes": BATCH_SIZES, "texts": TEXTS, "queries": QUERIES}
        expected = json.loads(pylate("score", folder, given=given))
        for size in BATCH_SIZES:
            reranker = load_reranker("late-interaction", model=str(folder), device="cpu", batch_size=size)
            for query, theirs in zip(QUERIES, expected[str(size)], strict=True):
                assert scores(reranker, query) == pytest.approx(theirs, abs=1e-4), (name, size, query)
                assert max(theirs) - min(theirs) > 1e-2


def scores(reranker, query):
    candidates = tuple(Candidate(f"d{i}", text, 0.0) for i, text in enumerate(TEXTS))
    [ranked] = reranker.rerank_block([Ranking(Query("1", query), candidates)])
    found = {candidate.docid: candidate.score for candidate in ranked.candidates}
    return [found[f"d{i}"] for i in range(len(TEXTS))]
