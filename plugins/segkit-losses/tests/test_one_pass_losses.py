"""The one-pass computation against the same loss step by step, in float64, and what it costs."""

from __future__ import annotations

import math

import pytest
import torch
from segkit_losses import enlarging, host
from segkit_losses.enlarging import Enlargement
from segkit_losses.sums import class_sums, plain_sums
from segkit_losses.tiles import Wanted
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

import segkit

CLASSES, IGNORE = 5, 255
LAYOUTS = ("contiguous", "channels_last", "cut", "transposed")
WANTED = [
    Wanted(overlap=True, squared=False, entropy=True, gamma=None),
    Wanted(overlap=True, squared=True, entropy=False, gamma=0.5),
    Wanted(overlap=False, squared=False, entropy=True, gamma=None),
    Wanted(overlap=False, squared=False, entropy=False, gamma=2.0),
]
ENLARGEMENTS = [Enlargement((16, 24), False), Enlargement((16, 24), True)]
# Rounding of the type, of sums and gradients beside their largest.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-6, torch.bfloat16: 1e-2}
EXPRESSIONS = [
    "ce",
    "ce(class_weights=[1, 2, 0.5, 3, 0])",
    "dice",
    "dice(squared=true, smooth=1, classes=[1, 3])",
    "focal(gamma=0.5)",
    "focal(class_weights=[1, 2, 0.5, 3, 0])",
    "tversky",
    "focal_tversky",
    "jaccard(classes=[2])",
]


def logits_in(
    layout: str, dtype: torch.dtype, size: tuple[int, int] = (8, 12), classes: int = CLASSES
) -> Tensor:
    height, width = size
    generator = torch.Generator().manual_seed(0)
    wide_BKHW = torch.randn(2, classes, height + 3, width + 2, generator=generator) * 2
    cut_BKHW = wide_BKHW.to(dtype)[..., :height, :width]
    if layout == "cut":
        return cut_BKHW
    if layout == "channels_last":
        return cut_BKHW.contiguous(memory_format=torch.channels_last)
    if layout == "transposed":
        return cut_BKHW.mT.contiguous().mT
    return cut_BKHW.contiguous()


def truth(size: tuple[int, int] = (8, 12), ignored: float = 0.2, classes: int = CLASSES) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    target_BHW = torch.randint(0, classes, (2, *size), generator=generator)
    return target_BHW.masked_fill(torch.rand(2, *size, generator=generator) < ignored, IGNORE)


def sums_and_slopes(sums_of, logits_BKHW, target_BHW, wanted, *settings):
    leaf_BKHW = logits_BKHW.detach().requires_grad_()
    sums_RK = sums_of(leaf_BKHW, target_BHW, wanted, *settings)
    generator = torch.Generator().manual_seed(2)
    weights_RK = torch.randn(sums_RK.shape, generator=generator, dtype=torch.float64)
    return sums_RK, torch.autograd.grad(sums_RK, leaf_BKHW, weights_RK)[0]


def one_pass(*given):
    sums_RK, stray = class_sums(*given)
    assert stray == 0
    return sums_RK


def assert_near(found: Tensor, expected: Tensor, tolerance: float) -> None:
    error = (found.double() - expected.double()).abs().max() / expected.abs().max()
    assert error <= tolerance


@pytest.mark.parametrize("tile", [1, 200, 10**6])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("wanted", WANTED)
def test_sums_and_gradient_are_those_of_float64(wanted, dtype, layout, tile, monkeypatch):
    monkeypatch.setattr(host, "TILE", tile)
    logits_BKHW = logits_in(layout, dtype)
    found = sums_and_slopes(one_pass, logits_BKHW, truth(), wanted, IGNORE)
    expected = sums_and_slopes(plain_sums, logits_BKHW.double(), truth(), wanted, IGNORE)
    # The logits are exact in bfloat16 too: only the gradient is rounded to it.
    assert_near(found[0], expected[0], min(TOLERANCE[dtype], 2e-6))
    assert_near(found[1], expected[1], TOLERANCE[dtype])
    assert found[1].dtype == dtype


# One exponential a pixel with two classes, masks with few, labels looked up with many.
WAYS = (2, 3, 9)


