"""Train the student on towards the teachers' scores: `python train.py MODEL WORK OUTPUT [--steps …]`

WORK holds `texts/train.jsonl`, `queries.tsv` and `candidates.npz`. Every --save steps OUTPUT/state.pt is replaced; a
job with one there goes on from it.
"""

import argparse
import json
import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # its usual name
from scores import Stored, products
from students import STUDENTS, Ids
from torch import Tensor
from transformers import AutoModelForMaskedLM, AutoTokenizer

QUERY_TOKENS = 32
FIRST = 12  # of a query's candidates: half of those shown come from these


def main() -> None:
    flags = _parser().parse_args()
    torch.set_num_threads(flags.threads)
    tokenizer = AutoTokenizer.from_pretrained(flags.model)
    model = AutoModelForMaskedLM.from_pretrained(flags.model, dtype=torch.float32, attn_implementation="eager")
    student = STUDENTS[flags.student](model, flags.terms)
    data = Lists(flags, tokenizer) if flags.lists else Data(flags, tokenizer)
    optimizer = torch.optim.AdamW(parameters(model, flags), lr=flags.learning_rate, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, flags))
    flags.output.mkdir(parents=True, exist_ok=True)
    (flags.output / "settings.json").write_text(json.dumps(vars(flags), default=str, indent=1) + "\n")
    state, step = flags.output / "state.pt", 0
    if state.exists():
        found = torch.load(state, weights_only=True)
        model.load_state_dict(found["model"])
        optimizer.load_state_dict(found["optimizer"])
        schedule.load_state_dict(found["schedule"])
        step = found["step"]
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    started, total = time.perf_counter(), 0.0
    while step < flags.steps:
        groups = data.batch(step)
        losses, size = [], 0
        for alike in same_shape(groups):  # lists of clicks or labels may be shorter than --passages
            queries, passages, targets = zip(*alike, strict=True)
            scores = student.scores(queries, passages)  # (groups, queries, passages)
            losses.append(LOSSES[flags.loss](scores, torch.stack(targets), flags) * len(alike) / len(groups))
            size += scores.numel()
        loss = sum(losses)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        schedule.step()
        step, total = step + 1, total + loss.item()
        if step % flags.log == 0:
            pairs = flags.log * size / (time.perf_counter() - started)
            line = {"step": step, "loss": round(total / flags.log, 4), "pairs_s": round(pairs, 1)}
            with open(flags.output / "training.jsonl", "a") as file:
                file.write(json.dumps(line) + "\n")
            print(line, flush=True)
            started, total = time.perf_counter(), 0.0
        if step % flags.save == 0 or step == flags.steps:
            _save(state, model=model, optimizer=optimizer, schedule=schedule, step=step)
            model.save_pretrained(flags.output / "model")
            tokenizer.save_pretrained(flags.output / "model")
            if flags.keep:
                torch.save(model.state_dict(), flags.output / f"step-{step}.pt")


Group = tuple[list[Ids], list[Ids], Tensor]


def same_shape(groups: Sequence[Group]) -> list[list[Group]]:
    """The groups, those with targets of one shape together."""
    found: dict[torch.Size, list[Group]] = {}
    for group in groups:
        found.setdefault(group[2].shape, []).append(group)
    return list(found.values())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("work", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--student", choices=STUDENTS, default="sparse")
    parser.add_argument("--candidates", default="candidates.npz")
    parser.add_argument("--lists", type=Path, help="a distillation set to learn from in their place")
    parser.add_argument("--weights", nargs="+", default=["minilm=1", "mpnet=1", "splade=1"], help="of each teacher")
    parser.add_argument("--loss", choices=LOSSES, default="kl")
    parser.add_argument("--scale", type=float, default=2.0, help="of the teachers' scores, in deviations")
    parser.add_argument("--groups", type=int, default=4, help="of a step")
    parser.add_argument("--queries", type=int, default=8, help="of a group: one and those nearest to it")
    parser.add_argument("--passages", type=int, default=64, help="of a group: its queries' candidates")
    parser.add_argument("--max-length", type=int, default=160)
    parser.add_argument("--terms", type=int, default=64)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--warm-up", type=int, default=50)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--freeze-words", action="store_true", help="leave the word embeddings as they are")
    parser.add_argument("--web", type=float, default=0.5, help="share of groups that begin with a web query")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--log", type=int, default=20)
    parser.add_argument("--save", type=int, default=200)
    parser.add_argument("--keep", action="store_true", help="keep the weights of every save")
    parser.add_argument("--threads", type=int, default=1)
    return parser


