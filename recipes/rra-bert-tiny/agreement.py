"""How far students are from the teachers, on random groups of training queries: `python agreement.py RUN MODEL`

RUN is a folder that train.py wrote, whose settings say the teachers; MODEL is a folder, or weights that it kept. Prints
the loss, and the correlation with the teachers within a query.
"""

import argparse
import json
from pathlib import Path

import torch
from evaluate import load
from students import STUDENTS
from train import Data, kl
from transformers import AutoTokenizer

GROUPS, UNSEEN = 20, 10**6  # steps that no training reaches


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("models", nargs="+", type=Path)
    flags = parser.parse_args()
    settings = json.loads((flags.run / "settings.json").read_text())
    own = argparse.Namespace(**settings | {"work": Path(settings["work"])})
    torch.set_num_threads(1)
    data = Data(own, AutoTokenizer.from_pretrained(own.model))
    groups = [group for step in range(GROUPS // own.groups) for group in data.batch(UNSEEN + step)]
    queries, passages, aims = zip(*groups, strict=True)
    for path in flags.models:
        student = STUDENTS[own.student](load(path)[1], own.terms)
        with torch.inference_mode():
            scores, targets = student.scores(queries, passages), torch.stack(aims)
        pairs = zip(scores.flatten(0, 1), targets.flatten(0, 1), strict=True)
        alike = torch.stack([torch.corrcoef(torch.stack(pair))[0, 1] for pair in pairs]).mean().item()
        loss = kl(scores, targets, own).item()
        print(json.dumps({"model": str(path), "kl": round(loss, 4), "r": round(alike, 4)}), flush=True)


if __name__ == "__main__":
    main()
