"""A journal whose bits flip gives the same run or a refusal, never another run."""

import random
from pathlib import Path

import pytest

from rrarank.rerank.__main__ import main

pytestmark = pytest.mark.slow


@pytest.fixture
def stopped(make_job, monkeypatch):
    """Flags of a job that was stopped after four blocks of 8 queries, its journal, and the run it would make."""
    flags = [*make_job(40), "--reranker", "bm25", "--output", "out.trec"]
    assert main(flags) == 0
    whole = Path("out.trec").read_bytes()
    Path("out.trec").unlink()
    Path("out.trec.json").unlink()

    def interrupted(path, run, tag):
        for place, _ in enumerate(run):
            if place == 3 * 8:
                raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr("rrarank.rerank.job.write_run", interrupted)
        assert main(flags) == 130
    journal = Path("out.trec.journal").read_bytes()
    assert journal.count(b"\n") == 4
    return flags, journal, whole


def test_two_thousand_flipped_bits_never_give_another_run(stopped, capsys):
    flags, journal, whole = stopped
    chance = random.Random(20)
    refused = named = 0
    for _ in range(2000):
        bit = chance.randrange(8 * len(journal))
        damaged = bytearray(journal)
        damaged[bit // 8] ^= 1 << bit % 8
        Path("out.trec.journal").write_bytes(damaged)
        code = main(flags)
        said = capsys.readouterr().err
        named += "damaged records are skipped" in said
        if code == 0:
            assert Path("out.trec").read_bytes() == whole, bit
            Path("out.trec").unlink()
            Path("out.trec.json").unlink()
            Path("out.trec.journal").unlink(missing_ok=True)
        else:
            assert (code, said.count("\n")) == (2, 1), said
            refused += 1
    assert refused == 0
    assert named > 1900  # all but flipped line ends
