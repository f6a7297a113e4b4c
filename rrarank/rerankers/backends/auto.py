"""`--backend auto`: measure on the sample which back end is fastest and ranks as torch does in float32."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from importlib.util import find_spec
from itertools import chain, cycle
from pathlib import Path
from statistics import median

from rrarank.data.types import Ranking, blocks
from rrarank.engine.agreement import Lists, agreement
from rrarank.engine.batches import Batch
from rrarank.engine.reranker import Pointwise, RerankerConfig
from rrarank.errors import RrarankError
from rrarank.rerankers.backends.base import CrossEncoderConfig
from rrarank.rerankers.backends.exported import FILES, LIBRARIES
from rrarank.rerankers.cross_encoder import CrossEncoder
from rrarank.rerankers.sparse_encoder import SparseEncoder, SparseEncoderConfig
from rrarank.sources.sample import sample_rankings
from rrarank.storage.journal import Journal, note_key
from rrarank.storage.model_folders import fingerprint, locate

DEPTH, QUERIES = 20, 4  # a block of the sample: about 75 pairs, two of the engine's batches on a CPU
LEAST_S, MOST_S = 2.0, 10.0  # the shortest timing; torch fp32 skips the rest of the sample after the longest
HOPELESS = 0.5  # of the best rate so far: a back end slower than that on its first block is given up

Config = CrossEncoderConfig | SparseEncoderConfig
MEASURED: Mapping[type[Config], type[Pointwise]] = {
    CrossEncoderConfig: CrossEncoder,
    SparseEncoderConfig: SparseEncoder,
}


@dataclass(frozen=True)
class Choice:
    """The chosen back end, and facts of each one tried: precision, pairs per second, agreement, what it lacks."""

    backend: str
    precision: str
    tried: Sequence[Mapping[str, str | float]]

    def __str__(self) -> str:
        rates = (
            f"{one['backend']} {one['precision']} {one['pairs_s']:,.0f}{' (ranks differently)' if one['lacks'] else ''}"
            for one in self.tried
        )
        return f"{self.backend} {self.precision}; pairs/s on the sample: {', '.join(rates)}"


def choose_backend(config: RerankerConfig, journal: Journal | None = None) -> Choice:
    """Choose for this model, these settings and this machine; a resumed job reads the choice from its journal.

    Args:
        config: of a cross-encoder or a sparse encoder; its back end and precision are ignored.

    Raises:
        RrarankError: the config is of another kind.
    """
    plain = _plain(config)
    folder = locate(plain.model, allow_pickle=plain.allow_pickle)
    key = note_key("backend", "auto", fingerprint(folder), asdict(replace(plain, model="")))
    if journal is not None and key in journal:
        return Choice(**journal[key])
    choice = _measure(plain, folder)
    if journal is not None:
        journal.add(key, asdict(choice))
    return choice


def _plain(config: RerankerConfig) -> Config:
    """The settings of the model that is measured, on torch in float32."""
    for kind in MEASURED:
        if isinstance(config, kind):
            own = {setting.name: getattr(config, setting.name) for setting in fields(kind)}  # not a cascade's
            kept = {"cache": ""} if "cache" in own else {}  # a document that is read from there runs on no back end
            return kind(**own | kept | {"backend": "torch", "precision": "fp32"})
    raise RrarankError("--backend auto: only cross-encoders and sparse encoders are measured; leave it out")


def _measure(plain: Config, folder: Path) -> Choice:
    sample = list(blocks(sample_rankings(DEPTH), QUERIES))
    reference = _try(plain, sample, most_s=MOST_S)
    sample = sample[: math.ceil(len(reference.scores) / QUERIES)]
    best, tried = reference, [_facts(reference, reference)]
    for config in _others(plain, folder):
        trial = _try(config, sample, hopeless=HOPELESS * best.rate)
        tried.append(_facts(trial, reference))
        if trial.rate > best.rate and not tried[-1]["lacks"]:
            best = trial
    return Choice(best.config.backend, best.config.precision, tried)


def _others(plain: Config, folder: Path) -> Iterator[Config]:
    """The other back ends and precisions that this machine and this folder offer."""
    yield replace(plain, precision="bf16")
    if plain.device not in ("", "cpu"):
        return
    for backend, files in FILES.items():
        for precision, file in files.items():
            if find_spec(LIBRARIES[backend]) and (folder / file).is_file():
                yield replace(plain, backend=backend, precision=precision)


@dataclass(frozen=True)
class _Trial:
    config: Config
    scores: Lists
    rate: float


def _try(
    config: Config,
    sample: Sequence[Sequence[Ranking]],
    *,
    hopeless: float = 0.0,
    most_s: float = math.inf,
) -> _Trial:
    """Score the sample, repeat it until the timing is long enough; the rate is the median over blocks."""
    reranker = MEASURED[type(config)](config)
    encoded = [[_encode(reranker, ranking) for ranking in block] for block in sample]
    reranker.score_all(encoded[0][0])  # the first batch allocates memory and code
    scores: list[Sequence[float]] = []
    rates: list[float] = []
    spent = 0.0
    for turn, block in enumerate(cycle(encoded)):
        whole = turn >= len(encoded)
        if (whole and spent >= LEAST_S) or (turn and (spent >= most_s or rates[0] < hopeless)):
            break
        started = time.perf_counter()
        found = iter(reranker.score_all(list(chain.from_iterable(block))))
        seconds = time.perf_counter() - started
        spent += seconds
        rates.append(sum(map(len, block)) / seconds)
        if not whole:
            scores += [[next(found) for _ in pairs] for pairs in block]
    return _Trial(config, scores, median(rates))


def _encode(reranker: Pointwise, ranking: Ranking) -> Batch:
    return reranker.encode(ranking.query.text, [candidate.text for candidate in ranking.candidates])


def _facts(trial: _Trial, reference: _Trial) -> Mapping[str, str | float]:
    backend, precision = trial.config.backend, trial.config.precision
    alike = agreement(trial.scores, reference.scores[: len(trial.scores)])
    return {
        "backend": backend,
        "precision": precision,
        "pairs_s": round(trial.rate, 1),
        **{
            name: round(figure, 6) for name, figure in asdict(alike).items() if math.isfinite(figure)
        },  # JSON has no NaN
        "lacks": alike.lacks(same_scores=precision == "fp32"),
    }
