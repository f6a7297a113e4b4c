"""First stage: topics and an index in, a BM25 run out. `python -m rrarank.retrieve`"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from rrarank.cli import Arguments, Parser, add_threads, positive, run_verb, say
from rrarank.errors import MissingResource, RrarankError
from rrarank.files import find, is_file, stem
from rrarank.lucene import BM25, LuceneIndex, build_index, start_java
from rrarank.names import TEXTS, TOPICS, file_or_id, known
from rrarank.sidecar import fingerprint, read_sidecar, refuse_unsafe, write_sidecar
from rrarank.texts import Collection, load_topics
from rrarank.trec import check_tag, write_run


def main(arguments: Arguments = None) -> int:
    return run_verb(_retrieve, _parser(), arguments)


def _parser() -> argparse.ArgumentParser:
    parser = Parser("retrieve", "Search a Lucene index with BM25; index the collection first where there is no index.")
    parser.add_argument("--index", required=True, help="folder of a Lucene index; made from --collection if absent")
    parser.add_argument("--collection", help="JSONL (id, contents) or TSV file, plain or .gz, to index")
    parser.add_argument(
        "--topics", required=True, help="file of qid<TAB>query, or JSONL, or a name such as dl19-passage"
    )
    parser.add_argument("--output", help="the run to write; - for stdout (default: <topics>.bm25.trec)")
    parser.add_argument("--hits", type=positive, default=1000, help="documents per query")
    parser.add_argument("--bm25", action="store_true", help="rank by BM25, which is the only way so far")
    parser.add_argument("--k1", type=float, default=0.9, help="BM25 term saturation")
    parser.add_argument("--b", type=float, default=0.4, help="BM25 length normalisation")
    parser.add_argument("--rm3", action="store_true", help="expand queries by RM3 (10 terms, 10 documents, weight .5)")
    parser.add_argument("--language", help="analyser, ISO code such as ko (default: the index's own, else en)")
    parser.add_argument("--runtag", default="bm25", help="the run's tag, 1-20 of A-Z a-z 0-9 _ . -")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    add_threads(parser)
    return parser


def _retrieve(flags: argparse.Namespace) -> None:
    topics = file_or_id(flags.topics, TOPICS)
    output = flags.output or f"{stem(topics)}.bm25.trec"
    collection = find(flags.collection) if flags.collection else None
    refuse_unsafe(output, flags.overwrite, [topics, collection])
    check_tag(flags.runtag)
    bm25 = BM25(k1=flags.k1, b=flags.b, rm3=flags.rm3)
    queries = load_topics(topics)
    index = _ensure_index(flags, collection)

    started = time.perf_counter()
    run = index.searcher.search(
        queries, hits=flags.hits, bm25=bm25, language=index.language, threads=flags.threads or 1
    )
    seconds = time.perf_counter() - started
    write_run(output, run, flags.runtag)
    if is_file(output):
        texts = {"collection": index.collection} if index.collection else {"index": index.path}
        config = {"hits": flags.hits, "language": index.language, "bm25": asdict(bm25)}
        write_sidecar(
            Path(output), inputs={"topics": topics, **texts}, config=config, timings={"search_s": round(seconds, 3)}
        )
        print(output)
    without = sum(not run[qid] for qid in run)
    notice = f", {without} without any hit" if without else ""
    say(f"{len(run):,} queries{notice}, {sum(map(len, run.values())):,} hits in {seconds:.1f} s")


@dataclass(frozen=True)
class _Index:
    path: Path
    searcher: LuceneIndex
    language: str
    collection: Path | None


def _ensure_index(flags: argparse.Namespace, collection: Path | None) -> _Index:
    """The index of that name, made from the collection if it is not there; it must fit what the flags say."""
    path = Path(flags.index)
    if not path.exists():
        if collection is None:
            if str(path) in known(TEXTS):
                raise MissingResource(
                    f"{path}: a prebuilt index of Pyserini's that is not on disk; download it with Pyserini and "
                    "give its folder, or give --collection COLLECTION.jsonl and a folder to make one"
                )
            raise RrarankError(f"{path}: no such index; give --collection COLLECTION.jsonl to make it")
        _build(path, collection, flags.language or "en", flags.threads or 1)
    language, made_from = _described(path, flags.language, collection)
    return _Index(path, LuceneIndex(path), language, collection or made_from)


def _build(path: Path, collection: Path, language: str, threads: int) -> None:
    refuse_unsafe(path, True, [collection])
    say(f"indexing {collection} into {path}")
    documents = tqdm(Collection(collection), unit=" documents", disable=None)
    start_java()  # before the collection is read, so that its absence is said at once
    count, empty = build_index(documents, path, language=language, threads=threads)
    if empty:
        say(f"{empty:,} empty documents left out")
    write_sidecar(path, inputs={"collection": collection}, config={"language": language, "documents": count})


def _described(path: Path, language: str | None, collection: Path | None) -> tuple[str, Path | None]:
    """The index's language and collection as its sidecar has them; flags that contradict it are an error."""
    sidecar = read_sidecar(path)
    if sidecar is None:
        return language or "en", None
    recorded = str(sidecar.content.get("config", {}).get("language", "en"))
    if language not in (None, recorded):
        raise RrarankError(f"{path}: indexed with --language {recorded}, asked with {language}; give another --index")
    if collection and fingerprint(collection) != sidecar.content["inputs"].get("collection", {}).get("sha256"):
        raise RrarankError(
            f"{path}: made from another collection than {collection} ({sidecar.path}); give another --index"
        )
    made_from = sidecar.input("collection")
    return recorded, made_from if isinstance(made_from, Path) else None


if __name__ == "__main__":
    sys.exit(main())
