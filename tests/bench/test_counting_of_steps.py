"""What a step amounts to on paper: against hand calculation, published tables, torch's counter."""

import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import segkit
from segkit.bench.limits.counting import Step, count_modules, count_step, counts_of
from segkit.bench.limits.tracing import Stand, Trace, extent
from segkit.bench.records.case import Case
from segkit.errors import UsageError
from segkit.registry.index import Index

pytestmark = pytest.mark.integration

SMALL = {"height": 16, "width": 16, "batch": 2, "classes": 5, "average": False}
INDEX = Index.of_installed()


class Mean(nn.Module):
    def forward(self, logits_BKHW, target_BHW):
        return logits_BKHW.mean()


def counted(model, **changes):
    return count_modules(model, Mean(), Step("hand-made", **(SMALL | changes)))


def names(kind):
    return [entry.name for entry in INDEX.entries if entry.kind == kind and entry.state == "ok"]


def test_a_convolution_has_the_arithmetic_that_hand_calculation_gives():
    count = counted(nn.Conv2d(3, 8, 3, padding=1))
    multiply_adds = 2 * 8 * 3 * 3 * 3 * 16 * 16
    assert count.parameters == 8 * 3 * 3 * 3 + 8
    assert count.multiply_adds == multiply_adds
    # The image needs no gradient: the backward pass is that of the weights alone.
    assert count.flops("backward") == 2 * multiply_adds


# Images of 16 x 16 pixels, two of them: batch x weights x places the kernel stands at.
BY_HAND = {
    "plain": (nn.Conv2d(8, 12, 3, padding=1), 2 * (12 * 8 * 9) * 256),
    "in 4 groups": (nn.Conv2d(8, 12, 3, padding=1, groups=4), 2 * (12 * 2 * 9) * 256),
    "depthwise": (nn.Conv2d(8, 8, 5, padding=2, groups=8), 2 * (8 * 1 * 25) * 256),
    "depthwise, two a channel": (nn.Conv2d(8, 16, 3, padding=1, groups=8), 2 * (16 * 9) * 256),
    "strided": (nn.Conv2d(8, 12, 3, stride=2, padding=1), 2 * (12 * 8 * 9) * 64),
    "strided, in 2 groups": (nn.Conv2d(8, 12, 3, 2, 1, groups=2), 2 * (12 * 4 * 9) * 64),
    "dilated": (nn.Conv2d(8, 12, 3, padding=2, dilation=2), 2 * (12 * 8 * 9) * 256),
    "dilated, unpadded": (nn.Conv2d(8, 12, 3, dilation=2), 2 * (12 * 8 * 9) * 144),
    "transposed": (nn.ConvTranspose2d(8, 12, 2, stride=2), 2 * (12 * 8 * 4) * 256),
    "transposed, in 4 groups": (
        *(nn.ConvTranspose2d(8, 12, 4, 2, 1, groups=4), 2 * (8 * 3 * 16) * 256),
    ),
    "transposed, depthwise": (nn.ConvTranspose2d(8, 8, 3, groups=8), 2 * (8 * 9) * 256),
}


@pytest.mark.parametrize("kind", BY_HAND)
def test_any_convolutions_backward_pass_has_twice_its_forward_arithmetic(kind):
    convolution, multiply_adds = BY_HAND[kind]
    image_BCHW = torch.zeros(2, 8, 16, 16, requires_grad=True)
    trace = Trace()
    with trace:
        with trace.phase("forward"):
            y_BCHW = convolution(image_BCHW)
        with trace.phase("backward"):
            y_BCHW.sum().backward()
    flops = {
        phase: sum(each.flops for each in trace.operations if each.phase == phase)
        for phase in ("forward", "backward")
    }
    assert flops == {"forward": 2 * multiply_adds, "backward": 4 * multiply_adds}


def test_depthwise_networks_need_about_twice_the_forward_arithmetic_backward():
    pytest.importorskip("timm")
    count = count_step(Step("timm/efficientnet_b0", height=64, width=64, batch=2))
    assert count.flops("backward") / count.flops("forward") == pytest.approx(2, abs=0.1)


def test_a_matrix_product_has_the_arithmetic_that_hand_calculation_gives():
    count = counted(nn.Linear(16, 7, bias=False))
    rows = 2 * 3 * 16
    assert (count.parameters, count.flops("forward")) == (16 * 7, 2 * rows * 16 * 7)


