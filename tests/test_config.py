"""Settings: layered, read back as written, and refused with their place and the nearest name."""

import pytest
import yaml

from segkit.config import TrainConfig, layered, read_config, to_yaml
from segkit.errors import UsageError


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "street.yaml"
        path.write_text(text)
        return path

    return write


def refused(file, *arguments):
    with pytest.raises(UsageError) as caught:
        layered(file, *arguments)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_an_assignment_wins_over_an_option_over_the_file_over_the_default(file):
    path = file("epochs: 5\nbatch: 6\nlr: 0.5\n")
    config = layered(path, {"batch": 7, "lr": 0.25, "size": None}, ["lr=0.125"])
    assert (config.epochs, config.batch, config.lr, config.seed) == (5, 7, 0.125, 0)


def test_what_is_written_reads_back_the_same(tmp_path):
    odd = {"data": "1e3", "encoder": "timm/x(out=[1, 2])", "freeze": "no", "ignore_index": None}
    config = layered(None, {**odd, "lr": 1e-5, "clip_norm": 2.0})
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    assert read_config(tmp_path / "config.yaml") == config
    assert yaml.safe_load(to_yaml(config))["encoder"] == "timm/x(out=[1, 2])"


def test_every_setting_is_written_with_its_sentence():
    text = to_yaml(TrainConfig())
    for name, field in TrainConfig.model_fields.items():
        assert f"# {field.description}\n{name}: " in text


def test_an_unknown_key_is_refused_with_file_line_and_nearest_key(file):
    path = file("epochs: 5\n\nlearning_rate: 0.1\nbatsh: 4\n")
    text = refused(path.with_name("street.yaml"))
    assert text.startswith(f"SK-C008: {path}:3: there is no setting 'learning_rate'.")
    path.write_text("epochs: 5\nbatsh: 4\n")
    assert refused(path) == (
        f"SK-C008: {path}:2: there is no setting 'batsh'.\n         Did you mean 'batch'?"
    )


def test_an_unknown_assignment_is_refused_with_the_nearest_key():
    assert refused(None, None, ["epoch=3"]).startswith(
        "SK-C008: --set epoch: there is no setting 'epoch'.\n         Did you mean 'epochs'"
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("epochs: many\n", "'epochs' cannot be 'many' (Input should be a valid integer)."),
        ("epochs: 2.5\n", "'epochs' cannot be 2.5 (Input should be a valid integer)."),
        ("epochs: '5'\n", "'epochs' cannot be '5' (Input should be a valid integer)."),
        ("lr: fast\n", "'lr' cannot be 'fast' (Input should be a valid number)."),
        ("lr: 0\n", "'lr' cannot be 0 (Input should be greater than 0)."),
        ("lr: .nan\n", "'lr' cannot be nan"),
        ("seed: true\n", "'seed' cannot be True (Input should be a valid integer)."),
        ("precision: bf8\n", "'precision' cannot be 'bf8' (Input should be 'auto', 'fp32'"),
        ("metric: [miou, dice]\n", "'metric' holds several values."),
        ("epochs: 1\nepochs: 2\n", "'epochs' is given a second time."),
        ("data: !!python/name:os.system x\n", "'data' holds tag:yaml.org,2002:python"),
        ("data: !secret x\n", "'data' holds !secret."),
    ],
)
def test_a_wrong_value_is_refused_with_its_line_and_what_is_meant(file, text, says):
    path = file(f"# a comment\n{text}")
    line = 3 if "second time" in says else 2
    found = refused(path)
    assert found.startswith(f"SK-C009: {path}:{line}: {says}")


def test_the_fix_of_a_wrong_value_names_meaning_and_default(file):
    assert refused(file("batch: many\n")).endswith(
        "batch: images per step, over all processes together; auto: the most that fit into "
        "memory, found by real steps before the training. The default is 8."
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("epochs: [1\n", "cannot be read as a configuration"),
        ("- epochs\n", "holds no `key: value` lines"),
        ("a: &x 1\nb: *x\n", "it holds an alias"),
        ("#" * 1_000_001, "which is no configuration"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(file, text, says):
    found = refused(file(text))
    assert found.startswith("SK-C010: ")
    assert says in found


def test_a_missing_file_is_refused(tmp_path):
    assert "SK-C010" in refused(tmp_path / "none.yaml")


def test_an_empty_file_is_the_defaults(file):
    assert layered(file("# nothing\n")) == TrainConfig()


def test_powers_of_ten_are_numbers_as_people_write_them(file):
    assert layered(file("lr: 1e-3\n")).lr == 0.001
    assert layered(None, None, ["lr=1e-3"]).lr == 0.001


def test_expressions_in_assignments_stay_text():
    config = layered(None, None, ["loss=0.5*dice + ce", "encoder=timm/x(out=[1, 2])", "metric=a,b"])
    assert (config.loss, config.encoder, config.metric) == (
        "0.5*dice + ce",
        "timm/x(out=[1, 2])",
        "a,b",
    )


def test_an_assignment_needs_an_equals_sign():
    assert "--set epochs is no assignment" in refused(None, None, ["epochs"])


def test_settings_cannot_be_changed_once_made():
    with pytest.raises(ValueError, match="frozen"):
        TrainConfig().epochs = 3
