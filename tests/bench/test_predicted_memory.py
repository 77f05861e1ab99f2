"""Predicted memory against what a real step on a CPU allocates, as torch's allocator tells it."""

import gc
from dataclasses import replace

import pytest
import torch
from torch.nn.utils import clip_grad_norm_
from torch.profiler import ProfilerActivity, profile, record_function

import segkit
from segkit.bench.limits.counting import Step, count_step
from segkit.model.activation_checkpointing import checkpoint_activations
from segkit.model.loss_sum import loss_of, output_for
from segkit.training.loop.learner import make_optimizer
from segkit.training.optimization.ema import WeightAverage

pytestmark = pytest.mark.integration

UPSAMPLERS = ("bilinear", "nearest", "bicubic", "transposed", "pixel_shuffle", "carafe", "dysample")
SMALL = {"height": 128, "width": 128, "batch": 4, "device": "cpu"}
INFERENCE = {"loss": None, "mode": "infer"}


def allocated(step):
    """Peak bytes, and those kept from before, of a step's tensors as torch's allocator tells."""
    torch.manual_seed(0)
    # What other tests left behind must not be freed in between: it would count as the step's.
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run = real_step(step)
        run()
        with record_function("the second step"):
            run()
    events = sorted(profiler.profiler.kineto_results.events(), key=lambda each: each.start_ns())
    start = next(each.start_ns() for each in events if each.name() == "the second step")
    held = peak = kept = 0
    for event in events:
        if event.name() != "[memory]":
            continue
        held += event.nbytes()
        if event.start_ns() < start:
            kept = peak = held
        peak = max(peak, held)
    return peak, kept


def real_step(step):
    """The step that segkit.training.loop.loop takes, on random images."""
    model = segkit.build_model(
        step.encoder, step.decoder, step.upsampler, num_classes=step.classes
    ).to(memory_format=torch.channels_last)
    if step.checkpoint_activations:
        checkpoint_activations(model)
    image = torch.randn(step.batch, 3, step.height, step.width)
    image = image.contiguous(memory_format=torch.channels_last)
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=step.precision == "bf16")
    if step.mode == "infer":
        model.eval()

        def infer():
            with torch.no_grad(), autocast:
                model(image)

        return infer
    target = torch.randint(step.classes, (step.batch, step.height, step.width))
    loss = segkit.build_loss(step.loss, num_classes=step.classes, ignore_index=255)
    optimizer, average = make_optimizer(model, 1e-3, 0.01), WeightAverage(model, 0.99)

    def train():
        with autocast:
            output = output_for(loss, model, image)
        value = loss_of(loss, output, target)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update(0)

    return train


# A loss in one pass works in a few tiles of fixed size and, where it enlarges logits itself, on an
# image at a time, which a plan does not count.
LOSS_TILES = 8e6


def predicts(step, within=0.02):
    peak, kept = allocated(step)
    count = count_step(step)
    assert count.peak_bytes == pytest.approx(peak, rel=within, abs=LOSS_TILES)
    # What the step itself needs, beside what stays (there with image and labels): weights cannot
    # hide an error here.
    assert count.peak_bytes - count.kept_bytes == pytest.approx(
        peak - kept, rel=0.1, abs=LOSS_TILES / 2
    )


def test_predicted_memory_is_what_a_real_step_allocates():
    predicts(Step("densenet121", height=96, width=96, batch=4, device="cpu"))


def test_predicted_memory_in_bfloat16_is_what_a_real_step_allocates():
    predicts(Step("unet(width=16)", height=160, width=160, batch=4, precision="bf16", device="cpu"))


def test_predicted_memory_of_inference_is_what_it_allocates():
    step = Step("unet(width=16)", loss=None, mode="infer", height=160, width=160, device="cpu")
    predicts(step)


def test_predicted_memory_knows_that_a_convolution_copies_its_weight():
    # Weights of 45 MB, and maps of 8 pixels: the largest copy is a good half of what a step needs.
    predicts(Step("timm/resnet18", **INFERENCE, height=64, width=64, batch=4, device="cpu"))


def test_predicted_memory_knows_that_the_loss_enlarges_coarse_logits_by_itself():
    # At full size the logits alone would be 79 MB, and as much their gradient.
    step = Step("unet(width=16)", "unet(output_stride=4)", classes=150, **SMALL | {"batch": 8})
    predicts(step)
    assert count_step(step).peak_bytes < 160e6


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_predicted_memory_knows_what_is_computed_twice(precision):
    network = Step("unet(width=16)", precision=precision, checkpoint_activations=True, **SMALL)
    predicts(network, within=0.05)
    assert (
        count_step(network).peak_bytes
        < 0.8 * count_step(replace(network, checkpoint_activations=False)).peak_bytes
    )


@pytest.mark.slow
@pytest.mark.parametrize("upsampler", UPSAMPLERS)
@pytest.mark.parametrize("encoder", ["densenet121", "unet(width=32)"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_predicted_memory_holds_for_every_upsampler(encoder, upsampler, precision):
    predicts(Step(encoder, "unet", upsampler, precision=precision, **SMALL), within=0.04)


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 21, 150])
@pytest.mark.parametrize("loss", ["ce", "dice+ce", "focal", "tversky", "lovasz"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_predicted_memory_holds_for_losses_and_numbers_of_classes(loss, classes, precision):
    predicts(Step("unet(width=16)", loss=loss, classes=classes, precision=precision, **SMALL))


NETWORKS = [
    ("densenet121", "unet(output_stride=2)"),
    ("densenet121", "unet(output_stride=4)"),
    ("densenet121(memory_efficient=true)", "unet"),
    ("unet(width=16)", "unet(output_stride=2)"),
    ("timm/resnet18", "deeplabv3plus"),
    ("timm/resnet18", "fcn"),
    ("timm/convnext_tiny", "unet"),
    ("timm/efficientnet_b0", "unet"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("encoder", "decoder"), NETWORKS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("task", [{}, INFERENCE], ids=["train", "infer"])
def test_predicted_memory_holds_for_every_stride(encoder, decoder, precision, task):
    predicts(Step(encoder, decoder, precision=precision, **task, **SMALL), within=0.04)
