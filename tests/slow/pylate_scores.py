"""Run where PyLate is installed: save ColBERTs as it saves them, and score by them.

python pylate_scores.py save BACKBONE FOLDER < settings.json
python pylate_scores.py score FOLDER < texts.json > scores.json
"""

import json
import sys

from pylate import models  # type: ignore[import-not-found]
from pylate.scores import colbert_scores  # type: ignore[import-not-found]


def save(backbone: str, folder: str) -> None:
    models.ColBERT(backbone, device="cpu", **json.load(sys.stdin)).save_pretrained(folder)


def score(folder: str) -> None:
    """{batch size: for each query, the score of each text}, by PyLate's own MaxSim."""
    given = json.load(sys.stdin)
    model = models.ColBERT(folder, device="cpu")
    found = {}
    for size in given["batch_sizes"]:
        texts = model.encode(given["texts"], is_query=False, batch_size=size, show_progress_bar=False)
        queries = model.encode(given["queries"], is_query=True, batch_size=size, show_progress_bar=False)
        # One pair at a time: `rank.rerank` pads shorter texts with zeros, which count where all else is negative.
        found[size] = [[float(colbert_scores(query[None], text[None])) for text in texts] for query in queries]
    json.dump(found, sys.stdout)


if sys.argv[1] == "save":
    save(*sys.argv[2:])
else:
    score(*sys.argv[2:])