@pytest.mark.parametrize(
    ("encoder", "decoder", "upsampler", "millions", "gigaflops"),
    [
        ("unet", "unet", "transposed", 31.0, 386),
        ("smp/densenet121", "smp/unet", "bilinear", 13.6, 68.6),
    ],
)
def test_known_networks_have_their_published_size(encoder, decoder, upsampler, millions, gigaflops):
    pytest.importorskip("segmentation_models_pytorch")
    step = Step(encoder, decoder, upsampler, None, "infer", batch=1)
    count = count_step(step)
    assert count.parameters / 1e6 == pytest.approx(millions, rel=0.005)
    assert count.flops("forward") / 1e9 == pytest.approx(gigaflops, rel=0.005)


def test_arithmetic_agrees_with_torch_counting_a_real_run():
    step = Step("unet(width=4)", "unet", "transposed", "ce", height=32, width=32, batch=2)
    model = segkit.build_model("unet(width=4)", "unet", "transposed", num_classes=21)
    with FlopCounterMode(display=False) as counter:
        model(torch.rand(2, 3, 32, 32)).sum().backward()
    assert count_step(step).flops() == counter.get_total_flops()


def test_an_operation_moves_its_inputs_and_outputs_once():
    x = torch.rand(10, 10)
    with Trace() as trace, trace.phase("forward"):
        x.relu()
        x + torch.ones(1, 10).expand(10, 10)
        x.view(100)
    relu, ones, sums = trace.operations
    assert relu.bytes == 2 * 400
    assert ones.bytes == 40
    assert sums.bytes == 400 + 40 + 400


def test_a_tensor_covers_no_more_memory_than_it_has():
    assert extent(torch.empty(1, 10).expand(50, 10)) == 40
    assert extent(torch.empty(0, 10)) == 0


def test_what_lies_between_convolutions_is_fused_into_them():
    one, two = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.Conv2d(8, 4, 1, bias=False)
    image = torch.rand(1, 3, 20, 20)
    with torch.no_grad(), Trace() as trace, trace.phase("forward"):
        logits = two(one(image).sigmoid().relu())
    between = 8 * 20 * 20 * 4
    weights = (one.weight.numel() + two.weight.numel()) * 4
    expected = image.nbytes + between + between + weights + logits.nbytes
    assert trace.fused_bytes["forward"] == expected
    assert sum(each.bytes for each in trace.operations) == expected + 4 * between


def test_a_loss_cannot_move_less_than_its_logits_three_times():
    logits = torch.rand(2, 5, 20, 20, requires_grad=True)
    with Trace() as trace:
        trace.hold([logits])
        with trace.phase("forward"):
            loss = logits.log_softmax(1)[:, 0].mean()
        with trace.phase("backward"):
            loss.backward()
            trace.results([logits.grad])
    reads_and_write = sum(trace.fused_bytes.values())
    assert reads_and_write == pytest.approx(3 * logits.nbytes, rel=0.01)


def test_the_peak_is_the_most_held_at_one_moment():
    with Trace() as trace, trace.phase("first"):
        a = torch.empty(1000, dtype=torch.uint8)
        b = torch.empty(500, dtype=torch.uint8)
        del a
        c = torch.empty(700, dtype=torch.uint8)
    assert (trace.peak, trace.held) == (1500, 1200)
    del b, c
    assert trace.held == 0


def test_a_gpu_hands_memory_out_in_blocks():
    with Trace(granule=512) as trace:
        kept = torch.empty(513, dtype=torch.uint8)
    assert trace.held == 1024
    assert kept.nbytes == 513


def test_training_keeps_weights_gradients_two_moments_and_the_average():
    plain, averaged = (
        counted(nn.Conv2d(3, 8, 3, padding=1), average=average, device="cpu")
        for average in (False, True)
    )
    weights = plain.model_bytes
    steps = 2 * 4  # the optimizer counts steps for the weight and for the bias
    assert plain.kept_bytes == 4 * weights + steps
    assert averaged.kept_bytes == 5 * weights + steps


def test_what_the_backward_pass_needs_is_counted_as_saved():
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Sigmoid(), nn.Conv2d(8, 5, 1))
    count = counted(model)
    image, hidden = 2 * 3 * 16 * 16 * 4, 2 * 8 * 16 * 16 * 4
    assert count.saved_bytes == image + hidden


def test_bfloat16_halves_what_is_saved_of_convolutions():
    def saved(precision):
        model = nn.Sequential(*(nn.Conv2d(8, 8, 3, padding=1) for _ in range(6)))
        return counted(model, channels=8, precision=precision, height=64, width=64).saved_bytes

    assert saved("bf16") / saved("fp32") == pytest.approx(0.5, abs=0.08)


