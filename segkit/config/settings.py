"""The settings of a training: one frozen object, and what may change while a run goes on."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from segkit.config.data_settings import DataConfig

# What of a run may differ when it goes on: where and how it computes, and how long.
CHANGEABLE = (
    "device",
    "workers",
    "epochs",
    "compile",
    "checkpoint_activations",
    "keep_freed_memory",
)


class TrainConfig(DataConfig):
    """Everything that decides a training; what is left to segkit is written "auto" or none."""

    recipe: Literal["auto", "plain"] = Field(
        default="auto",
        description="auto decides what is not given by the data, and says why; plain takes the "
        "defaults below",
    )
    encoder: str = Field(
        default="densenet121", description="the encoder; options as name(option=value)"
    )
    decoder: str = Field(default="unet", description="the decoder")
    upsampler: str = Field(default="bilinear", description="the upsampler that the decoder uses")
    loss: str = Field(
        default="dice+ce", description="what is minimised; losses add up: 0.5*dice + ce"
    )
    class_weights: Literal["median", "root", "effective"] | None = Field(
        default=None,
        description="of the loss, by the training pixels: median frequency, inverse square root or "
        "effective number; null: as loss says",
    )
    metric: str = Field(
        default="miou", description="what is reported; the first decides what is best"
    )
    weights: str = Field(
        default="auto",
        description="the encoder's start: auto, imagenet, none or a safetensors file",
    )
    epochs: int | None = Field(
        default=None,
        ge=1,
        description="passes over the training images; null: 12 of the demo set, else 1500 steps "
        "in 10 epochs or more",
    )
    epoch_steps: int | None = Field(
        default=None,
        ge=1,
        description="steps of an epoch; null: as many as hold every training image once",
    )
    minutes: float | None = Field(
        default=None,
        gt=0,
        description="end in so many minutes on this machine, whose speed then decides epochs and "
        "epoch_steps; null: as long as those say",
    )
    earlier_plans: str | None = Field(
        default=None,
        description="numbers of epochs that were the plan of a run with minutes until the machine "
        "got slower or quicker, as '24 until 7'; null: epochs was it from the start",
    )
    batch: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        default=8,
        description="images per step, over all processes together; auto: the most that fit into "
        "memory, found by real steps before the training",
    )
    accumulate: int = Field(
        default=1,
        ge=1,
        description="parts in which a step computes its batch, one after the other, to take less "
        "memory; norms and losses then see one part at a time",
    )
    size: int | None = Field(
        default=None,
        ge=8,
        description="side of the square training crop, pixels; null fits the images",
    )
    lr: float = Field(
        default=1e-3, gt=0, description="highest learning rate, reached after the warm-up"
    )
    encoder_lr_factor: float = Field(
        default=1.0,
        gt=0,
        description="of the encoder's learning rate: 0.1 changes pretrained weights little",
    )
    optimizer: Literal["adamw", "sgd"] = Field(
        default="adamw",
        description="sgd has a momentum of 0.9 (Nesterov's), and wants an lr of 0.01 to 0.1",
    )
    schedule: Literal["cosine", "poly"] = Field(
        default="cosine",
        description="how the learning rate falls after the warm-up: half a cosine, or (1 - done) "
        "to the power of 0.9",
    )
    weight_decay: float = Field(
        default=0.01, ge=0, description="of weights; norms and biases have none"
    )
    warmup_share: float = Field(
        default=0.05,
        ge=0,
        lt=1,
        description="share of all steps in which the learning rate rises, 0 to 1",
    )
    clip_norm: float | None = Field(
        default=1.0, gt=0, description="largest norm of a step's gradient; null clips nothing"
    )
    ema_decay: float = Field(
        default=0.99,
        ge=0,
        lt=1,
        description="of the averaged weights, which are scored and saved; 0 is none",
    )
    augmentation: str = Field(
        default="auto",
        description="none, light, standard, strong, microscopy, changed as standard(flips=none); "
        "auto: standard, light on the demo",
    )
    mirror: bool = Field(
        default=False,
        description="what is scored and saved answers by the mean over an image and its mirrored "
        "versions, as the augmentation mirrors: 2 or 4 times the time of a prediction",
    )
    crops: Literal["anywhere", "foreground", "classes", "middle"] = Field(
        default="anywhere",
        description="where training crops are cut: anywhere, more often at any class but 0, at "
        "each of an image's classes equally often, or at the image's middle in every epoch",
    )
    separate: str | None = Field(
        default=None,
        description="how touching objects are told apart, of masks with object numbers: boundary, "
        "distance or centre, as distance(reach=24); null: not at all",
    )
    freeze: str | None = Field(
        default=None, description="parts that do not learn, such as encoder; several with commas"
    )
    thaw_epoch: int | None = Field(
        default=None,
        ge=2,
        description="epoch, from 1, in which frozen parts begin to learn; null is never",
    )
    patience: int | None = Field(
        default=None,
        ge=1,
        description="evaluations without a better score that end it; null is never",
    )
    evaluate_every: int | None = Field(
        default=None,
        ge=1,
        description="epochs between evaluations and checkpoints; null: at most 50 in all",
    )
    checkpoint_steps: int | None = Field(
        default=None,
        ge=1,
        description="steps between checkpoints within an epoch; null writes none there",
    )
    checkpoint_minutes: float = Field(
        default=10.0,
        gt=0,
        description="minutes between checkpoints, at most: what a killed training loses",
    )
    timeout: float = Field(
        default=10.0,
        gt=0,
        description="minutes that a process waits for another of the training before it ends",
    )
    samples: int = Field(default=4, ge=0, description="validation images shown in samples/")
    samples_every: int | None = Field(
        default=None, ge=1, description="epochs between pictures of them; null: five times in all"
    )
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:N or mps")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto",
        description="of the arithmetic; auto is bf16 where the device is quick at it",
    )
    channels_last: bool = Field(
        default=True, description="keep images with their channels innermost"
    )
    compile: Literal["no", "yes", "graph"] = Field(
        default="no",
        description="torch.compile; graph: replayed as a CUDA graph too. The first step takes "
        "minutes; on a CPU it does not pay",
    )
    checkpoint_activations: bool = Field(
        default=False,
        description="compute activations again for the gradient: less memory, more time",
    )
    keep_freed_memory: bool = Field(
        default=False,
        description="Linux: the process keeps memory that tensors free for the next ones; up to a "
        "fifth more memory, and less time where maps exceed 32 MiB on a virtual machine",
    )
    sync_norms: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="batch norms of several processes see the whole batch, and not each its own "
        "share; auto: on GPUs, where PyTorch can",
    )
    deterministic: bool = Field(
        default=False,
        description="refuse operations that differ from run to run (a CPU never does)",
    )
    workers: Annotated[int, Field(ge=0)] | Literal["auto"] = Field(
        default="auto",
        description="processes that read data, for each training process; 0 reads in it",
    )
    seed: int = Field(
        default=0, ge=0, lt=2**32, description="of initialisation, order and augmentation"
    )
    logger: str | None = Field(
        default=None,
        description="where numbers go beside metrics.csv: tensorboard, wandb, mlflow, or several "
        "with commas",
    )
    plugins: str | None = Field(
        default=None,
        description="which plugin, at which version, gave each part; null: whichever is installed",
    )
    out: str | None = Field(
        default=None,
        description="folder of the run; a number is added to one that exists; null names it",
    )
