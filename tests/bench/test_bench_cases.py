"""From what is typed or written in a suite to cases."""

import pytest

from segkit.bench.suites.grid import Grid, cases_of, overridden, split_list
from segkit.bench.suites.suite import find_suite, known_suites, read_suite
from segkit.errors import UsageError
from segkit.registry.index import Entry, Index

NAMES = {
    "encoders": ["densenet121", "densenet169", "timm", "unet"],
    "upsamplers": ["bilinear", "nearest"],
    "losses": ["ce", "dice"],
    "benchmarks": ["probe"],
}
INDEX = Index(
    Entry(kind, name, "module", "a-plugin", "1.0") for kind in NAMES for name in NAMES[kind]
)


def cases(flops=None, **axes):
    return cases_of(Grid.model_validate(axes), device="cpu", flops=flops, index=INDEX)


def test_a_grid_is_every_combination_once_in_its_order():
    found = cases(encoder=["unet", "densenet121"], size=[64, 128], precision=["fp32", "bf16"])
    assert [(c.encoder, c.size, c.precision) for c in found] == [
        (encoder, size, precision)
        for encoder in ("unet", "densenet121")
        for size in (64, 128)
        for precision in ("fp32", "bf16")
    ]


def test_inference_has_no_loss_and_so_one_case_for_all_losses():
    found = cases(encoder="unet", loss=["dice", "ce", "0.5*dice + ce"], mode=["train", "infer"])
    assert [case.loss for case in found] == ["dice", None, "ce", "0.5*dice + ce"]


def test_all_and_patterns_are_the_installed_names():
    assert [c.upsampler for c in cases(upsampler="all")] == NAMES["upsamplers"]
    assert [c.encoder for c in cases(encoder="densenet*")] == ["densenet121", "densenet169"]
    written = "dice(classes=[0, 1])"
    assert cases(task="loss", loss=["all", written])[-1].loss == written


def test_a_pattern_that_fits_nothing_is_refused():
    with pytest.raises(UsageError) as caught:
        cases(encoder="resnet*")
    assert caught.value.code == "SK-C003"
    assert caught.value.what == "no installed encoder fits 'resnet*'."
    assert "`segkit list encoders` shows all 4." in caught.value.fix


def test_encoders_that_are_not_installed_are_left_out_only_where_asked():
    names = ["unet", "timm/resnet18", "smp/resnet18"]
    assert [c.encoder for c in cases(encoder=names)] == names
    assert [c.encoder for c in cases(encoder=names, only_installed=True)] == names[:2]


def test_tasks_take_their_own_axes_alone():
    (case,) = cases(task="upsampler", upsampler="nearest", encoder="unet", loss="ce")
    assert (case.encoder, case.loss, case.upsampler, case.channels) == (None, None, "nearest", 64)
    (case,) = cases(task="data", workers=2, precision="bf16")
    assert (case.data, case.workers, case.precision) == ("demo", 2, "fp32")
    assert cases(task="benchmark") == ()


def test_auto_fits_size_and_batch_to_the_machine():
    slow, quick = (cases(flops, size="auto", batch="auto")[0] for flops in (1e9, 1e15))
    assert (slow.size, slow.batch) == (256, 1)
    assert (quick.size, quick.batch) == (512, 16)
    # 3 TFLOP/s: a training step of the classic U-Net on 4 images of 256 pixels is 1.16 TFLOP.
    (middle,) = cases(3e12, size="auto", batch="auto")
    assert (middle.size, middle.batch) == (256, 4)
    assert cases(3e12, size="auto", batch=7)[0].batch == 7


def test_options_replace_an_axis_of_every_grid():
    grids = (Grid(encoder=("unet",), size=(64,)), Grid(encoder=("densenet121",)))
    found = overridden(grids, {"size": [32, 48], "precision": []})
    assert [grid.size for grid in found] == [(32, 48), (32, 48)]
    assert [grid.encoder for grid in found] == [("unet",), ("densenet121",)]


def test_lists_are_split_at_the_commas_outside_brackets():
    assert split_list("dice, focal(gamma=2, classes=[1, 2]),dice+ce") == [
        "dice",
        "focal(gamma=2, classes=[1, 2])",
        "dice+ce",
    ]


def test_every_suite_that_is_shipped_reads_and_holds_cases():
    suites = known_suites()
    assert {"quick", "encoders", "upsamplers", "losses", "peers"} <= set(suites)
    index = Index.of_installed()
    for file in suites.values():
        suite = read_suite(file)
        assert suite.about
        found = [cases_of(g, device="cpu", flops=None, index=index) for g in suite.grids]
        assert all(found), file


def test_a_suite_may_be_a_component_of_kind_benchmarks():
    suite = find_suite("probe(milliseconds=3)", INDEX)
    assert suite.grids[0].benchmark == ("probe(milliseconds=3)",)


def test_a_family_of_benchmarks_is_a_suite_of_its_members(probes):
    suite = find_suite("kin", Index.of_installed())
    assert suite.grids[0].benchmark == ("kin/one", "kin/two")
    assert suite.about == "bench-probe 1.0"


def test_an_unknown_suite_is_refused_with_the_nearest():
    with pytest.raises(UsageError) as caught:
        find_suite("encoder", INDEX)
    assert caught.value.code == "SK-B003"
    assert caught.value.what == "there is no suite called 'encoder'."
    assert caught.value.fix.startswith("Did you mean 'encoders'")


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("grids: [{encodr: unet}]", "SK-C008", "'grids.0.encodr' is no setting of a suite."),
        ("grids: [{mode: both}]", "SK-C009", "'grids.0.mode.0' cannot be 'both'"),
        ("grids: []", "SK-C009", "'grids' cannot be []"),
        ("- 1", "SK-C010", "holds no settings."),
        ("grids: [", "SK-C010", "cannot be read"),
    ],
)
def test_a_suite_with_a_fault_is_refused_with_its_place(tmp_path, text, code, words):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        find_suite(str(file), INDEX)
    assert caught.value.code == code
    assert words in caught.value.what


def test_a_suite_reads_yes_and_no_as_words(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("rounds: 3\ngrids:\n  - {encoder: unet, compile: [no, yes]}\n")
    suite = read_suite(file)
    assert (suite.name, suite.rounds) == ("mine", 3)
    assert suite.grids[0].compile == ("no", "yes")
