"""A run's settings name their plugins with version: a later one changes and breaks nothing."""

import pytest

from segkit.config import TrainConfig
from segkit.errors import UsageError
from segkit.registry.index import Index
from segkit.registry.pins import as_pinned, other_versions, plugins_of

SETTINGS = TrainConfig(encoder="same(width=3)", loss="0.3*zero + ce", metric="miou,score")


def written(install_fake) -> TrainConfig:
    """Settings as a run writes them where acme alone offers `same`, `zero` and `score`."""
    entries = {kind: {name: "m"} for kind, name in OFFERED}
    install_fake("acme", entries, version="1.2")
    return SETTINGS.model_copy(update={"plugins": plugins_of(SETTINGS, Index.of_installed(()))})


OFFERED = (("encoders", "same"), ("losses", "zero"), ("metrics", "score"))


def test_every_part_is_written_with_distribution_and_version(install_fake):
    pins = written(install_fake).plugins.split(", ")
    assert pins[0] == "encoder same of acme 1.2"
    assert [pin for pin in pins if " of acme " not in pin] == [
        "decoder unet of segkit-unet 0.1.0",
        "upsampler bilinear of segkit-upsamplers 0.1.0",
        "loss ce of segkit-losses 0.1.0",
        "metric miou of segkit-metrics 0.1.0",
    ]


def test_nothing_is_changed_where_nobody_else_offers_the_names(install_fake):
    config = written(install_fake)
    assert as_pinned(config, Index.of_installed(())) == config


def test_a_plugin_installed_later_with_the_same_names_changes_nothing(install_fake):
    config = written(install_fake)
    later = {**{kind: {name: "m"} for kind, name in OFFERED}, "decoders": {"unet": "m"}}
    install_fake("later", later)
    with pytest.raises(UsageError, match="2 installed distributions offer the encoder 'same'"):
        plugins_of(SETTINGS, Index.of_installed(()))
    found = as_pinned(config, Index.of_installed(()))
    assert found.encoder == "acme:same(width=3)"
    assert found.decoder == "segkit-unet:unet"
    assert found.loss == "0.3*acme:zero + ce"
    assert found.metric == "miou, acme:score"


def test_a_plugin_that_is_gone_is_named_with_its_version_and_never_replaced(install_fake):
    config = written(install_fake)
    other = Index([e for e in Index.of_installed(()).entries if e.distribution != "acme"])
    with pytest.raises(UsageError) as caught:
        as_pinned(config, other)
    assert caught.value.what == (
        "the settings were written with the encoder same of acme 1.2, which is not installed."
    )
    assert caught.value.fix == "python -m pip install acme==1.2 segkit-core"
    assert as_pinned(config, other, ("decoder",)) == config
    assert as_pinned(config.model_copy(update={"encoder": "unet"}), other, ("encoder",))


def test_another_version_is_said(install_fake):
    config = written(install_fake)
    assert other_versions(config) == []
    older = config.model_copy(update={"plugins": config.plugins.replace("acme 1.2", "acme 1.1")})
    [note] = other_versions(older)
    assert note.startswith("These settings were written with acme 1.1, and 1.2 is installed")
    assert note.endswith("python -m pip install acme==1.1 brings it back.")


def test_a_setting_that_no_program_wrote_is_refused(install_fake):
    config = SETTINGS.model_copy(update={"plugins": "acme"})
    with pytest.raises(UsageError, match="plugins: 'acme' cannot be read"):
        other_versions(config)
