import pytest

from rrarank import RrarankError
from rrarank.training.config import load_config, shipped


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


@pytest.mark.parametrize("name", shipped())
def test_every_preset_loads(name):
    assert load_config(name).stages


def test_all_faults_are_named_at_once(tmp_path):
    path = write(tmp_path, "seeds: 3\nstages:\n  - {loss: {name: ranknot}, epochs: soon}\n")
    with pytest.raises(RrarankError) as error:
        load_config(path)
    assert "seeds" in str(error.value)
    assert "stages.0.loss.name is 'ranknot'" in str(error.value)
    assert "stages.0.epochs is 'soon'" in str(error.value)


def test_an_unknown_preset_names_the_known(tmp_path):
    with pytest.raises(RrarankError, match=r"rra-brt: no such preset or file \(presets: .*rra-bert"):
        load_config("rra-brt")


def test_no_yaml_is_one_line(tmp_path):
    with pytest.raises(RrarankError):
        load_config(write(tmp_path, "a: [1"))
