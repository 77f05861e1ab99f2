"""The contracts of the eight kinds of component. No base class is required.

Dimensions in names: B batch, C channels, K classes, H W pixels, L levels.

A factory (a class or a function) is called with the build arguments of its kind, by keyword, and
with the options a user typed. Its keyword-only parameters beyond the build arguments ARE its
options: their annotations are checked, their defaults are shown by `segkit info`. Nothing swallows
`**kwargs`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

from segkit.kinds import KINDS as KINDS

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    class UpsamplerModule(nn.Module):
        """For type checkers: an Upsampler that is a module too."""

        channels: int
        needs_pool_indices: bool

        def __call__(
            self, x_BCHW: Tensor, size: tuple[int, int], pool_indices: Tensor | None = None
        ) -> Tensor: ...


BUILD_ARGUMENTS: dict[str, tuple[str, ...]] = {
    "encoders": ("in_channels", "weights"),
    "decoders": ("channels", "strides", "make_upsampler"),
    "upsamplers": ("in_channels", "out_channels", "scale"),
    "losses": ("num_classes", "ignore_index"),
    "metrics": ("num_classes", "ignore_index"),
    "datasets": ("root", "split"),
    "benchmarks": ("device",),
    "launchers": ("folder",),
}


# What a component of each kind has at least: its Protocol's members.
REQUIRED_MEMBERS: dict[str, tuple[str, ...]] = {
    "encoders": ("channels", "strides", "normalization", "__call__"),
    "decoders": ("channels", "stride", "__call__"),
    "upsamplers": ("channels", "needs_pool_indices", "__call__"),
    "losses": ("__call__",),
    "metrics": ("update", "compute", "reset"),
    "datasets": ("classes", "palette", "ignore_index", "__len__", "__getitem__"),
    "benchmarks": ("unit", "set_up", "run"),
    "launchers": ("outlives", "launch"),
}


class Features(NamedTuple):
    """What an encoder returns.

    maps          level i has shape (B, channels[i], H / strides[i], W / strides[i]), finest first
    pool_indices  for unpooling: item i has the flat indices of the 2x2 maxima that led from level
                  i to level i + 1, int64 (B, channels[i], H / strides[i + 1], W / strides[i + 1]),
                  as torch.nn.functional.max_pool2d returns them; None where an encoder does not
                  pool by maximum at every level
    """

    maps: tuple[Tensor, ...]
    pool_indices: tuple[Tensor, ...] | None = None


class Normalization(NamedTuple):
    """(pixel / full_scale - mean) / std, a value per channel; full_scale is 255 for 8 bits."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@runtime_checkable
class Encoder(Protocol):
    """Turns an image into feature maps, finest first.

    channels       channels of each map
    strides        input pixels per map pixel, increasing powers of two
    normalization  what the pixels are expected to look like

    Further attributes it may have: EncoderTraits. A further method: Checkpointable.

    Built with in_channels (any number from 1) and weights: "none", "imagenet" or the path of a
    safetensors file; raises WeightsUnavailable where they cannot be had.
    Called with image_BCHW, floating point, normalised; H and W are multiples of strides[-1] (the
    model pads), for an unpadded encoder once 2 * margins[-1] is taken off. Must not modify its
    input. Returns Features.
    """

    @property
    def channels(self) -> Sequence[int]: ...

    @property
    def strides(self) -> Sequence[int]: ...

    @property
    def normalization(self) -> Normalization: ...

    def __call__(self, image_BCHW: Tensor, /) -> Features: ...


@dataclass(frozen=True)
class EncoderTraits:
    """What an encoder says about itself, in attributes of these names; each may be missing or None.

    provides_pool_indices  whether it fills Features.pool_indices, which unpooling needs
    margins                of an unpadded encoder: input pixels lost at each side of map i, which
                           has (H - 2 * margins[i]) / strides[i] rows; empty: none are lost
    published_weights      the PublishedWeights behind weights="imagenet", whose licence lists show
                           (load_encoder_weights sets it)
    """

    provides_pool_indices: bool = False
    margins: Sequence[int] = ()
    published_weights: Any = None

    @classmethod
    def of(cls, encoder: object) -> EncoderTraits:
        """Those of an encoder, with the defaults for what it does not say: the one place to ask."""
        return cls(**_said(encoder, cls))

    @property
    def margin(self) -> int:
        """Input pixels lost at each side of the deepest map."""
        return self.margins[-1] if self.margins else 0