OPERATIONS = {
    "bilinear": lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
    "nearest": lambda x: F.interpolate(x, scale_factor=2, mode="nearest"),
    "group norm": lambda x: F.group_norm(x, 2),
    "layer norm": lambda x: F.layer_norm(x, x.shape[-1:]),
    "batch norm": lambda x: nn.BatchNorm2d(8, device=x.device)(x),
    "softmax": lambda x: x.softmax(1),
    "log softmax": lambda x: F.log_softmax(x, 1),
    "power": lambda x: x**2,
    "sum": lambda x: x.sum(1),
    "mean": lambda x: x.mean(1),
    "norm": lambda x: x.norm(),
    "normalize": lambda x: F.normalize(x),
    "exp": torch.exp,
    "sigmoid": torch.sigmoid,
    "gelu": F.gelu,
    "softplus": F.softplus,
    "pooling": lambda x: F.max_pool2d(x, 2),
    "unpooling": lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2),
    "shuffle": lambda x: F.pixel_shuffle(x, 2),
    "convolution": lambda x: F.conv2d(x, torch.empty(4, 8, 1, 1, device=x.device)),
    "product": lambda x: x @ x,
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_types_under_autocast_are_those_of_cuda(name):
    def kind(device):
        x = torch.empty(2, 8, 8, 8, device=device, dtype=torch.bfloat16)
        torch.set_autocast_enabled(device, True)
        torch.set_autocast_dtype(device, torch.bfloat16)
        try:
            return OPERATIONS[name](x).dtype
        finally:
            torch.set_autocast_enabled(device, False)
            torch.clear_autocast_cache()

    with FakeTensorMode():
        expected = kind("cuda")
        with Stand(casts=True):
            assert kind("cpu") == expected


def test_the_types_would_differ_without_standing_in():
    with FakeTensorMode(), torch.autocast("cpu", dtype=torch.bfloat16):
        x = torch.empty(2, 8, 8, 8, dtype=torch.bfloat16)
        assert OPERATIONS["bilinear"](x).dtype == torch.bfloat16


def test_where_a_mask_selects_everything_is_reckoned_with():
    class Selected(nn.Module):
        def forward(self, logits_BKHW, target_BHW):
            assert not bool((target_BHW < 0).any())
            return logits_BKHW[logits_BKHW > 0].mean()

    step = Step("hand-made", **SMALL)
    count = count_modules(nn.Conv2d(3, 5, 1), Selected(), step)
    assert max(each.bytes for each in count.operations) >= 2 * 2 * 5 * 16 * 16 * 4


@pytest.mark.parametrize("loss", [f"dice + {name}" for name in names("losses")])
def test_every_loss_can_be_counted_without_running_it(loss):
    step = Step("unet(width=4)", "unet", loss=loss, height=32, width=32, batch=2)
    assert count_step(step).peak_bytes > 0


@pytest.mark.parametrize("upsampler", names("upsamplers"))
def test_every_upsampler_can_be_counted_without_running_it(upsampler):
    encoder, decoder = "unet(width=4)", "unet"
    if upsampler == "max_unpool":
        encoder, decoder = "vgg11_bn", "segnet"
    step = Step(encoder, decoder, upsampler, "ce", height=32, width=32, batch=2)
    assert count_step(step).flops("backward") > count_step(step).flops("forward")


def test_parameters_that_take_no_part_are_left_alone():
    class Spare(nn.Conv2d):
        def __init__(self):
            super().__init__(3, 5, 1)
            self.spare = nn.Conv2d(3, 5, 1)

    count = counted(Spare(), device="cpu")
    plain = counted(nn.Conv2d(3, 5, 1), device="cpu")
    assert count.parameters == 2 * plain.parameters
    assert count.fewest_bytes["optimizer"] == plain.fewest_bytes["optimizer"]


def test_what_cannot_be_counted_is_refused_with_the_way_out():
    class Reading(nn.Module):
        def forward(self, image_BCHW):
            return torch.from_dlpack(image_BCHW)

    with pytest.raises(UsageError) as caught:
        counted(Reading())
    assert "hand-made + unet + bilinear with dice+ce cannot be counted" in caught.value.what
    assert caught.value.fix == "Measure it: segkit bench, with the same options."


def test_a_batch_that_batch_norm_cannot_train_on_is_refused():
    with pytest.raises(UsageError, match="more than 1 value per channel"):
        counted(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(3)), batch=1)


def test_a_benchmark_case_gets_its_counts():
    case = Case(encoder="unet(width=4)", decoder="unet", upsampler="bilinear", loss="ce", size=32)
    counts = counts_of(case)
    assert counts.flops > 2 * counts.multiply_adds
    assert counts.eager_bytes > counts.fewest_bytes > 4 * counts.parameters
    assert counts_of(Case(task="data")) is None
