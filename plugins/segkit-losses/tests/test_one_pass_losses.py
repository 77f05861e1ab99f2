"""What the computation by tiles promises beyond its numbers: what it reads, holds and refuses."""

from __future__ import annotations

import pytest
import torch
from segkit_losses import tile, tiles
from segkit_losses.tile import Wanted
from segkit_losses.tiles import Tiles
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

import segkit

CLASSES, IGNORE = 5, 255
# One exponential a pixel with two classes, labels looked up with more.
WAYS = (2, 5, 300)
SUMS = Wanted(overlap=True, squared=True, entropy=True, gamma=1.5)


def example(classes: int = CLASSES, ignored: float = 0.2, size: tuple[int, int] = (8, 12)):
    generator = torch.Generator().manual_seed(0)
    logits_BKHW = torch.randn(2, classes, *size, generator=generator) * 2
    target_BHW = torch.randint(0, classes, (2, *size), generator=generator)
    drop_BHW = torch.rand(2, *size, generator=generator) < ignored
    return logits_BKHW, target_BHW.masked_fill(drop_BHW, -1)


def sums_and_gradient(logits_BKHW: Tensor, target_BHW: Tensor) -> tuple[Tensor, Tensor]:
    made = Tiles(logits_BKHW, target_BHW, 1, -1)
    sums_RK, outside = made.sums(SUMS)
    assert outside == 0
    return sums_RK, made.gradient(torch.ones_like(sums_RK), SUMS)


@pytest.mark.parametrize("classes", WAYS)
@pytest.mark.parametrize("label", ["K", -2, 256, 2**24 + 1, 2**32, -(2**40)])
def test_labels_out_of_range_are_counted(label, classes):
    """Among ignored ones, and also those that are a class once their upper bits are cut off."""
    logits_BKHW, target_BHW = example(classes)
    target_BHW[1, 2:4, 5] = classes if label in ("K", 256) else label
    assert Tiles(logits_BKHW, target_BHW, 1, -1).sums(SUMS)[1] == 2


@pytest.mark.parametrize("classes", WAYS)
def test_nothing_of_an_ignored_pixel_is_read(classes):
    logits_BKHW, target_BHW = example(classes)
    expected = sums_and_gradient(logits_BKHW, target_BHW)
    ignored_BHW = (target_BHW == -1)[:, None]
    for worst in (torch.nan, torch.inf, -torch.inf, 3e38):
        spoilt_BKHW = logits_BKHW.masked_fill(ignored_BHW, worst)
        spoilt_BKHW[:, 0] = spoilt_BKHW[:, 0].masked_fill(ignored_BHW[:, 0], 1)
        assert all(map(torch.equal, sums_and_gradient(spoilt_BKHW, target_BHW), expected))


@pytest.mark.parametrize("classes", WAYS)
def test_a_class_may_be_ruled_out_by_minus_infinity(classes):
    logits_BKHW, target_BHW = example(classes)
    logits_BKHW[:, 1] = logits_BKHW[:, 1].masked_fill(target_BHW == 0, -torch.inf)
    found = sums_and_gradient(logits_BKHW, target_BHW)
    expected = sums_and_gradient(logits_BKHW.clamp(min=-1e4), target_BHW)
    torch.testing.assert_close(found, expected)


def test_any_number_of_threads_finds_the_same_and_is_left_as_it_was(monkeypatch):
    monkeypatch.setattr(tiles, "TILE", 200)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(sums_and_gradient(*example()))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for sums_RK, gradient_BKHW in found[1:]:
        torch.testing.assert_close(sums_RK, found[0][0], rtol=1e-12, atol=0)
        assert torch.equal(gradient_BKHW, found[0][1])


def test_an_error_in_a_thread_is_raised(monkeypatch):
    def fail(*_: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(tiles, "TILE", 200)
    monkeypatch.setattr(tile.Tile, "add_sums", fail)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    with pytest.raises(MemoryError, match="no room"):
        sums_and_gradient(*example())


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

    def counted(*given):
        calls.append(given)
        return Tiles(*given)

    monkeypatch.setattr("segkit_losses.one_pass.Tiles", counted)
    logits_BKHW, target_BHW = example()
    loss = segkit.build_loss(expression, num_classes=CLASSES, ignore_index=-1)
    value = loss(logits_BKHW, target_BHW)
    assert len(calls) == passes
    parts = zip(loss.weights, loss.losses, strict=True)
    expected = sum(weight * each(logits_BKHW, target_BHW) for weight, each in parts)
    torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("expression", ["dice + focal", "ce"])
def test_gradients_have_gradients(expression):
    loss = segkit.build_loss(expression, num_classes=CLASSES, ignore_index=-1)
    logits_BKHW, target_BHW = example(size=(2, 3))
    leaf_BKHW = logits_BKHW.double().requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x_BKHW: loss(x_BKHW, target_BHW), leaf_BKHW)
    coarse_BKhw = leaf_BKHW.detach()[..., :2, :2].requires_grad_()
    assert torch.autograd.gradgradcheck(
        lambda x_BKhw: loss.from_coarse(x_BKhw, example(size=(4, 4))[1], (4, 4)), coarse_BKhw
    )