@dataclass(frozen=True)
class DecoderTraits:
    """What a decoder says about itself, in attributes of these names; each may be missing or None.

    margin          of an unpadded decoder: input pixels lost at each side, beyond the encoder's
    head_kernel     side of the classifier's convolution, odd; networks of other libraries have 3
    align_corners   whether the logits are enlarged corner to corner, as a network of another
                    library was trained, and not as if pixels were areas
    uses_upsampler  False where it never calls make_upsampler: an upsampler chosen by name is then
                    refused, since it would have no effect
    """

    margin: int = 0
    head_kernel: int = 1
    align_corners: bool = False
    uses_upsampler: bool = True

    @classmethod
    def of(cls, decoder: object) -> DecoderTraits:
        """Those of a decoder, with the defaults for what it does not say: the one place to ask."""
        return cls(**_said(decoder, cls))


@runtime_checkable
class Checkpointable(Protocol):
    """An encoder or decoder that can keep less for the gradient and compute it again."""

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Has every stage keep its input alone; segkit.api.recomputed does that for one stage."""


def _said(component: object, traits: type[Any]) -> dict[str, Any]:
    said = {each.name: getattr(component, each.name, None) for each in fields(traits)}
    return {name: value for name, value in said.items() if value is not None}


class MakeUpsampler(Protocol):
    """Builds one upsampler of the kind the user chose; `scale` is the factor, a power of two.

    What it returns is an Upsampler, and a module that a ModuleList takes.
    """

    def __call__(self, *, in_channels: int, out_channels: int, scale: int) -> UpsamplerModule: ...


@runtime_checkable
class Decoder(Protocol):
    """Turns feature maps into one map that the head classifies pixel by pixel.

    channels  channels of the map returned
    stride    input pixels per pixel of the map returned (the model resizes the logits from there)

    Further attributes it may have: DecoderTraits. A further method: Checkpointable.

    Built with the encoder's channels and strides (assume neither five levels nor a first stride of
    2) and make_upsampler. Returns (B, channels, H / stride, W / stride). A decoder that cannot use
    these strides, or needs something they lack, raises UsageError SK-C007 with the reason and what
    would work.
    """

    @property
    def channels(self) -> int: ...

    @property
    def stride(self) -> int: ...

    def __call__(self, features: Features, /) -> Tensor: ...


@runtime_checkable
class Upsampler(Protocol):
    """Enlarges a map to exactly the size asked for, odd sizes included.

    channels            channels of the map returned, equal to out_channels
    needs_pool_indices  True where it cannot work without the encoder's pooling indices

    Called with x_BCHW, size=(h, w) and, where it needs them, the step's pool_indices, which have
    out_channels channels and x's height and width. Returns (B, channels, h, w).
    """

    @property
    def channels(self) -> int: ...

    @property
    def needs_pool_indices(self) -> bool: ...

    def __call__(
        self, x_BCHW: Tensor, size: tuple[int, int], pool_indices: Tensor | None = None
    ) -> Tensor: ...


@runtime_checkable
class Loss(Protocol):
    """How wrong the logits are: a finite scalar, smaller is better.

    Called with logits_BKHW (floating point) and target_BHW (int64, class or ignore_index; losses
    with a `multilabel` option then take target_BKHW of 0, 1 or ignore_index). Means run over valid
    pixels only: ignored pixels change neither value nor gradient; a batch with every pixel ignored
    gives 0 with finite gradients.

    A loss that can do more says so by being an InstanceLoss, a CoarseLoss or a FusableLoss too:
    segkit.model.loss_sum is the one place that asks.
    """

    def __call__(self, logits_BKHW: Tensor, target_BHW: Tensor, /) -> Tensor: ...


@runtime_checkable
class InstanceLoss(Protocol):
    """A loss that looks at single objects, where the data tell them apart.

    Called with instances_BHW as third argument, int64, 0 background, one number per object; None
    where the data have none.

    needs_instances  True (a sum of losses says False where none of its summands does)
    """

    @property
    def needs_instances(self) -> bool: ...

    def __call__(
        self, logits_BKHW: Tensor, target_BHW: Tensor, instances_BHW: Tensor | None = None
    ) -> Tensor: ...


@runtime_checkable
class CoarseLoss(Protocol):
    """A loss that takes logits at the decoder's stride, so that training need not enlarge them.

    from_coarse   the loss of logits_BKhw enlarged bilinearly to size, (H, W), as
                  torch.nn.functional.interpolate does it, and cut at bottom and right to the
                  target's size: the same value and gradient, in float32 at least
    """

    def from_coarse(
        self,
        logits_BKhw: Tensor,
        target_BHW: Tensor,
        size: tuple[int, int],
        align_corners: bool = False,
    ) -> Tensor: ...


@runtime_checkable
class FusableLoss(Protocol):
    """A loss that computes a weighted sum of its like at once, sooner than each by itself.

    fuse   a static method, the same for all that can be fused: given the (weight, loss) of these
           summands it returns a Loss, which may be a CoarseLoss; None where it cannot
    """

    @staticmethod
    def fuse(terms: Sequence[tuple[float, Any]]) -> Loss | None: ...


@runtime_checkable
class Metric(Protocol):
    """A score gathered over batches. A torchmetrics.Metric that takes labels and has ignore_index,
    such as MulticlassJaccardIndex, serves as it is; MeanIoU has none (docs/plugins/metric.md).

    Called as update(prediction, target_BHW): label_BHW or, where it takes them, logits_BKHW, and
    the truth, int64. compute() returns a number or a mapping from name to number, the score that
    decides first. A score that is not defined, such as the IoU of a class absent from prediction
    and truth, is NaN (shown as n/a), never 0 or 1.

    What it says about itself: MetricTraits. What it may offer besides: CountedMetric, SummedMetric.
    """

    def update(self, prediction: Tensor, target_BHW: Tensor, /) -> None: ...

    def compute(self) -> Mapping[str, float] | Tensor: ...

    def reset(self) -> None: ...


@runtime_checkable
class CountedMetric(Metric, Protocol):
    """A metric that a confusion matrix determines: an evaluation counts once for all of them.

    from_counts   given int64 counts_KK (row: true class, column: predicted class, ignored pixels in
                  no cell), returns what compute() returns after updates with these pixels
    """

    def from_counts(self, counts_KK: Tensor) -> Mapping[str, float]: ...


@runtime_checkable
class SummedMetric(Metric, Protocol):
    """A metric that several processes may fill, each with its own images.

    state   tensors by name; their sums over the processes are written back into them, in place,
            and compute() then scores the images of all. Needed for several processes, unless the
            metric is a CountedMetric or torchmetrics' own, which sums by itself
    """

    @property
    def state(self) -> Mapping[str, Tensor]: ...


@dataclass(frozen=True)
class MetricTraits:
    """What a metric says about itself, in attributes of these names; each may be missing or None.

    convention        a sentence on what is averaged over what, stored beside the number
    higher_is_better  False where the best value is the smallest
    takes             "labels" or "logits": what update's first argument is
    needs_instances   True where update takes instances_BHW too, as its third argument (int64, 0
                      background, one number per object; None where the data have none)
    takes_objects     True where update takes objects_BHW too, as its fourth argument: the objects
                      that the model tells apart, numbered so; None where it tells none apart
    """

    convention: str = ""
    higher_is_better: bool = True
    takes: str = "labels"
    needs_instances: bool = False
    takes_objects: bool = False

    @classmethod
    def of(cls, metric: object) -> MetricTraits:
        """Those of a metric, with the defaults for what it does not say: the one place that asks.

        Raises ValueError where `takes` is neither of the two.
        """
        traits = cls(**_said(metric, cls))
        if traits.takes not in ("labels", "logits"):
            raise ValueError(f"takes is {traits.takes!r}, neither 'labels' nor 'logits'")
        return traits


@dataclass(frozen=True)
class Sample:
    """One image with its truth, as stored, before any augmentation.

    image      (H, W, C) at its own bit depth: uint8, uint16 or float32
    mask       (H, W) int64: class, or the data set's ignore_index; None where there is no truth
    id         the file's name below its folder, without suffix
    instances  (H, W) int64: 0 background, one number per object; None where the data have none
    """

    image: np.ndarray
    mask: np.ndarray | None
    id: str
    instances: np.ndarray | None = None


@runtime_checkable
class Dataset(Protocol):
    """Images with masks, by index.

    classes       the classes' names, in label order
    palette       an RGB colour per class, 0 to 255
    ignore_index  the label of pixels that count for nothing, or None

    Built with root (a folder, never written to) and split ("train", "val" or "test"). An index
    always gives the same sample: all are looked at before a training and cached as they were read,
    until a file below root or the plugin's own code changes.

    May offer besides: SizedDataset; and of its factory, SplitDataset and PublishedDataset.
    """

    @property
    def classes(self) -> Sequence[str]: ...

    @property
    def palette(self) -> Sequence[tuple[int, int, int]]: ...

    @property
    def ignore_index(self) -> int | None: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


@runtime_checkable
class SizedDataset(Protocol):
    """A data set that knows how large its samples are without reading them.

    sizes  (height, width) of every sample, pixels, by index; None where they are not known

    Evaluation then takes images of one size together; without it, those that follow one another.
    """

    @property
    def sizes(self) -> Sequence[tuple[int, int]] | None: ...


@runtime_checkable
class SplitDataset(Protocol):
    """A data set's factory whose splits are others than train, val and test.

    splits  the splits it takes, "train" among them; one that is asked for and not there raises
            DataError, and the others serve
    """

    @property
    def splits(self) -> Sequence[str]: ...


@dataclass(frozen=True)
class Archive:
    """One file to download and unpack: tar, tar.gz, tar.bz2, tar.xz or zip.

    url            where its owners publish it, http or https
    into           folder below the data set's own that its content is unpacked to, "" for that one
    sha256, md5    as published, in hexadecimal; None where its owners publish none. An MD5 finds a
                   damaged file, no forged one
    largest        bytes that it may have: more than that is not what was published
    largest_whole  bytes that its content may have
    """

    url: str
    into: str = ""
    sha256: str | None = None
    md5: str | None = None
    largest: int = 4_000_000_000
    largest_whole: int = 16_000_000_000

    @property
    def name(self) -> str:
        """The file's name, such as images.tar.gz."""
        return self.url.partition("?")[0].rstrip("/").rpartition("/")[2]


