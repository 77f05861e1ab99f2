"""What a plugin may import, frozen: a change of this list is a decision, told in CHANGELOG.md."""

import importlib
import subprocess
import sys

import pytest

import segkit.api
from segkit.registry.retirement import Retired
from segkit.version import __version__

FOR = {
    "finding a component": ["Factory", "hookimpl"],
    "what each kind of component is": [
        *["Encoder", "Decoder", "Upsampler", "Loss", "Metric", "Dataset", "Benchmark"],
        "Launcher",
    ],
    "what they hand to each other": ["Features", "MakeUpsampler", "Normalization", "Sample"],
    "errors to raise": [
        *["UsageError", "DataError", "EnvironmentFault", "WeightsUnavailable"],
    ],
    "pretrained weights": ["PublishedWeights", "load_encoder_weights", "find_weights"],
    "what a launcher is given and tells": ["Job", "JobNews"],
    "less memory in training": ["recomputed"],
    "scores of one confusion matrix": ["ConfusionMatrix"],
    "data sets": ["Archive", "PublishedData", "read_image", "read_values"],
}


def test_the_names_are_those_agreed_upon():
    agreed = [name for names in FOR.values() for name in names]
    assert sorted(segkit.api.__all__) == sorted(agreed)
    assert len(agreed) == len(set(agreed)) <= 30


@pytest.mark.parametrize("name", segkit.api.__all__)
def test_every_name_is_there_and_explained(name):
    thing = getattr(segkit.api, name)
    assert (thing.__doc__ or "").strip() or name in ("Factory", "hookimpl")


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'DenseLayers'"):
        segkit.api.DenseLayers  # noqa: B018


def test_a_retired_name_works_and_names_the_plugin_that_uses_it(install_fake, monkeypatch):
    retired = Retired("segkit.api:UsageError", "0.1", "Write UsageError.")
    monkeypatch.setitem(segkit.api.RETIRED, "WrongUse", retired)
    source = "from segkit.api import WrongUse"
    install_fake("acme", {"losses": {"x": "acme_module"}}, version="2.1", acme_module=source)
    with pytest.warns(FutureWarning) as caught:
        module = importlib.import_module("acme_module")
    assert module.WrongUse is segkit.api.UsageError
    assert str(caught[0].message) == (
        "acme 2.1 uses segkit.api.WrongUse, retired in segkit-core 0.1 and gone in 0.3. Write "
        "UsageError. Until then it works; please tell its authors."
    )
    assert caught[0].filename.endswith("acme_module.py") or "importlib" in caught[0].filename


def test_what_was_retired_two_minor_versions_ago_is_gone():
    now = tuple(int(part) for part in __version__.split(".")[:2])
    late = [
        name
        for name, each in segkit.api.RETIRED.items()
        if tuple(map(int, each.gone.split("."))) <= now
    ]
    assert late == []


def test_importing_it_loads_no_image_library_and_nothing_of_the_cpu_room():
    code = "import sys, segkit.api; print(*[m for m in sys.modules if m.startswith(%r)])"
    forbidden = ("PIL", "cv2", "tifffile", "segkit.cpu", "segkit.data")
    ran = subprocess.run(
        [sys.executable, "-c", code % (forbidden,)], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == ""
