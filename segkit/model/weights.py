"""Pretrained weights for encoders: from a file, this machine's cache, or the Hugging Face hub.

Only `weights="imagenet"` ever opens a socket, and only when the file is not on this machine yet.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from segkit.errors import ModelFileError, UsageError, WeightsUnavailable, did_you_mean

ANSWER_SECONDS = 8.0


@dataclass(frozen=True)
class PublishedWeights:
    """Where an encoder's weights are published on the Hugging Face hub.

    repository   such as "timm/densenet121.ra_in1k"
    licence      of the weights, as their card states it
    file         the safetensors file in the repository
    revision     a commit or a tag of the repository
    """

    repository: str
    licence: str
    file: str = "model.safetensors"
    revision: str = "main"

    @property
    def local_path(self) -> Path:
        """Where a file fetched by hand belongs: in $SEGKIT_WEIGHTS, or ~/.cache/segkit/weights."""
        folder = os.environ.get("SEGKIT_WEIGHTS") or Path.home() / ".cache" / "segkit" / "weights"
        return Path(folder) / f"{self.repository.replace('/', '--')}.safetensors"

    @property
    def address(self) -> str:
        """Where a browser finds the file."""
        return f"https://huggingface.co/{self.repository}/resolve/{self.revision}/{self.file}"

    def fetch(self) -> Path:
        """The file on this machine, downloaded if need be; raises WeightsUnavailable SK-W001."""
        if self.local_path.is_file():
            return self.local_path
        from huggingface_hub import hf_hub_download, try_to_load_from_cache

        cached = try_to_load_from_cache(self.repository, self.file, revision=self.revision)
        if isinstance(cached, str):
            return Path(cached)
        try:
            _within(ANSWER_SECONDS, self._ask)
            return Path(hf_hub_download(self.repository, self.file, revision=self.revision))
        # The hub client raises dozens of classes, its HTTP library's among them: all mean "no".
        except Exception as error:
            raise WeightsUnavailable(
                "SK-W001",
                f"the weights {self.repository} are not on this machine, and the hub did not give "
                f"them ({type(error).__name__}: {_first_line(error)}).",
                f"Fetch {self.address}\non a machine with internet and put it at "
                f"{self.local_path},\nor give any safetensors file with --weights FILE, "
                "or start at random with --weights none.",
            ) from error

    def _ask(self) -> None:
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        get_hf_file_metadata(
            hf_hub_url(self.repository, self.file, revision=self.revision), timeout=ANSWER_SECONDS
        )


def load_encoder_weights(
    encoder: nn.Module,
    weights: str,
    *,
    published: PublishedWeights | None,
    name: str | None = None,
    rename: Callable[[str], str | None] = lambda key: key,
    convert: Callable[[dict[str, Tensor]], dict[str, Tensor]] | None = None,
    first_convolution: str | None = None,
) -> None:
    """Fills an encoder, in place, as its `weights` argument says.

    weights            "none" (nothing happens), "imagenet" (those published), or a safetensors file
    published          where "imagenet" comes from; None where nothing is published
    name               what messages call the encoder; its class where None
    rename             the encoder's name for a key of the file, or None to leave that tensor out
    convert            the encoder's tensors by name, of the renamed ones; whatever it raises is
                       told as a file that does not fit
    first_convolution  the weight to fold or repeat where the encoder has not 3 input channels

    Raises WeightsUnavailable (SK-W001 not to be had, SK-W003 none published), ModelFileError
    SK-W002 (the file does not fit), UsageError SK-C009 (no such file).
    """
    # For `segkit list --long` and `segkit info`, which show the licence.
    encoder.published_weights = published  # type: ignore[assignment]
    name = name or type(encoder).__name__
    path = find_weights(name, weights, published)
    if path is None:
        return
    state = {
        renamed: tensor
        for key, tensor in _read_weights(path).items()
        if (renamed := rename(key)) is not None
    }
    if convert is not None:
        state = _converted(path, name, state, convert)
    wanted = encoder.state_dict()
    if first_convolution in state and first_convolution in wanted:
        channels = wanted[first_convolution].shape[1]
        state[first_convolution] = adapt_input_channels(state[first_convolution], channels)
    _refuse_misfit(path, name, wanted, state)
    fitting = {key: state[key] for key in wanted if key in state}
    # torch's own: some networks' method of that name takes no `strict`.
    nn.Module.load_state_dict(encoder, fitting, strict=False)


def find_weights(encoder: str, weights: str, published: PublishedWeights | None) -> Path | None:
    """The file that an encoder's `weights` argument means; None for "none".

    For those who ask before they build anything, since it may not be had.

    encoder   what messages call it
    Raises as `load_encoder_weights` does.
    """
    if weights == "none":
        return None
    if weights == "imagenet":
        if published is None:
            raise WeightsUnavailable(
                "SK-W003",
                f"no ImageNet weights are published for {encoder}.",
                "Use --weights none, or give a safetensors file with --weights FILE.",
            )
        return published.fetch()
    path = Path(weights).expanduser()
    if not path.is_file():
        raise UsageError(
            "SK-C009",
            f"weights '{weights}' is neither 'auto', 'imagenet', 'none' nor a file.",
            f"{did_you_mean(path.name, ('auto', 'imagenet', 'none'))}"
            "Give the path of a safetensors file.",
        )
    return path


def _read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, by name; raises ModelFileError SK-W002."""
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelFileError(
            "SK-W002",
            f"{path} is not a readable safetensors file ({_first_line(error)}).",
            "Pickled .pt and .pth files are never opened. Where you trust one, convert it once: "
            "safetensors.torch.save_file(torch.load(FILE, weights_only=True), 'w.safetensors').",
        ) from error


