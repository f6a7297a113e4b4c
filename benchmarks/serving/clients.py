"""Clients of other makers, each in an environment of its own, against a real server with the model that ships.

    python -m benchmarks serving clients [--environments DIR] [--only CLIENT …]

Each call of `calls.py` must give the places in the engine's order, with the engine's relevance or sigmoid to 1e-6. pip
installs what an environment lacks; DIR keeps them for the next time. Exit 1 where an answer differs, 3 where a client
cannot be installed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "serve"))

from server_process import serving  # type: ignore[import-not-found]  # noqa: E402

from benchmarks.serving.calls import CALLS, Found  # noqa: E402
from rrarank.data.calibration import sigmoid  # noqa: E402
from rrarank.data.types import Candidate, Query, Ranking  # noqa: E402
from rrarank.engine.blocks import score_block  # noqa: E402
from rrarank.engine.registry import load_reranker  # noqa: E402
from rrarank.sources.sample import sample_rankings  # noqa: E402

NEAR = 1e-6


@dataclass(frozen=True)
class Client:
    """
    Args:
        packages: what pip installs for it; none: its calls need no package.
        pinned: in the versions of constraints.txt, beside the packages of this Python.
        calls: names in `CALLS`, each with what its scores are: `relevance` or `sigmoid`.
    """

    name: str
    packages: tuple[str, ...]
    calls: Mapping[str, str]
    pinned: bool = True


COHERE = {"Client.rerank": "relevance", "Client.rerank, objects": "relevance", "ClientV2.rerank": "relevance"}
CLIENTS = (
    Client("cohere 5", ("cohere>=5.18,<6",), COHERE),
    Client("cohere, newest", ("cohere",), COHERE, pinned=False),
    Client("langchain", ("langchain-cohere",), {"CohereRerank.compress_documents": "relevance"}),
    Client(
        "llama-index",
        tuple(f"llama-index-postprocessor-{name}-rerank" for name in ("cohere", "tei", "jinaai")),
        {"CohereRerank": "relevance", "TextEmbeddingInference": "sigmoid", "JinaRerank": "relevance"},
    ),
    Client(
        "haystack",
        ("cohere-haystack", "huggingface-api-haystack"),
        {"CohereRanker": "relevance", "HuggingFaceTEIRanker": "sigmoid"},
    ),
    Client("openai", ("openai",), {"client.post('/score')": "sigmoid"}),
    Client("plain HTTP, as Jina's", (), {"POST /v1/rerank": "relevance"}),
    Client(
        "LiteLLM",
        (),
        {
            "shape of rerank, cohere/": "relevance",
            "shape of rerank, hosted_vllm/": "relevance",
            "shape of rerank, huggingface/": "sigmoid",
        },
    ),
    Client("OpenSearch", (), {"shape of the rerank processor's connector": "sigmoid"}),
    Client("Vespa", (), {"shape of a search reply's hits": "relevance"}),
    Client(
        "Elasticsearch",
        (),
        {
            "shape of the inference service cohere": "relevance",
            "shape of the inference service hugging_face": "sigmoid",
            "shape of the inference service custom": "sigmoid",
        },
    ),
)


@dataclass(frozen=True)
class Row:
    client: str
    version: str
    call: str
    same_order: str
    same_scores: str

    @property
    def holds(self) -> bool:
        return (self.same_order, self.same_scores) == ("yes", "yes")


def main() -> None:
    parser = argparse.ArgumentParser(description="Clients of other makers against a real server.")
    parser.add_argument("--environments", type=Path, metavar="DIR", help="where they are, or are made and kept")
    names = [client.name for client in CLIENTS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="CLIENT", help=", ".join(names))
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        environments = flags.environments or Path(folder, "environments")
        rows = measured([one for one in CLIENTS if one.name in flags.only], environments, Path(folder))
    columns = ["client", "version", "call", "same order", "same scores"]
    print(tabulate([list(vars(row).values()) for row in rows], columns, tablefmt="github"))
    sys.exit(0 if all(row.holds for row in rows) else 1)


def measured(clients: Sequence[Client], environments: Path, folder: Path) -> list[Row]:
    pythons = {client.name: python_with(client, environments / client.name) for client in clients}
    query, texts = question()
    wanted = expected(query, texts)
    with serving(folder, "--device", "cpu") as server:
        return [
            row(client.name, name, found(pythons[client.name], name, server.url, query, texts), wanted[scores])
            for client in clients
            for name, scores in client.calls.items()
        ]


def python_with(client: Client, folder: Path) -> str:
    """A Python that has the client's packages."""
    if not client.packages:
        return sys.executable
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        if client.pinned:
            [own] = (folder / "lib").glob("python*/site-packages")
            (own / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pins = ["-c", ROOT / "constraints.txt"] if client.pinned else []
    command = [str(one) for one in (python, "-m", "pip", "install", "-q", *pins, *client.packages)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(f"{folder.name}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        sys.exit(3)
    return str(python)


def question() -> tuple[str, list[str]]:
    """The first query of the sample with its best passages, one of them twice, and a text that JSON must escape."""
    ranking = sample_rankings(depth=10)[0]
    texts = [candidate.text for candidate in ranking.candidates]
    return ranking.query.text, [*texts, texts[0], 'Größe "10" \\ 日本語\n{"text": 1}']


def expected(query: str, texts: Sequence[str]) -> dict[str, Found]:
    """What the engine gives, in its order."""
    reranker = load_reranker()
    candidates = tuple(Candidate(str(place), text, 0.0) for place, text in enumerate(texts))
    [hits] = score_block([Ranking(Query("q", query), candidates)], reranker).hits
    relevance = reranker.relevance
    assert relevance is not None
    order = sorted(hits, key=lambda hit: (-hit.score, int(hit.docid)))
    scores = [(int(hit.docid), hit.score) for hit in order]
    return {
        "relevance": [(place, relevance(score)) for place, score in scores],
        "sigmoid": [(place, sigmoid(score)) for place, score in scores],
    }


def found(python: str, call: str, url: str, query: str, texts: Sequence[str]) -> tuple[str, Found] | str:
    """The client's version and what it gives, or the last line of its complaint."""
    script, asked = ROOT / "benchmarks" / "serving" / "calls.py", json.dumps({"query": query, "texts": texts})
    done = subprocess.run([python, script, call, url], input=asked, capture_output=True, text=True)
    if done.returncode:
        return done.stderr.strip().splitlines()[-1]
    answer = json.loads(done.stdout.splitlines()[-1])
    return answer["version"], [(place, score) for place, score in answer["found"]]


def row(client: str, call: str, answer: tuple[str, Found] | str, wanted: Found) -> Row:
    package = CALLS[call][0] or "request as documented"
    if isinstance(answer, str):
        return Row(client, package, call, "no", answer)
    version, given = answer
    order = [place for place, _ in given] == [place for place, _ in wanted]
    apart = max(differences(given, wanted), default=0.0)
    scores = "yes" if len(given) == len(wanted) and apart <= NEAR else f"{apart:.1e} apart"
    return Row(client, f"{package} {version}".strip(), call, "yes" if order else "no", scores)


def differences(given: Found, wanted: Found) -> Iterator[float]:
    scores = dict(wanted)
    return (abs(score - scores[place]) for place, score in given)


if __name__ == "__main__":
    main()
