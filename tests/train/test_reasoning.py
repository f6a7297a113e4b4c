"""RRA-GPT's joint loss against plain calls of the language model, and what is left of it in the saved folder."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer

from rrarank.data.distillation_set import write_set
from rrarank.data.types import Candidate, LabelledRanking, Query
from rrarank.data.verdicts import Answer, ReasoningConfig, answers
from rrarank.errors import RrarankError
from rrarank.rerankers.rra_gpt import RRAGPT, RRAGPTConfig
from rrarank.train.__main__ import main
from rrarank.train.config import StageConfig, TrainConfig, check_config
from rrarank.train.lists import TrainingList
from rrarank.train.lora import LoraConfig
from rrarank.train.losses import ranknet
from rrarank.train.prompted import PromptConfig, prompted
from rrarank.train.reasoning import REASON, VERDICT, ReasoningCollator, ReasoningStudent
from rrarank.train.trainer import train_stages

PROMPT = PromptConfig("Say.\nQuery: {query}\nPassage: {document}\nYes or No:")
TEXTS = ("the cat sat", "a long document about cats", "tea", "mat")
ANSWERS = (Answer(True, "about the cat"), None, Answer(False), Answer(False, "tea"))
LIST = TrainingList("why is the cat long", TEXTS, (2.0, 1.0, 0.0, 0.0), answers=ANSWERS)


# -- who gets a verdict ------------------------------------------------------------------------------------------------


def label(listed, missing="", reasons=None):
    """Shown in alphabetical order, which is the pre-ranker's."""
    shown = tuple(Candidate(docid, docid, -float(ord(docid))) for docid in sorted(listed + missing))
    return LabelledRanking(Query("1", "q"), shown, tuple(listed), tuple(missing), reasons=reasons or {})


@pytest.mark.parametrize(
    ("given", "config", "relevant", "irrelevant"),
    [
        (label("cabd", "ef"), ReasoningConfig(bottom=0), "abc", "ef"),  # the first three; what is left out
        (label("cabdef"), ReasoningConfig(bottom=2), "abc", "ef"),  # listed, but from the pre-ranker's bottom
        (label("fabcde"), ReasoningConfig(bottom=2), "abf", "e"),  # listed first: whatever the pre-ranker said
        (label("cabdef"), ReasoningConfig(bottom=10), "abc", "def"),  # at most half of the list
        (label("cab", "d"), ReasoningConfig(relevant=1, bottom=0), "c", "d"),
    ],
)
def test_verdicts_follow_the_list(given, config, relevant, irrelevant):
    found = answers(given, config)
    assert "".join(sorted(docid for docid, answer in found.items() if answer.relevant)) == relevant
    assert "".join(sorted(docid for docid, answer in found.items() if not answer.relevant)) == irrelevant


def test_a_verdict_of_the_reasons_own_counts_first():
    given = label("cabd", "e", {"c": "Irrelevant: another cat", "d": "relevant: says why", "e": "says nothing"})
    found = answers(given, ReasoningConfig(bottom=0))
    assert found["c"] == Answer(False, "another cat")
    assert found["d"] == Answer(True, "says why")
    assert found["e"] == Answer(False, "says nothing")


def test_without_generation_no_reason_is_learned():
    given = label("ab", reasons={"a": "Relevant: why"})
    assert answers(given, ReasoningConfig(reasons=0))["a"] == Answer(True)


# -- the joint loss ----------------------------------------------------------------------------------------------------


@pytest.fixture
def parts(decoder_folder):
    """Collator and student on the untrained decoder."""
    tokenizer, base, head = prompted(decoder_folder, "decoder", PROMPT)
    base.config.pad_token_id = tokenizer.pad_token_id
    student = ReasoningStudent(base, tokenizer, ReasoningConfig(classification=0.3, reasons=0.7), head)
    return ReasoningCollator(tokenizer, 64, 3, PROMPT, 6), student.eval()


