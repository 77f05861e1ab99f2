"""Loading the one plugin that is named; a broken one harms only those who name it."""

import pytest

from segkit.config import layered
from segkit.errors import EnvironmentFault, PluginError, UsageError
from segkit.registry.components import Registry
from segkit.registry.index import Index
from segkit.training.training import train

GOOD = """
from segkit.api import hookimpl

class Tiny:
    '''A tiny encoder.'''
    def __init__(self, in_channels: int, weights: str, *, width: int = 8) -> None:
        self.width = width

@hookimpl
def segkit_encoder(name: str):
    return Tiny if name in ("tiny", "family/tiny") else None

@hookimpl
def segkit_members(kind: str, family: str):
    return ["family/tiny"] if family == "family" else None
"""


@pytest.fixture
def registry():
    return lambda: Registry(Index.of_installed(()))


def test_a_component_is_built_with_its_options(install_fake, registry):
    install_fake("acme", {"encoders": {"tiny": "acme_module"}}, acme_module=GOOD)
    component = registry().component("encoders", "tiny(width=3)")
    assert component.build(in_channels=1, weights="none").width == 3
    assert str(component.expression) == "tiny(width=3)"


def test_defaults_are_spelled_out_in_what_is_recorded(install_fake, registry):
    install_fake("acme", {"encoders": {"tiny": "acme_module"}}, acme_module=GOOD)
    assert str(registry().component("encoders", "tiny").expression) == "tiny(width=8)"


def test_what_no_expression_can_hold_is_left_out_of_what_is_recorded(install_fake, registry):
    source = GOOD.replace("width: int = 8", "width: int = 8, kind: type = dict")
    install_fake("acme", {"encoders": {"tiny": "acme_module"}}, acme_module=source)
    component = registry().component("encoders", "tiny")
    assert component.values == {"width": 8, "kind": dict}
    assert str(component.expression) == "tiny(width=8)"


def test_options_given_apart_win_over_those_in_the_text(install_fake, registry):
    install_fake("acme", {"encoders": {"tiny": "acme_module"}}, acme_module=GOOD)
    component = registry().component("encoders", "tiny(width=3)", {"width": 5})
    assert component.values == {"width": 5}


def test_a_family_names_its_members(install_fake, registry):
    install_fake("acme", {"encoders": {"family": "acme_module"}}, acme_module=GOOD)
    assert registry().component("encoders", "family/tiny").name == "family/tiny"
    with pytest.raises(UsageError) as unknown:
        registry().component("encoders", "family/tinny")
    assert unknown.value.what == "no encoder is called 'family/tinny'."
    assert "Did you mean 'family/tiny'?" in unknown.value.fix
    with pytest.raises(UsageError, match="'family' is a family of 1 encoders, not one of them"):
        registry().component("encoders", "family")


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("import a_package_nobody_has", "ModuleNotFoundError: No module named"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("def broken(:", "SyntaxError"),
        (GOOD.replace("segkit_encoder", "segkit_encodre"), "unknown hook 'segkit_encodre'"),
    ],
)
def test_a_plugin_that_cannot_be_loaded_is_named_with_the_cause(
    install_fake, registry, source, cause
):
    install_fake("acme", {"encoders": {"tiny": "acme_module"}}, acme_module=source)
    install_fake("fine", {"encoders": {"fine": "fine_module"}}, fine_module=GOOD)
    shared = registry()
    for _ in range(2):
        with pytest.raises(PluginError) as caught:
            shared.component("encoders", "tiny")
        assert caught.value.code == "SK-P001"
        assert caught.value.what.startswith(
            "acme 1.0 cannot be loaded: its entry point 'tiny = acme_"
        )
        assert cause in caught.value.what
    with pytest.raises(PluginError, match="returns nothing for 'fine'"):
        shared.component("encoders", "fine")


def test_a_torchvision_that_does_not_fit_torch_is_explained(install_fake, registry):
    source = "raise RuntimeError('operator torchvision::nms does not exist')"
    install_fake("acme", {"encoders": {"tiny": "acme_module"}}, acme_module=source)
    with pytest.raises(EnvironmentFault) as caught:
        registry().component("encoders", "tiny")
    assert caught.value.code == "SK-E001"
    assert "python -m pip install --force-reinstall torch torchvision" in caught.value.fix


def test_a_hook_that_raises_is_named(install_fake, registry):
    source = GOOD.replace("return Tiny", "raise ValueError('no luck')\n    return Tiny")
    install_fake("acme", {"encoders": {"tiny": "acme_module"}}, acme_module=source)
    with pytest.raises(PluginError, match="its hook segkit_encoder raised ValueError: no luck"):
        registry().component("encoders", "tiny")


def test_a_factory_that_raises_is_named(install_fake, registry):
    source = GOOD.replace("self.width = width", "raise ValueError('no luck')")
    install_fake("acme", {"encoders": {"tiny": "acme_module"}}, acme_module=source)
    component = registry().component("encoders", "tiny")
    with pytest.raises(PluginError) as caught:
        component.build(in_channels=1, weights="none")
    assert caught.value.what == (
        "acme 1.0 failed to build the encoder 'tiny(width=8)' (ValueError: no luck)."
    )


def test_two_plugins_with_one_hook_each_answer_for_their_own_names(install_fake, registry):
    both = {"encoders": {"tiny": "acme_module"}}
    install_fake("acme", both, acme_module=GOOD)
    other = GOOD.replace('"""', "").replace("Tiny", "Other")
    install_fake("other", {"encoders": {"tiny": "other_module"}}, other_module=other)
    shared = registry()
    assert shared.component("encoders", "acme:tiny").factory.__name__ == "Tiny"
    assert shared.component("encoders", "other:tiny").factory.__name__ == "Other"


def test_a_name_is_looked_up_once_in_a_training(monkeypatch):
    asked = []
    registry = Registry()
    find = registry.factory

    def counting(entry, name):
        asked.append(name)
        return find(entry, name)

    monkeypatch.setattr(registry, "factory", counting)
    monkeypatch.setattr("segkit.training.preparation.setup.default_registry", lambda: registry)
    monkeypatch.setattr("segkit.model.compose.default_registry", lambda: registry)
    config = layered(
        None,
        {"encoder": "unet(depth=2,width=4)", "loss": "dice+ce", "metric": "miou,ece", "out": "x"},
    )
    train(config, dry_run=True)
    assert sorted(asked) == ["bilinear", "ce", "dice", "ece", "miou", "unet", "unet"]


def test_other_options_are_another_component():
    registry = Registry()
    plain = registry.component("losses", "focal")
    assert registry.component("loss", "focal") is plain
    assert registry.component("losses", "focal", {"gamma": 3.0}) is not plain
    assert registry.component("losses", "focal(gamma=3)").values["gamma"] == 3
