"""Prepare a column's candidates and judgments by its protocol.

`bm25-top`: the first stage's top `depth`. `judged-pool`: the judged passages that have a text, for each query with a
relevant one, in the order of a run or of BM25; passages that neither ranks follow by docid. Direct columns
(`ColumnConfig.is_direct`) use their run as it is. For all others a run is written, with a sidecar that names its topics
and texts, so that `python -m rrarank.rerank --run` needs no other flag.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from rrarank.data.trec import write_run
from rrarank.data.types import Hit, Qrels, Run
from rrarank.errors import RrarankError
from rrarank.reproduce.config import BM25Config, ColumnConfig
from rrarank.reproduce.folder import claim
from rrarank.sources.collection import Collection
from rrarank.sources.inputs import Inputs, Origins, load_inputs, load_run, places_of, sources_of, topics_of
from rrarank.sources.ir_datasets import IrDatasetsTexts
from rrarank.sources.lucene import BM25, LuceneIndex, build_index
from rrarank.sources.names import file_or_id
from rrarank.sources.texts import gather, load_qrels
from rrarank.storage.sidecar import fingerprint, read_sidecar, write_sidecar

EXCLUDED = -100  # a grade from which on a document is not judged but must be left out (BRIGHT)
SPARE = 100  # more candidates than the depth, for those that are left out
Places = Mapping[str, str | Path]


@dataclass(frozen=True)
class Candidates:
    """A column, ready to be re-ranked.

    Args:
        run: for `python -m rrarank.rerank --run`; `origins` are its other flags.
        inputs: the run with its queries and texts.
        qrels: judgments of the column's queries.
        queries: number of judged queries before a sample is drawn.
        judged: number of passages in `qrels`; `with_text` of them have a text.
    """

    run: Path
    origins: Origins
    inputs: Inputs
    qrels: Qrels
    queries: int
    judged: int
    with_text: int


def prepare(column: ColumnConfig, folder: Path) -> Candidates:
    """Read the column's files, and make its first stage, pool or sample in `folder`.

    Raises:
        MissingResource: a data set is not on disk and cannot be downloaded.
        RrarankError: a file is malformed, or topics or texts are missing.
    """
    read = load_qrels(file_or_id(column.qrels, "qrels") if column.qrels else column.dataset)
    known, excluded = _without_excluded(read)
    qrels = _drawn(column, known)
    origins = Origins(column.topics, column.collection, column.index, column.dataset)
    run = Path(column.run)
    if not column.is_direct:
        claim(folder.parent)
        make = _pool if column.is_pool else _top
        hits, places = make(column, qrels, origins, folder)
        hits = _left(column, hits, excluded)
        run, origins = folder / "candidates.trec", Origins()
        write_run(run, hits.items(), "candidates")
        kept = {name: place for name, place in places.items() if name in ("topics", "collection", "index", "dataset")}
        write_sidecar(run, inputs=kept, config=asdict(column))
    inputs = load_inputs(run, origins, depth=column.most)
    if not any(inputs.run.get(qid) for qid in qrels):
        raise RrarankError(f"{run}: none of its queries is judged in {column.qrels or column.dataset}; other topics?")
    judged = {docid for grades in qrels.values() for docid in grades}
    with_text = len(gather(sources_of(inputs.origins), judged))
    return Candidates(run, origins, inputs, qrels, len(known), len(judged), with_text)


def _without_excluded(read: Qrels) -> tuple[Qrels, dict[str, set[str]]]:
    """The judgments, and qid -> documents that must not be ranked, as BRIGHT marks some by a grade of -100."""
    excluded = {qid: {docid for docid, grade in grades.items() if grade <= EXCLUDED} for qid, grades in read.items()}
    known = {qid: {d: g for d, g in grades.items() if d not in excluded[qid]} for qid, grades in read.items()}
    return {qid: grades for qid, grades in known.items() if grades}, excluded


def _left(
    column: ColumnConfig, hits: Mapping[str, Sequence[Hit]], excluded: Mapping[str, set[str]]
) -> dict[str, list[Hit]]:
    """The candidates without those that must not be ranked."""
    gone = {qid: excluded.get(qid, set()) | ({qid} if column.remove_query else set()) for qid in hits}
    return {qid: [hit for hit in found if hit.docid not in gone[qid]][: column.most] for qid, found in hits.items()}


def _drawn(column: ColumnConfig, qrels: Qrels) -> Qrels:
    """The column's judged queries, or a sample of them; a pool keeps only queries with a relevant passage."""
    if column.is_pool:
        qrels = {qid: grades for qid, grades in qrels.items() if max(grades.values()) > 0}
    if not column.sample or column.sample >= len(qrels):
        return qrels
    drawn = set(random.Random(column.seed).sample(sorted(qrels), column.sample))
    return {qid: grades for qid, grades in qrels.items() if qid in drawn}


