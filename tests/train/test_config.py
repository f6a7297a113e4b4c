import pytest

from rrarank import RrarankError
from rrarank.storage.yaml_settings import shipped
from rrarank.train.config import StageConfig, TrainConfig, check_config, load_config


def write(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return str(path)


def test_rra_bert_has_a_term_control_layer_and_the_missing_as_hard_negatives():
    config = load_config("rra-bert")
    assert config.term_control is not None
    assert config.term_control.readout == "pool"
    assert [(stage.loss.name, stage.missing) for stage in config.stages] == [("ranknet", "hard-negative")]


def test_rankgpt_re_appends_and_has_none():
    config = load_config("rankgpt-bert")
    assert config.term_control is None
    assert [(stage.loss.name, stage.missing) for stage in config.stages] == [("ranknet", "re-append")]


def test_bert_naive_knows_only_relevant_or_not():
    assert [stage.loss.name for stage in load_config("bert-naive").stages] == ["bce"]


@pytest.mark.parametrize("name", shipped("training"))
def test_every_preset_loads(name):
    assert load_config(name).stages


def test_all_faults_are_named_at_once(tmp_path):
    path = write(tmp_path, "seeds: 3\nstages:\n  - {loss: {name: ranknot}, epochs: soon}\n")
    with pytest.raises(RrarankError) as error:
        load_config(path)
    assert "seeds" in str(error.value)
    assert "stages.0.loss.name is 'ranknot'" in str(error.value)
    assert "stages.0.epochs is 'soon'" in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stages: [{epochs: 0}]", "stages.0.epochs is 0: input should be greater than 0"),
        ("stages: [{epochs: .inf}]", "stages.0.epochs is inf: input should be a finite number"),
        ("stages: [{documents: 1}]", "stages.0.documents is 1"),
        ("stages: [{lists: -4}]", "stages.0.lists is -4"),
        ("stages: [{learning_rate: -1}]", "stages.0.learning_rate is -1"),
        ("stages: [{warmup: 100}]", "stages.0.warmup is 100: input should be less than 1"),
        ("stages: [{sets: labels.jsonl}]", "stages.0.sets is 'labels.jsonl': input should be a list"),
        ("stages: [{loss: {name: bce, options: {mu: 1}}}]", "stages.0.loss.options: unknown 'mu' (bce has none)"),
        ("stages: []", "stages is empty"),
        ("dev: {run: bm25.trec}", "dev.qrels is missing"),
        ("dev: {run: bm25.trec, qrels: q, every: 0}", "dev.every is 0"),
        ("chunk: 0", "chunk is 0"),
        ("seed: -1", "seed is -1"),
        ("lr: 1", "lr is an unknown key"),
    ],
)
def test_what_could_not_be_trained_with_is_one_line(tmp_path, text, said):
    with pytest.raises(RrarankError) as error:
        load_config(write(tmp_path, text))
    assert str(error.value).startswith(f"{tmp_path / 'config.yaml'}: {said}")
    assert "\n" not in str(error.value)


def test_a_configuration_made_in_python_is_checked_too():
    check_config(TrainConfig())
    with pytest.raises(RrarankError, match="config: stages.0.documents is 1"):
        check_config(TrainConfig(stages=(StageConfig(documents=1),)))


def test_an_unknown_preset_names_the_known(tmp_path):
    with pytest.raises(RrarankError, match=r"rra-brt: no such file or shipped name.*\(training: .*rra-bert"):
        load_config("rra-brt")


def test_no_yaml_is_one_line(tmp_path):
    with pytest.raises(RrarankError):
        load_config(write(tmp_path, "a: [1"))


def test_yes_and_no_are_words(tmp_path):
    (tmp_path / "own.yaml").write_text("prompt: {yes: ' Relevant', no: no}\n")
    config = load_config(str(tmp_path / "own.yaml"))
    assert config.prompt
    assert (config.prompt.yes, config.prompt.no) == (" Relevant", "no")