def plain(decoder_folder):
    """Each part of the loss, pair by pair, by the language model as it was downloaded."""
    tokenizer, model = (
        AutoTokenizer.from_pretrained(decoder_folder),
        AutoModelForCausalLM.from_pretrained(decoder_folder),
    )
    [yes], [no] = (tokenizer(answer)["input_ids"] for answer in (" Yes", " No"))
    scores, verdicts, reasons = [], [], []
    for text, answer in zip(TEXTS, ANSWERS, strict=True):
        prompt = tokenizer(PROMPT.text.format(query=LIST.query, document=text))["input_ids"]
        verdict = tokenizer(" Yes." if answer.relevant else " No.")["input_ids"] if answer else []
        reason = tokenizer(f" {answer.reason}")["input_ids"][:6] if answer and answer.reason else []
        reason += [tokenizer.eos_token_id] if reason else []
        ids = torch.tensor([prompt + verdict + reason])
        logits = model.eval()(input_ids=ids).logits[0]
        scores.append(logits[len(prompt) - 1, yes] - logits[len(prompt) - 1, no])
        surprise = cross_entropy(logits[:-1], ids[0, 1:], reduction="none")[len(prompt) - 1 :]
        verdicts.append(surprise[: len(verdict)])
        reasons.append(surprise[len(verdict) :])
    rank = ranknet(torch.stack(scores), torch.tensor(LIST.levels))
    return scores, rank, torch.cat(verdicts).mean(), torch.cat(reasons).mean()


def test_the_loss_is_that_of_plain_calls(parts, decoder_folder):
    collator, student = parts
    found = student(**collator([LIST]))
    scores, rank, verdict, reason = plain(decoder_folder)
    assert found["scores"].tolist() == pytest.approx([float(score) for score in scores], abs=1e-4)
    assert [float(found[name]) for name in ("rank_loss", "verdict_loss", "reason_loss")] == pytest.approx(
        [float(rank), float(verdict), float(reason)], abs=1e-4
    )
    assert float(found["loss"]) == pytest.approx(float(rank + 0.3 * verdict + 0.7 * reason), abs=1e-4)


def test_what_is_to_be_said_changes_no_score(parts):
    collator, student = parts
    silent = replace(LIST, answers=())
    assert student(**collator([LIST]))["scores"].tolist() == pytest.approx(
        student(**collator([silent]))["scores"].tolist(), abs=1e-5
    )
    assert float(student(**collator([silent]))["verdict_loss"]) == 0


def test_each_answer_stands_behind_its_own_pair(parts):
    collator, _ = parts
    said = {}
    for chunk in collator([LIST])["chunks"]:
        for place, ids, roles in zip(chunk["places"].tolist(), chunk["input_ids"], chunk["roles"], strict=True):
            said[place] = [collator.tokenizer.decode(ids[roles == role]) for role in (VERDICT, REASON)]
    assert said == {0: [" Yes.", " about the cat<eos>"], 1: ["", ""], 2: [" No.", ""], 3: [" No.", " tea<eos>"]}


def test_all_of_it_reaches_the_decoder(parts):
    collator, student = parts
    for part in ("rank_loss", "verdict_loss", "reason_loss"):
        student.zero_grad()
        student(**collator([LIST]))[part].backward()
        first = student.base.base_model.layers[0].self_attn.q_proj.weight.grad
        assert first is not None
        assert first.abs().sum() > 0, part


# -- training, and the folder ------------------------------------------------------------------------------------------


@pytest.fixture
def config(decoder_folder, tmp_path):
    labels = [replace(label("cab", "de", {"a": "Relevant: why the cat"}), query=Query(str(n), "cat")) for n in range(8)]
    write_set(tmp_path / "labels.jsonl", labels)
    stage = StageConfig((str(tmp_path / "labels.jsonl"),), lists=2, documents=5, learning_rate=1e-3, epochs=2)
    return TrainConfig(
        base=str(decoder_folder), stages=(stage,), prompt=PROMPT, reasoning=ReasoningConfig(bottom=0), max_length=64
    )