@dataclass(frozen=True)
class PublishedData:
    """What a data set's class says about its source, as its attribute `published`.

    homepage   where it is described
    licence    as its owners state it
    citation   the paper to cite
    archives   what `segkit data download` fetches; none where it may not be passed on or is given
               out after a registration
    by_hand    where to get it and where to put it, sentences with full stops
    """

    homepage: str
    licence: str
    citation: str
    archives: tuple[Archive, ...] = ()
    by_hand: str = ""


@runtime_checkable
class PublishedDataset(Protocol):
    """A data set's factory that says how it is published.

    published  the segkit.api.PublishedData by which `segkit data download` fetches it, and which
               names licence and citation when it is opened
    """

    @property
    def published(self) -> PublishedData: ...


@runtime_checkable
class Benchmark(Protocol):
    """One thing to measure, in a process of its own.

    unit  what one run processes, such as "image"

    Built with device ("cpu", "cuda", ...). set_up() prepares everything that is not to be measured;
    run() does the work once and returns how many units it processed.

    Options named mode, size, batch, classes, precision, channels_last, compile or loss receive the
    case's own, unless the user wrote another.

    Optional:
    check()   (error, largest error allowed) of what run() computes, against a reference in float64;
              no speed is shown where the first is the larger
    counts    {"parameters": ..., "multiply_adds": ..., "flops": ..., "fewest_bytes": ...} of a run
    """

    @property
    def unit(self) -> str: ...

    def set_up(self) -> None: ...

    def run(self) -> int: ...