def parameters(model: torch.nn.Module, flags: argparse.Namespace) -> list[torch.nn.Parameter]:
    if flags.freeze_words:
        model.get_input_embeddings().weight.requires_grad_(False)
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def rate(step: int, flags: argparse.Namespace) -> float:
    """Up linearly, down along half a cosine to a twentieth."""
    if step < flags.warm_up:
        return (step + 1) / flags.warm_up
    done = (step - flags.warm_up) / max(flags.steps - flags.warm_up, 1)
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def _save(path: Path, *, step: int, **parts: object) -> None:
    beside = path.with_suffix(".part")
    torch.save({"step": step, **{name: part.state_dict() for name, part in parts.items()}}, beside)  # type: ignore[attr-defined]
    os.replace(beside, path)


# -- losses -----------------------------------------------------------------------------------------------------------


def kl(scores: Tensor, targets: Tensor, flags: argparse.Namespace) -> Tensor:
    """Listwise KL divergence to the teachers' distribution."""
    aim = torch.softmax(flags.scale * targets, -1)
    return F.kl_div(F.log_softmax(scores, -1), aim, reduction="none").sum(-1).mean()


def margin_mse(scores: Tensor, targets: Tensor, flags: argparse.Namespace) -> Tensor:
    """Squared error of all differences within a query (Hofstätter et al., 2020); the mean of a list is left free."""
    apart = scores - flags.scale * targets
    return 2 * (apart - apart.mean(-1, keepdim=True)).square().mean()


def ranknet(scores: Tensor, targets: Tensor, flags: argparse.Namespace) -> Tensor:
    """log(1 + exp(s_j - s_i)) for i above j (Burges et al., 2005), listed pairs and listed above missing apart.

    A target of 0 is missing: below every listed one, tied with the others.
    """
    above = targets[..., :, None] > targets[..., None, :]
    missing = (targets == 0)[..., None, :].expand_as(above)
    costs = F.softplus(scores[..., None, :] - scores[..., :, None])
    return sum(costs[above & kind].mean() for kind in (missing, ~missing) if (above & kind).any())


LOSSES: dict[str, Callable[[Tensor, Tensor, argparse.Namespace], Tensor]] = {
    "kl": kl,
    "margin-mse": margin_mse,
    "ranknet": ranknet,
}


# -- data -------------------------------------------------------------------------------------------------------------