def test_training_learns_to_rank_and_to_speak(config, tmp_path):
    entries: list[Mapping[str, Any]] = []
    longer = replace(config, stages=(replace(config.stages[0], epochs=30),))
    train_stages(longer, tmp_path / "work", follow=entries.append)
    first, *_, last = [entry for entry in entries if "verdict_loss" in entry]
    assert all(last[name] < first[name] / 2 for name in ("verdict_loss", "reason_loss"))
    assert last["rank_loss"] < first["rank_loss"]


@pytest.mark.parametrize("lora", ["", "lora: {rank: 4}"])
def test_the_saved_folder_scores_as_the_student_and_explains(config, tmp_path, lora):
    settings = f"""
prompt: {{text: "Say.\\nQuery: {{query}}\\nPassage: {{document}}\\nYes or No:"}}
reasoning: {{bottom: 0}}
max_length: 64
{lora}
stages:
  - {{lists: 2, documents: 5, learning_rate: 1.0e-3, epochs: 2}}
"""
    (tmp_path / "own.yaml").write_text(settings)
    flags = ["--config", str(tmp_path / "own.yaml"), "--sets", *config.stages[0].sets, "--base", config.base]
    assert main([*flags, "--output", str(tmp_path / "model")]) == 0
    reranker = RRAGPT(RRAGPTConfig(model=str(tmp_path / "model"), device="cpu", reason_tokens=4))
    assert not [name for name, _ in reranker.model.named_parameters() if "lora" in name]
    found = reranker.score_all(reranker.encode("cat", ["a", "b"]))
    trained = replace(config, lora=LoraConfig(rank=4) if lora else None)
    student, tokenizer, _ = train_stages(trained, tmp_path / "work")
    batch = ReasoningCollator(tokenizer, 64, 2, PROMPT)([TrainingList("cat", ("a", "b"), (1.0, 0.0))])
    assert found == pytest.approx(student.eval()(**batch)["scores"].tolist(), abs=2e-2)  # weights in half
    assert len(list(reranker.explain("cat", ["a"]))) == 1
    assert (tmp_path / "model" / "language_head.safetensors").is_file()  # this decoder's is not its embeddings


def test_adapters_learn_and_the_decoder_beside_them_does_not(config, tmp_path):
    before, _, _ = train_stages(replace(config, lora=LoraConfig(rank=4), seed=1), tmp_path / "one")
    names = {name for name, parameter in before.named_parameters() if parameter.requires_grad}
    assert {name.rpartition("lora_")[1] or name for name in names} == {"lora_", "base.score.weight"}


def test_lower_layers_may_stay_as_they_are(config, tmp_path):
    student, _, _ = train_stages(replace(config, frozen=1), tmp_path / "one")
    learned = {
        name.split(".")[3] for name, one in student.named_parameters() if ".layers." in name and one.requires_grad
    }
    assert learned == {"1"}
    assert not student.base.get_input_embeddings().weight.requires_grad


def test_a_language_head_of_its_own_is_not_trained_by_lora_alone(config, tmp_path):
    student, _, _ = train_stages(replace(config, lora=LoraConfig(rank=4)), tmp_path / "one")
    assert not any(parameter.requires_grad for parameter in student.language_head.parameters())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"prompt": None}, "reasoning is for a causal language model; give prompt"),
        ({"lora": LoraConfig(), "frozen": 1}, "lora freezes all layers already"),
        ({"prompt": PromptConfig(yes=" Yes", no=" Yes")}, "begin with the same token"),
    ],
)
def test_settings_that_do_not_fit_are_one_line(config, changes, said, tmp_path):
    faulty = replace(config, **changes)
    with pytest.raises(RrarankError, match=said):
        check_config(faulty)
        train_stages(faulty, tmp_path / "work")
