"""The settings of `segkit train` that have an option of their own, in the groups of its help."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import click

from segkit.cli.options.completion import ComponentName
from segkit.cli.options.declaring import Option

AUGMENTATIONS = "none|light|standard|strong|microscopy"


class IntegerOr(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.5 on
    """A whole number, or one of the words given."""

    name = "number"

    def __init__(self, *words: str) -> None:
        self.words = words

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | str:
        text = str(value).lower()
        if text in self.words:
            return text
        try:
            return int(text)
        except ValueError:
            self.fail(f"{value!r} is neither a whole number nor {' nor '.join(self.words)}.")


data = partial(click.option, cls=Option, group="Data")
network = partial(click.option, cls=Option, group="Network")
training = partial(click.option, cls=Option, group="Training")
machine = partial(click.option, cls=Option, group="Machine")
output = partial(click.option, cls=Option, group="Output")

DATA = (
    data("--data", metavar="DIR", help="Images and masks. [default: the built-in demo set]"),
    data(
        "--dataset",
        type=ComponentName("datasets"),
        help="Published set that --data holds. [default: none, the folder's own layout]",
    ),
    data("--size", type=int, help="Side of the square crop, pixels. [default: fits the data]"),
    data(
        "--crops",
        type=click.Choice(["anywhere", "foreground", "classes", "middle"]),
        help="Where crops are cut. [default: by the data]",
    ),
    data(
        "--augmentation",
        metavar=AUGMENTATIONS,
        help="[default: by the data; light on the demo set]",
    ),
    data("--in-channels", type=int, help="Channels of the images. [default: as the files]"),
    data(
        "--intensity",
        metavar="range|percentile|per-image|fixed(BLACK, WHITE)",
        help="Which pixel values are black and white. [default: range]",
    ),
    data(
        "--ignore-index",
        type=IntegerOr("auto", "none"),
        help="Mask label that counts for nothing. [default: auto]",
    ),
    data(
        "--instances",
        type=click.Choice(["foreground", "boundary"]),
        help="Masks hold object numbers: learn foreground, or boundaries too. "
        "[default: masks hold classes]",
    ),
    data(
        "--separate",
        metavar="boundary|distance|centre",
        help="Learn to tell touching objects apart, from object numbers. [default: not]",
    ),
    data(
        "--binarize",
        type=int,
        help="Smeared masks: values from here on are foreground. [default: none]",
    ),
    data(
        "--label-mapping",
        metavar="'{VALUE: LABEL, …}'",
        help="What mask values mean; a label may be ignore. [default: as they are]",
    ),
    data(
        "--declare",
        metavar="'KEY: VALUE'",
        help="What data.yaml would say, such as 'page: 1'. [default: nothing]",
    ),
    data("--num-classes", type=int, help="Classes the masks hold. [default: as they show]"),
    data(
        "--resize-masks",
        type=click.Choice(["nearest"]),
        help="Masks of other sizes are brought to their images'. [default: none]",
    ),
    data("--max-pixels", type=int, help="Largest image, pixels. [default: 178956970]"),
    data(
        "--on-bad-sample",
        type=click.Choice(["error", "skip"]),
        help="Damaged files: stop, or leave out up to 5 %. [default: error]",
    ),
)
NETWORK = (
    network("--encoder", type=ComponentName("encoders"), help="[default: by data and weights]"),
    network("--decoder", type=ComponentName("decoders"), help="[default: unet]"),
    network("--upsampler", type=ComponentName("upsamplers"), help="[default: bilinear]"),
    network(
        "--weights",
        metavar="auto|imagenet|none|FILE",
        help="What the encoder starts from. [default: auto]",
    ),
    network(
        "--freeze",
        metavar="PART",
        help="Parts that do not learn, such as encoder. [default: none]",
    ),
    network("--thaw-epoch", type=int, help="Epoch in which they begin to learn. [default: never]"),
)
TRAINING = (
    training(
        "--recipe",
        type=click.Choice(["auto", "plain"]),
        help="What decides where no option does: the data, or fixed defaults. [default: auto]",
    ),
    training("--loss", type=ComponentName("losses"), help="As 0.5*dice+ce. [default: dice+ce]"),
    training(
        "--class-weights",
        type=click.Choice(["median", "root", "effective"]),
        help="Of the loss, by the training pixels: median frequency, inverse square root, "
        "effective number. [default: as --loss says, or else the recipe]",
    ),
    training(
        "--metric",
        type=ComponentName("metrics"),
        help="One or several, as miou,dice; the first decides. [default: miou]",
    ),
    training(
        "--epochs",
        type=int,
        help="Passes over the images. [default: 1500 steps, 10 or more; demo set: 12]",
    ),
    training(
        "--minutes",
        type=float,
        help="End in about so many minutes on this machine, in place of --epochs. [default: none]",
    ),
    training(
        "--overfit",
        type=int,
        metavar="N",
        help="Learn N images by heart, and score on them: can it learn at all? [default: all]",
    ),
    training(
        "--batch",
        type=IntegerOr("auto"),
        help="Images a step, all processes together; auto: all that fit. [default: 8]",
    ),
    training("--lr", type=float, help="Highest learning rate. [default: 0.001]"),
    training(
        "--encoder-lr-factor",
        type=float,
        help="The encoder's learning rate is so many times that: 0.1 for pretrained ones. "
        "[default: 1.0]",
    ),
    training(
        "--optimizer",
        type=click.Choice(["adamw", "sgd"]),
        help="sgd: momentum 0.9, Nesterov's; wants --lr 0.01 to 0.1. [default: adamw]",
    ),
    training(
        "--schedule",
        type=click.Choice(["cosine", "poly"]),
        help="How the learning rate falls; poly: by the power of 0.9. [default: cosine]",
    ),
    training(
        "--weight-decay", type=float, help="Of weights, not of norms and biases. [default: 0.01]"
    ),
    training(
        "--no-ema",
        "ema_decay",
        flag_value=0.0,
        type=float,
        default=None,
        help="Score and save the weights themselves. [default: their running average]",
    ),
    training(
        "--mirror",
        is_flag=True,
        default=None,
        help="The model answers by the mean over mirrored versions of an image, as --augmentation "
        "mirrors: 2 or 4 times the time. [default: off]",
    ),
    training(
        "--patience",
        type=int,
        help="End after so many evaluations without a better score. [default: never]",
    ),
    training(
        "--folds",
        type=int,
        metavar="K",
        help="Cross-validate: K trainings on other parts of the images, and their ensemble. "
        "[default: one training]",
    ),
    training("--seed", type=int, help="Of start, order and augmentation. [default: 0]"),
)
MACHINE = (
    machine("--device", help="auto, cpu, cuda, cuda:N or mps. [default: auto]"),
    machine(
        "--precision",
        type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
        help="Of the arithmetic. [default: auto]",
    ),
    machine("--workers", type=IntegerOr("auto"), help="Reading processes. [default: auto]"),
    machine(
        "--compile",
        type=click.Choice(["no", "yes", "graph"]),
        help="torch.compile; graph: as a CUDA graph. [default: no]",
    ),
    machine(
        "--sync-norms",
        type=click.Choice(["auto", "on", "off"]),
        help="Batch norms of several processes see the whole batch. [default: auto, on GPUs]",
    ),
    machine(
        "--timeout",
        type=float,
        metavar="MINUTES",
        help="How long processes wait for one another. [default: 10.0]",
    ),
    machine(
        "--accumulate",
        type=int,
        metavar="PARTS",
        help="Less memory: a step computes its batch in parts, one by one. [default: 1]",
    ),
    machine(
        "--checkpoint-activations",
        is_flag=True,
        default=None,
        help="Less memory, more time: activations are computed twice. [default: off]",
    ),
    machine(
        "--keep-freed-memory",
        is_flag=True,
        default=None,
        help="Linux: up to a fifth more memory, for time where maps are large. [default: off]",
    ),
    machine(
        "--deterministic",
        is_flag=True,
        default=None,
        help="The same bits on a GPU too. [default: off]",
    ),
)
OUTPUT = (
    output("--out", metavar="RUN", help="Folder of the run. [default: runs/DATA-ENCODER]"),
    output(
        "--checkpoint-minutes",
        type=float,
        help="Minutes of work that a crash may cost, at most. [default: 10.0]",
    ),
    output(
        "--logger",
        metavar="NAME[,NAME]",
        help="Send numbers to tensorboard, wandb or mlflow too. [default: none]",
    ),
)


def settings_options(function: Callable[..., None]) -> Callable[..., None]:
    """Adds them all to a command; settings without an option go by --set."""
    for option in reversed((*DATA, *NETWORK, *TRAINING, *MACHINE, *OUTPUT)):
        function = option(function)
    return function