@dataclass(frozen=True)
class Job:
    """One command line that a launcher runs somewhere, and what it needs there.

    name         among the jobs launched with it: letters, digits and ._+=-, a letter or digit first
    command      its words, the program first
    folder       where it runs, absolute
    log          file to which all that it prints is appended, absolute
    environment  variables that it has besides those of its launcher
    processes    that the command starts by itself, on one machine; all that follows is for all of
                 them together
    gpus         None: one a process where the machine has any
    cpus         cores; None: as many as the launcher usually gives
    memory_gib   GiB of memory; None: not known
    minutes      after which it may be asked to end (SIGTERM); None: never
    """

    name: str
    command: tuple[str, ...]
    folder: Path
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    processes: int = 1
    gpus: int | None = None
    cpus: int | None = None
    memory_gib: float | None = None
    minutes: float | None = None


@dataclass(frozen=True)
class JobNews:
    """What became of a job.

    what     launched: it was handed over, and may have to wait yet; ended
    where    in words: "process 4711 on this machine", "SLURM job 128_3"
    status   of one that ended: its exit status, 128 + N where signal N ended it; None where nobody
             knows it, since its machine was lost or it never ran
    reason   why the status is not known, a half-sentence; else empty
    """

    job: Job
    what: Literal["launched", "ended"]
    where: str
    status: int | None = None
    reason: str = ""


@runtime_checkable
class Launcher(Protocol):
    """Runs command lines on this machine or on others: never functions, never pickled objects.

    outlives   whether jobs go on when the process that launched them ends

    Built with folder: an empty or earlier used one, for scripts and notes of its own. launch(jobs)
    gives two pieces of news of every job: that it was launched, before which everything is refused
    that cannot be run at all, and, once, that it ended; in any order of jobs. Where the iterator is
    closed early, jobs of a launcher that does not outlive are ended, by SIGTERM first.

    A command may be run again where its machine was lost: it must bear that, as
    `segkit train --resume-or-start RUN` does. No shell reads its words.
    """

    @property
    def outlives(self) -> bool: ...

    def launch(self, jobs: Sequence[Job]) -> Iterator[JobNews]: ...
