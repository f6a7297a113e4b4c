"""How often do 95% intervals of a mean difference cover the true mean? Percentile bootstrap, BCa and t, by simulation.

    python -m benchmarks quality interval_coverage [--samples 4000] [--resamples 1000] [--seed 1]

Differences are drawn from a normal distribution, from a skewed one (exponential), from one like per-query differences
of nDCG (half of them 0, the others normal), and from one like those of RR (steps of 1/2 and 1, mostly 0).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from scipy import stats
from tabulate import tabulate

QUERIES = (5, 10, 20, 43)
Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]

DISTRIBUTIONS: dict[str, tuple[float, Draw]] = {  # name -> its mean, and samples of it
    "normal": (0.05, lambda rng, shape: rng.normal(0.05, 0.15, shape)),
    "skewed": (1.0, lambda rng, shape: rng.exponential(1.0, shape)),
    "half zero": (0.05, lambda rng, shape: rng.normal(0.1, 0.2, shape) * (rng.random(shape) < 0.5)),
    "steps": (0.15, lambda rng, shape: rng.choice([-0.5, 0.0, 0.5, 1.0], size=shape, p=[0.1, 0.65, 0.1, 0.15])),
}


def percentile(means: np.ndarray, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.quantile(means, [0.025, 0.975], axis=1)
    return low, high


def bca(means: np.ndarray, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bias-corrected and accelerated (Efron, JASA 1987); of samples without variance, the mean."""
    n = samples.shape[1]
    mean = samples.mean(axis=1, keepdims=True)
    below = ((means < mean).mean(axis=1) + (means <= mean).mean(axis=1)) / 2
    bias = stats.norm.ppf(np.clip(below, 1e-3, 1 - 1e-3))
    left = mean - (n * mean - samples) / (n - 1)  # (samples, queries): distances of the jackknife's means
    square = (left**2).sum(axis=1)
    acceleration = (left**3).sum(axis=1) / (6 * np.where(square > 0, square, 1) ** 1.5)
    bounds = []
    for z in stats.norm.ppf([0.025, 0.975]):
        shifted = stats.norm.cdf(bias + (bias + z) / (1 - acceleration * (bias + z)))
        ordered = np.sort(means, axis=1)
        places = np.clip((shifted * means.shape[1]).astype(int), 0, means.shape[1] - 1)
        bounds.append(ordered[np.arange(len(ordered)), places])
    return bounds[0], bounds[1]


def student(means: np.ndarray, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    n = samples.shape[1]
    half = stats.t.ppf(0.975, n - 1) * samples.std(axis=1, ddof=1) / np.sqrt(n)
    return samples.mean(axis=1) - half, samples.mean(axis=1) + half


METHODS = {"percentile": percentile, "BCa": bca, "t": student}


def coverage(name: str, queries: int, samples: int, resamples: int, rng: np.random.Generator) -> list[str]:
    """The share of samples whose interval covers the mean, for each method."""
    mean, draw = DISTRIBUTIONS[name]
    covered = dict.fromkeys(METHODS, 0)
    for _ in range(samples // 100):
        drawn = draw(rng, (100, queries))
        means = np.stack([drawn[:, rng.integers(queries, size=queries)].mean(axis=1) for _ in range(resamples)], axis=1)
        for method, interval in METHODS.items():
            low, high = interval(means, drawn)
            covered[method] += int(((low <= mean + 1e-12) & (mean - 1e-12 <= high)).sum())
    return [f"{count / (samples // 100 * 100):.1%}" for count in covered.values()]


def main() -> None:
    parser = argparse.ArgumentParser(description="Coverage of 95% intervals of a mean, by simulation.")
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    flags = parser.parse_args()
    rng = np.random.default_rng(flags.seed)
    rows = [
        [name, queries, *coverage(name, queries, flags.samples, flags.resamples, rng)]
        for name in DISTRIBUTIONS
        for queries in QUERIES
    ]
    print(tabulate(rows, ["differences", "queries", *METHODS], tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    main()