def test_steps_accumulate_and_a_graph_serves_twice():
    loss = segkit.build_loss("dice + ce", num_classes=CLASSES, ignore_index=-1)
    logits_BKHW, target_BHW = example()
    leaf_BKHW = logits_BKHW.requires_grad_()
    value = loss(leaf_BKHW, target_BHW)
    value.backward(retain_graph=True)
    once_BKHW = leaf_BKHW.grad.clone()
    (3 * value).backward()
    torch.testing.assert_close(leaf_BKHW.grad, 4 * once_BKHW)


@pytest.mark.integration
@pytest.mark.parametrize("expression", ["dice + ce", "focal(gamma=1.5) + tversky", "lovasz"])
def test_compilers_keep_it_in_one_graph(expression):
    loss = segkit.build_loss(expression, num_classes=CLASSES, ignore_index=-1)
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    logits_BKHW, target_BHW = example()
    for layout in (torch.contiguous_format, torch.channels_last):
        eager_BKHW = logits_BKHW.contiguous(memory_format=layout).detach().requires_grad_()
        graph_BKHW = eager_BKHW.detach().clone().requires_grad_()
        value = loss(eager_BKHW, target_BHW)
        found = compiled(graph_BKHW, target_BHW)
        torch.testing.assert_close(found, value, rtol=1e-5, atol=0)
        value.backward()
        found.backward()
        torch.testing.assert_close(graph_BKHW.grad, eager_BKHW.grad, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("size", [(13, 17), (16, 24), (8, 12), (4, 6)])
def test_any_other_enlargement_is_that_of_interpolate(size):
    """Corner to corner, by no whole factor, by none, or made smaller: held at full size."""
    logits_BKhw, _ = example()
    target_BHW = torch.zeros(2, *size, dtype=torch.int64)
    loss = segkit.build_loss("dice + ce", num_classes=CLASSES)
    for corners in (False, True):
        full_BKHW = torch.nn.functional.interpolate(
            logits_BKhw, size, mode="bilinear", align_corners=corners
        )
        found = loss.from_coarse(logits_BKhw, target_BHW, size, corners)
        torch.testing.assert_close(found, loss(full_BKHW, target_BHW))


def test_no_pixels_cost_nothing():
    for size in ((0, 4), (4, 0)):
        leaf_BKHW = torch.zeros(2, CLASSES, *size, requires_grad=True)
        loss = segkit.build_loss("dice + ce", num_classes=CLASSES)
        value = loss(leaf_BKHW, torch.zeros(2, *size, dtype=torch.int64))
        value.backward()
        assert value == 0


def test_long_sums_are_within_a_millionth_of_float64_for_two_classes():
    """A million pixels of two classes, each summed in float32 within its tile only."""
    logits_BKHW, target_BHW = example(2, size=(512, 1024))
    sums = [
        Tiles(each, target_BHW, 1, -1).sums(SUMS)[0] for each in (logits_BKHW, logits_BKHW.double())
    ]
    torch.testing.assert_close(*sums, rtol=1e-6, atol=0)


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
    assert sum(each > 2 * tiles.TILE * 4 for each in sizes) == 1


def test_enlarging_holds_an_eighth_of_the_full_logits_at_most():
    """150 classes at a stride of 4; held plainly, they and their gradient take 16 eighths."""
    coarse_BKhw = torch.randn(2, 150, 64, 64)
    target_BHW = torch.zeros(2, 256, 256, dtype=torch.int64)
    loss = segkit.build_loss("dice + ce", num_classes=150, ignore_index=IGNORE)
    sizes = largest_allocations(
        lambda: step_of(loss.from_coarse, coarse_BKhw, target_BHW, (256, 256))
    )
    assert max(sizes) <= 2 * 150 * 256 * 256 * 4 / 8
