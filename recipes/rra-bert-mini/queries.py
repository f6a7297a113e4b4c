"""What passages could be searched for, as topics: `python queries.py CORPUS.jsonl.gz TOPICS.tsv OUTPUT.tsv`

Web passages hold many a question of the kind that people type; and of each passage a sentence, or a few words of one,
is a query too. TOPICS are left out: their labels come from elsewhere.
"""

import random
import re
import sys
from pathlib import Path

from rrarank.data.topics import read_topics
from rrarank.sources.collection import Collection
from rrarank.storage.files import atomic_write

OPENING = re.compile(r"(what|whats|who|how|when|where|why|which|is|are|can|does|do|did|was|were|will|should)\b", re.I)
QUESTION = range(4, 15)  # words
SENTENCE = range(3, 21)
SEED = 1


def main() -> None:
    corpus, topics, output = map(Path, sys.argv[1:])
    taken = {plain(query) for query in read_topics(topics).values()}
    rng = random.Random(SEED)
    found: dict[str, None] = {}
    for _, text in Collection(corpus):
        sentences = re.split(r"(?<=[.!?:])\s+|\n", text)
        questions = [plain(sentence) for sentence in sentences if is_question(sentence)]
        others = [sentence.split() for sentence in sentences if len(sentence.split()) in SENTENCE]
        found |= dict.fromkeys([*questions, *([snippet(rng.choice(others), rng)] if others else [])])
    with atomic_write(output) as file:
        queries = (query for query in found if query and query not in taken)
        file.writelines(f"q{number}\t{query}\n" for number, query in enumerate(queries))


def is_question(sentence: str) -> bool:
    return sentence.endswith("?") and bool(OPENING.match(sentence)) and len(sentence.split()) in QUESTION


def snippet(words: list[str], rng: random.Random) -> str:
    """A sentence, or 2 to 8 words that follow one another in it."""
    if len(words) > 4 and rng.random() < 0.75:
        size = rng.randint(2, min(8, len(words)))
        start = rng.randrange(len(words) - size + 1)
        words = words[start : start + size]
    return plain(" ".join(words).strip(".,;:()'\""))


def plain(text: str) -> str:
    return " ".join(text.lower().rstrip("? ").split())


if __name__ == "__main__":
    main()