# -- the top of a first stage -----------------------------------------------------------------------------------------


def _top(
    column: ColumnConfig, qrels: Qrels, origins: Origins, folder: Path
) -> tuple[Mapping[str, Sequence[Hit]], Places]:
    if column.run:
        file, places = load_run(Path(column.run), origins)
        return {qid: file.run[qid] for qid in file.run if qid in qrels}, places
    assert column.bm25  # check_table refuses a column with neither
    places = places_of(origins)
    index = Path(column.index) if column.index else _indexed(column, places, folder / "index")
    topics = {qid: query for qid, query in topics_of(places).items() if qid in qrels}
    return _search(index, topics, column.bm25, column.depth + SPARE), places


def _indexed(column: ColumnConfig, places: Places, index: Path) -> Path:
    """An index of the column's collection or data set; an index of another one is replaced."""
    assert column.bm25
    collection, dataset = places.get("collection"), str(places.get("dataset", ""))
    if not (collection or dataset):
        raise RrarankError(f"{column.title}: bm25 needs an index, a collection or a dataset; or give a run")
    settings = {"language": column.bm25.language} | ({} if collection else {"dataset": dataset})
    if index.exists():
        made = read_sidecar(index)
        if made is None:
            raise RrarankError(f"{index}: no sidecar says that rrarank made it; move it away or remove it")
        of = made.content["inputs"].get("collection", {}).get("sha256")
        same = not collection or of == fingerprint(Path(collection))
        if same and made.content.get("config") == settings:
            return index
        shutil.rmtree(index)
    documents = Collection(Path(collection)) if collection else IrDatasetsTexts(dataset)
    build_index(documents, index, language=column.bm25.language)
    write_sidecar(index, inputs={"collection": collection} if collection else {"dataset": dataset}, config=settings)
    return index


def _search(index: Path, topics: Mapping[str, str], bm25: BM25Config, hits: int) -> Run:
    with LuceneIndex(index) as searcher:
        return searcher.search(topics, hits=hits, bm25=BM25(bm25.k1, bm25.b), language=bm25.language)


# -- judged pools -----------------------------------------------------------------------------------------------------


def _pool(
    column: ColumnConfig, qrels: Qrels, origins: Origins, folder: Path
) -> tuple[Mapping[str, Sequence[Hit]], Places]:
    places = load_run(Path(column.run), origins)[1] if column.run else places_of(origins)
    texts = gather(sources_of(places), {docid for grades in qrels.values() for docid in grades})
    order = _order(column, origins, {qid: query for qid, query in topics_of(places).items() if qid in qrels}, texts)
    pool = {}
    for qid, grades in qrels.items():
        ranks = {hit.docid: rank for rank, hit in enumerate(order.get(qid, ()))}
        docids = sorted((docid for docid in grades if docid in texts), key=lambda i: (ranks.get(i, len(ranks)), i))
        pool[qid] = [Hit(docid, float(len(docids) - place)) for place, docid in enumerate(docids)]
    return {qid: hits for qid, hits in pool.items() if hits}, places


def _order(column: ColumnConfig, origins: Origins, topics: Mapping[str, str], texts: Mapping[str, str]) -> Run:
    """The order by the column's run, else by BM25 on an index of the pool's passages, else none."""
    if column.run:
        return load_run(Path(column.run), origins)[0].run
    if not column.bm25:
        return Run({})
    with TemporaryDirectory() as folder:
        build_index(((docid, texts[docid]) for docid in texts), Path(folder, "index"), language=column.bm25.language)
        return _search(Path(folder, "index"), topics, column.bm25, len(texts))