@pytest.mark.parametrize("wanted", [*WANTED, Wanted(True, True, True, 1.5)])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("classes", WAYS)
@pytest.mark.parametrize("tile", [1, 200, 10**6])
def test_every_way_to_compute_a_tile_is_that_of_float64(tile, classes, dtype, wanted, monkeypatch):
    monkeypatch.setattr(host, "TILE", tile)
    logits_BKHW, target_BHW = logits_in("cut", dtype, classes=classes), truth(classes=classes)
    found = sums_and_slopes(one_pass, logits_BKHW, target_BHW, wanted, IGNORE)
    expected = sums_and_slopes(plain_sums, logits_BKHW.double(), target_BHW, wanted, IGNORE)
    assert_near(found[0], expected[0], min(TOLERANCE[dtype], 2e-6))
    assert_near(found[1], expected[1], TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("classes", [1, *WAYS, 40])
@pytest.mark.parametrize("tile", [400, 10**6])
def test_classes_that_lie_side_by_side_are_turned_and_turned_back(
    tile, classes, dtype, monkeypatch
):
    monkeypatch.setattr(host, "TILE", tile)
    target_BHW = truth(classes=classes)
    inputs = [
        logits_in(layout, dtype, classes=classes) for layout in ("contiguous", "channels_last")
    ]
    plain, turned = (
        sums_and_slopes(one_pass, logits_BKHW, target_BHW, WANTED[0], IGNORE)
        for logits_BKHW in inputs
    )
    # To the last bits: products of matrices add up in another order in other tiles.
    assert_near(turned[0], plain[0], min(TOLERANCE[dtype], 2e-6))
    assert_near(turned[1], plain[1], TOLERANCE[dtype])
    assert turned[1].stride() == inputs[1].stride()


@pytest.mark.parametrize("classes", [*WAYS, 300])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
@pytest.mark.parametrize("ignore_index", [None, 0, 1, 200, -1])
def test_labels_of_every_type_are_read_alike_with_any_label_to_ignore(ignore_index, dtype, classes):
    if dtype == torch.uint8 and (ignore_index == -1 or classes > 256):
        return
    logits_BKHW, target_BHW = (
        logits_in("cut", torch.float32, classes=classes),
        truth(classes=classes),
    )
    target_BHW = target_BHW.masked_fill(target_BHW == IGNORE, ignore_index or 0)
    settings = (WANTED[0], ignore_index)
    found = sums_and_slopes(one_pass, logits_BKHW, target_BHW.to(dtype), *settings)
    expected = sums_and_slopes(plain_sums, logits_BKHW.double(), target_BHW, *settings)
    assert_near(found[0], expected[0], 2e-6)
    assert_near(found[1], expected[1], 2e-6)


@pytest.mark.parametrize("classes", WAYS)
@pytest.mark.parametrize("label", ["K", -1, 256, 2**24 + 1, 2**32, -(2**40)])
def test_labels_that_are_no_class_are_counted(label, classes):
    """Among ignored ones, and also those that are a class once their upper bits are cut off."""
    target_BHW = truth(classes=classes)
    target_BHW[1, 2:4, 5] = classes if label == "K" else label
    target_BHW[0, 0, :3] = IGNORE
    _, stray = class_sums(
        logits_in("cut", torch.float32, classes=classes), target_BHW, WANTED[0], IGNORE
    )
    assert stray == 2


@pytest.mark.parametrize("classes", WAYS)
@pytest.mark.parametrize("wanted", WANTED)
def test_nothing_of_an_ignored_pixel_is_read(wanted, classes):
    logits_BKHW, target_BHW = (
        logits_in("cut", torch.float32, classes=classes),
        truth(classes=classes),
    )
    expected = sums_and_slopes(one_pass, logits_BKHW, target_BHW, wanted, IGNORE)
    ignored_BHW = (target_BHW == IGNORE)[:, None]
    for worst in (torch.nan, torch.inf, -torch.inf, 3e38):
        spoilt_BKHW = logits_BKHW.masked_fill(ignored_BHW, worst)
        spoilt_BKHW[:, 0] = spoilt_BKHW[:, 0].masked_fill(ignored_BHW[:, 0], 1)
        found = sums_and_slopes(one_pass, spoilt_BKHW, target_BHW, wanted, IGNORE)
        assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize("classes", WAYS)
def test_a_class_may_be_ruled_out_by_minus_infinity(classes):
    logits_BKHW, target_BHW = (
        logits_in("cut", torch.float32, classes=classes),
        truth(classes=classes),
    )
    ruled_out_BHW = target_BHW == 0
    logits_BKHW[:, 1] = logits_BKHW[:, 1].masked_fill(ruled_out_BHW, -torch.inf)
    far_BKHW = logits_BKHW.clamp(min=-1e4)
    found = sums_and_slopes(one_pass, logits_BKHW, target_BHW, WANTED[0], IGNORE)
    expected = sums_and_slopes(plain_sums, far_BKHW, target_BHW, WANTED[0], IGNORE)
    assert_near(found[0], expected[0], 2e-6)
    assert_near(found[1], expected[1], 2e-6)


@pytest.mark.parametrize("classes", WAYS)
def test_logits_of_any_size_have_a_loss_and_a_gradient(classes):
    logits_BKHW, target_BHW = (
        logits_in("cut", torch.float32, classes=classes),
        truth(classes=classes),
    )
    for scale in (1e4, 1e30):
        for wanted in (WANTED[0], WANTED[3]):
            given = (target_BHW, wanted, IGNORE)
            found = sums_and_slopes(one_pass, logits_BKHW * scale, *given)
            expected = sums_and_slopes(plain_sums, (logits_BKHW * scale).double(), *given)
            assert_near(found[0], expected[0], 2e-6)
            assert_near(found[1], expected[1], 2e-6)


@pytest.mark.parametrize("size", [(16, 24), (24, 36), (32, 48), (29, 50), (8, 30)])
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("tile", [1, 500, 10**6])
def test_coarse_logits_are_enlarged_as_interpolate_does(
    size, align_corners, dtype, tile, monkeypatch
):
    """Cut at bottom and right too; with a label to ignore, and without."""
    monkeypatch.setattr(enlarging, "TILE", tile)
    monkeypatch.setattr(enlarging, "COLUMNS", 7)
    enlargement = Enlargement(size, align_corners)
    for beyond, ignore_index, layout in zip(
        (0, 1, 1), (IGNORE, IGNORE, None), LAYOUTS[1:], strict=True
    ):
        logits_BKhw = logits_in(layout, dtype)
        covered = size[0] - beyond, size[1] - beyond
        target_BHW = truth(covered, ignored=0.2 if ignore_index else 0)
        settings = (target_BHW, WANTED[0], ignore_index, enlargement)
        found = sums_and_slopes(one_pass, logits_BKhw, *settings)
        expected = sums_and_slopes(plain_sums, logits_BKhw.double(), *settings)
        assert_near(found[0], expected[0], min(TOLERANCE[dtype], 2e-6))
        assert_near(found[1], expected[1], TOLERANCE[dtype])


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("enlargement", [None, *ENLARGEMENTS])
def test_any_number_of_threads_finds_the_same(threads, enlargement, monkeypatch):
    monkeypatch.setattr(host, "TILE", 200)
    target_BHW = truth(enlargement.size if enlargement else (8, 12))
    settings = (logits_in("cut", torch.float32), target_BHW, WANTED[1], IGNORE, enlargement)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = sums_and_slopes(one_pass, *settings)
        torch.set_num_threads(threads)
        together = sums_and_slopes(one_pass, *settings)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(together[0], alone[0], rtol=1e-12, atol=0)
    assert torch.equal(together[1], alone[1])


def test_an_error_in_a_thread_is_raised(monkeypatch):
    def fail(*_: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(host, "measure", fail)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    with pytest.raises(MemoryError, match="no room"):
        class_sums(logits_in("cut", torch.float32), truth(), WANTED[0], IGNORE)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_loss_in_one_pass_is_the_loss_step_by_step(expression):
    loss = segkit.build_loss(expression, num_classes=CLASSES, ignore_index=IGNORE)
    leaf_BKHW = logits_in("contiguous", torch.float64).requires_grad_()
    found, expected = loss(leaf_BKHW, truth()), loss.plainly(leaf_BKHW, truth())
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)
    gradients = [torch.autograd.grad(each, leaf_BKHW)[0] for each in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize(
    ("expression", "passes"),
    [
        ("dice + ce", 1),
        ("0.5*dice + 2*focal + tversky(alpha=0.2) + ce", 1),
        ("dice(squared=true) + jaccard + focal_tversky", 1),
        ("dice + lovasz + ce", 1),
        ("focal(gamma=1) + focal(gamma=2)", 2),
        ("ce(label_smoothing=0.1) + dice", 1),
    ],
)
def test_a_sum_is_its_summands_added_up_and_read_once(expression, passes, monkeypatch):
    calls = []
    monkeypatch.setattr(
        "segkit_losses.one_pass.class_sums",
        lambda *given: calls.append(given) or class_sums(*given),
    )
    loss = segkit.build_loss(expression, num_classes=CLASSES, ignore_index=IGNORE)
    logits_BKHW = logits_in("channels_last", torch.float32)
    value = loss(logits_BKHW, truth())
    assert len(calls) == passes
    parts = zip(loss.weights, loss.losses, strict=True)
    expected = sum(weight * each(logits_BKHW, truth()) for weight, each in parts)
    torch.testing.assert_close(value, expected)


def test_gradients_of_gradients_are_those_of_the_plain_sums():
    leaf_BKHW = logits_in("contiguous", torch.float64, (2, 3)).requires_grad_()
    for expression in ("dice + focal", "ce"):
        loss = segkit.build_loss(expression, num_classes=CLASSES, ignore_index=IGNORE)
        assert torch.autograd.gradgradcheck(
            lambda x_BKHW, loss=loss: loss(x_BKHW, truth((2, 3))), leaf_BKHW
        )


def test_steps_accumulate_and_a_graph_serves_twice():
    loss = segkit.build_loss("dice + ce", num_classes=CLASSES, ignore_index=IGNORE)
    leaf_BKHW = logits_in("contiguous", torch.float32).requires_grad_()
    value = loss(leaf_BKHW, truth())
    value.backward(retain_graph=True)
    once_BKHW = leaf_BKHW.grad.clone()
    (3 * value).backward()
    torch.testing.assert_close(leaf_BKHW.grad, 4 * once_BKHW)


@pytest.mark.parametrize("expression", ["dice + ce", "focal(gamma=1.5) + tversky", "jaccard"])
def test_compilers_keep_it_in_one_graph(expression):
    loss = segkit.build_loss(expression, num_classes=CLASSES, ignore_index=IGNORE)
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    for layout in ("contiguous", "channels_last"):
        eager_BKHW = logits_in(layout, torch.float32).requires_grad_()
        graph_BKHW = eager_BKHW.detach().requires_grad_()
        value = loss(eager_BKHW, truth())
        torch.testing.assert_close(compiled(graph_BKHW, truth()), value, rtol=1e-6, atol=0)
        value.backward()
        compiled(graph_BKHW, truth()).backward()
        torch.testing.assert_close(graph_BKHW.grad, eager_BKHW.grad, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("enlargement", [((), False), *ENLARGEMENTS])
def test_the_operators_keep_torchs_rules(enlargement):
    leaf_BKHW = logits_in("contiguous", torch.float64).requires_grad_()
    size, align_corners = enlargement
    target_BHW = truth(size or (8, 12))
    given = (leaf_BKHW, target_BHW, *WANTED[1], IGNORE, list(size), align_corners)
    torch.library.opcheck(torch.ops.segkit_losses.class_sums.default, given)
    weights_RK = torch.ones(6, CLASSES, dtype=torch.float64)
    backward = torch.ops.segkit_losses.class_sums_backward.default
    torch.library.opcheck(backward, (weights_RK, leaf_BKHW.detach(), *given[1:]))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_pixels_cost_nothing(layout):
    leaf_BKHW = torch.zeros(2, CLASSES, 0, 4, requires_grad=True)
    loss = segkit.build_loss("dice + ce", num_classes=CLASSES)
    value = loss(leaf_BKHW, torch.zeros(2, 0, 4, dtype=torch.int64))
    value.backward()
    assert value == 0


def test_long_sums_are_within_a_millionth_of_float64_for_two_classes():
    """A million pixels of two classes, each summed in float32 within its tile only."""
    generator = torch.Generator().manual_seed(0)
    logits_BKHW = torch.randn(4, 2, 512, 512, generator=generator)
    target_BHW = torch.randint(0, 2, (4, 512, 512), generator=generator)
    found, _ = class_sums(logits_BKHW, target_BHW, WANTED[0], None)
    expected = plain_sums(logits_BKHW, target_BHW, WANTED[0], None)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


def largest_allocations(work) -> list[int]:
    """Bytes of every allocation, the largest first."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    events = profiler.profiler.kineto_results.events()
    sizes = [each.nbytes() for each in events if each.name() == "[memory]"]
    return sorted((size for size in sizes if size > 0), reverse=True)


def step_of(loss, logits, target_BHW, *settings):
    leaf = logits.detach().requires_grad_()
    loss(leaf, target_BHW, *settings).backward()


def test_only_the_gradient_is_as_large_as_the_logits():
    logits_BKHW = torch.randn(2, 21, 256, 256)
    target_BHW = torch.zeros(2, 256, 256, dtype=torch.int64)
    loss = segkit.build_loss("dice + ce", num_classes=21, ignore_index=IGNORE)
    sizes = largest_allocations(lambda: step_of(loss, logits_BKHW, target_BHW))
    assert sizes[0] == logits_BKHW.numel() * 4
    assert sum(each > 2 * host.TILE * 4 for each in sizes) == 1


@pytest.mark.parametrize("align_corners", [False, True])
def test_enlarging_holds_an_eighth_of_the_full_logits_at_most(align_corners):
    """150 classes at a stride of 4; held plainly, they and their gradient take 16 eighths."""
    coarse_BKhw = torch.randn(2, 150, 64, 64)
    target_BHW = torch.zeros(2, 256, 256, dtype=torch.int64)
    loss = segkit.build_loss("dice + ce", num_classes=150, ignore_index=IGNORE)
    sizes = largest_allocations(
        lambda: step_of(loss.from_coarse, coarse_BKhw, target_BHW, (256, 256), align_corners)
    )
    full = 2 * 150 * 256 * 256 * 4
    assert max(sizes) <= full / 8
    assert math.isclose(sizes[0], coarse_BKhw.numel() * 4, rel_tol=0.2)
