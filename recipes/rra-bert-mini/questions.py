"""The questions that passages ask, as topics: `python questions.py CORPUS.jsonl.gz TOPICS.tsv OUTPUT.tsv`

Web passages hold many a question of the kind that people type. TOPICS are left out: their labels come from elsewhere.
"""

import re
import sys
from pathlib import Path

from rrarank.files import atomic_write
from rrarank.texts import Collection
from rrarank.trec import read_topics

OPENING = re.compile(r"(what|whats|who|how|when|where|why|which|is|are|can|does|do|did|was|were|will|should)\b", re.I)
WORDS = range(4, 15)


def main() -> None:
    corpus, topics, output = map(Path, sys.argv[1:])
    taken = {plain(query) for query in read_topics(topics).values()}
    texts = (text for _, text in Collection(corpus))
    sentences = (sentence for text in texts for sentence in re.split(r"(?<=[.!?])\s+", text))
    questions = dict.fromkeys(plain(sentence) for sentence in sentences if is_question(sentence))
    with atomic_write(output) as file:
        file.writelines(
            f"q{number}\t{question}\n" for number, question in enumerate(q for q in questions if q not in taken)
        )


def is_question(sentence: str) -> bool:
    return sentence.endswith("?") and bool(OPENING.match(sentence)) and len(sentence.split()) in WORDS


def plain(text: str) -> str:
    return " ".join(text.lower().rstrip("? ").split())


if __name__ == "__main__":
    main()