class Data:
    """Random groups of queries with some of their candidates; what a step sees depends on seed and step alone."""

    def __init__(self, flags: argparse.Namespace, tokenizer: object) -> None:
        stored = np.load(flags.work / flags.candidates)
        self.flags, self.candidates, self.alike = flags, stored["candidates"], stored["alike"]
        self.qids, self.docids = stored["qids"].tolist(), stored["docids"].tolist()
        models = stored["models"].tolist()
        self.teachers = [
            Teacher(flags.work / "vectors" / name, float(weight), stored["scores"][models.index(name)])
            for name, _, weight in (text.partition("=") for text in flags.weights)
        ]
        print({text: round(teacher.deviation, 4) for text, teacher in zip(flags.weights, self.teachers, strict=True)})
        rows = (line.split("\t", 1) for line in (flags.work / "queries.tsv").read_text(encoding="utf-8").splitlines())
        topics = dict(rows)
        self.queries = _tokenise(tokenizer, [topics[qid] for qid in self.qids], QUERY_TOKENS)
        lines = (flags.work / "texts/train.jsonl").read_text(encoding="utf-8").splitlines()
        self.passages = _tokenise(tokenizer, [json.loads(line)["contents"] for line in lines], flags.max_length)
        web = np.array([qid.startswith("web") for qid in self.qids])
        self.chance = np.where(web, flags.web / web.sum(), (1 - flags.web) / (~web).sum())

    def batch(self, step: int) -> list[tuple[list[Ids], list[Ids], Tensor]]:
        """Groups of queries, passages and targets (queries, passages)."""
        rng = np.random.default_rng((self.flags.seed, step))
        drawn = rng.choice(len(self.qids), self.flags.groups, replace=False, p=self.chance)
        return [self.group(query, rng) for query in drawn]

    def group(self, query: int, rng: np.random.Generator) -> tuple[list[Ids], list[Ids], Tensor]:
        asked, size = self.alike[query][: self.flags.queries], self.flags.passages
        each = [
            np.concatenate([rng.permutation(own[:FIRST]), rng.permutation(own[FIRST:])])
            for own in self.candidates[asked]
        ]
        half = size // (2 * len(asked))  # of each query's first candidates and of its others
        drawn = np.concatenate([own[place] for own in each for place in (slice(half), slice(FIRST, FIRST + half))])
        rest = rng.permutation(np.concatenate(each))
        shown = list(dict.fromkeys([*drawn.tolist(), *rest.tolist()]))
        shown += [row for row in rng.permutation(len(self.docids))[: 2 * size].tolist() if row not in shown]
        shown = shown[:size]
        qids, docids = [self.qids[row] for row in asked], [self.docids[row] for row in shown]
        targets = sum(teacher(qids, docids) for teacher in self.teachers) / sum(one.weight for one in self.teachers)
        return [self.queries[row] for row in asked], [self.passages[row] for row in shown], torch.from_numpy(targets)


class Lists:
    """Random lists of a distillation set, as many listed as missing documents of each; unknown ones are left out."""

    def __init__(self, flags: argparse.Namespace, tokenizer: object) -> None:
        labels = list(map(json.loads, flags.lists.read_text(encoding="utf-8").splitlines()))
        labels = [label for label in labels if label["listed"] and label["missing"]]
        self.flags, self.labels = flags, labels
        self.queries = _tokenise(tokenizer, [label["query"] for label in labels], QUERY_TOKENS)
        texts = {one["docid"]: one["text"] for label in labels for one in label["shown"]}
        ids = _tokenise(tokenizer, list(texts.values()), flags.max_length)
        self.passages = dict(zip(texts, ids, strict=True))

    def batch(self, step: int) -> list[tuple[list[Ids], list[Ids], Tensor]]:
        rng = np.random.default_rng((self.flags.seed, step))
        return [self.group(place, rng) for place in rng.choice(len(self.labels), self.flags.groups, replace=False)]

    def group(self, place: int, rng: np.random.Generator) -> tuple[list[Ids], list[Ids], Tensor]:
        label, size = self.labels[place], self.flags.passages
        value = {docid: len(label["listed"]) - rank for rank, docid in enumerate(label["listed"])}
        listed = rng.permutation(label["listed"])[: max(size // 2, size - len(label["missing"]))].tolist()
        shown = [*listed, *rng.permutation(label["missing"])[: size - len(listed)].tolist()]
        targets = torch.tensor([[float(value.get(docid, 0)) for docid in shown]])
        return [self.queries[place]], [self.passages[docid] for docid in shown], targets


class Teacher:
    """Inner products of stored vectors, in deviations within a query's candidates, times the teacher's weight."""

    def __init__(self, folder: Path, weight: float, scores: np.ndarray) -> None:
        self.queries, self.passages = Stored(folder, ["queries-train"]), Stored(folder, ["train"])
        self.weight, self.deviation = weight, float(scores.std(-1).mean())

    def __call__(self, qids: Sequence[str], docids: Sequence[str]) -> np.ndarray:
        return self.weight / self.deviation * products(self.queries[qids], self.passages[docids])


def _tokenise(tokenizer: object, texts: Sequence[str], longest: int) -> list[list[int]]:
    return tokenizer(list(texts), truncation=True, max_length=longest)["input_ids"]  # type: ignore[operator]


if __name__ == "__main__":
    main()