def adapt_input_channels(weight_OIHW: Tensor, channels: int) -> Tensor:
    """A first convolution for another number of input channels.

    One channel: the sum over the old ones, so that a grey image answers as its grey triplet would.
    Otherwise the old ones in turn, scaled so that the expected sum stays, as timm does.
    """
    known = weight_OIHW.shape[1]
    if channels == known:
        return weight_OIHW
    if channels == 1:
        return weight_OIHW.sum(dim=1, keepdim=True)
    picked = torch.arange(channels, device=weight_OIHW.device) % known
    return weight_OIHW[:, picked] * (known / channels)


def _converted(
    path: Path,
    name: str,
    state: dict[str, Tensor],
    convert: Callable[[dict[str, Tensor]], dict[str, Tensor]],
) -> dict[str, Tensor]:
    try:
        return convert(state)
    # Other libraries' conversions meet a stranger's file with whatever error comes first.
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1].strip()
        raise _misfit(path, name, reason) from error


def _refuse_misfit(
    path: Path, name: str, wanted: Mapping[str, Tensor], state: Mapping[str, Tensor]
) -> None:
    # Old files lack BatchNorm's step counter, which no result depends on.
    missing = [n for n in wanted if n not in state and not n.endswith("num_batches_tracked")]
    shapes = [n for n in wanted if n in state and wanted[n].shape != state[n].shape]
    if not missing and not shapes:
        return
    if missing:
        example = f"the file has no '{missing[0]}'"
    else:
        key = shapes[0]
        example = f"'{key}' is {tuple(state[key].shape)} there and {tuple(wanted[key].shape)} here"
    raise _misfit(
        path,
        name,
        f"of {len(wanted)} tensors {len(missing)} are missing and {len(shapes)} have another "
        f"shape; {example}",
    )


def _misfit(path: Path, name: str, reason: str) -> ModelFileError:
    return ModelFileError(
        "SK-W002",
        f"{path} does not fit {name} ({reason}).",
        "Check that the file belongs to this very encoder and its options.",
    )


def _within(seconds: float, action: Callable[[], None]) -> None:
    """Runs the action; raises TimeoutError where it has not ended in time (look-ups can hang)."""
    outcome: list[BaseException | None] = []

    def run() -> None:
        try:
            action()
            outcome.append(None)
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise TimeoutError(f"no answer within {seconds:g} s")
    if outcome[0] is not None:
        raise outcome[0]


def _first_line(error: BaseException) -> str:
    first = (str(error).strip().splitlines() or ["no reason given"])[0].split(". ")[0].rstrip(".")
    return first if len(first) <= 300 else f"{first[:300]} …"
