"""`model.predict(image)` and `segkit.predict(model, image)`: images of any kind in, answers out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from segkit.data.files.decoding import Decoded
from segkit.data.files.images import as_image, read_image
from segkit.data.files.reading import Reading, recorded_reading
from segkit.data.files.spacing import read_spacing
from segkit.data.intensity import Intensity
from segkit.device import choose_precision
from segkit.errors import OutOfMemory, UsageError
from segkit.inference.certainty import Ways, answer
from segkit.inference.objects import background_label
from segkit.inference.onnx_network import OnnxNetwork, chosen, load_network
from segkit.inference.prediction import Prediction
from segkit.inference.predictor import Predictor
from segkit.inference.reading import Given, as_trained, asked_intensity
from segkit.inference.separated import Found, find
from segkit.inference.tiling import Tiling
from segkit.model.network import SegmentationModel
from segkit.reporting.pictures import palette_for

# Pixels up to which an image is computed whole; larger ones are cut into tiles of this side.
WHOLE, TILE, LEAST_TILE = 2048 * 2048, 1024, 128

# Pillow's modes whose numbers are pixel values.
PLAIN = ("1", "L", "LA", "RGB", "RGBA", "I", "I;16", "F")

Picture = str | Path | Image.Image | NDArray[Any]


def predict(
    model: SegmentationModel | str | Path | Sequence[str | Path],
    image: Picture | Sequence[Picture],
    *,
    probabilities: bool = False,
    tta: bool = False,
    mc_dropout: int = 0,
    tile: int | None = None,
    overlap: float = 0.25,
    precision: str = "auto",
    intensity: str | None = None,
    background: str | int | None = None,
) -> Any:
    """What a model says of an image, as a Prediction; of several, as a list of them.

    model          a loaded model, on the device where it is; or what `load_model` takes, several
                   in a list being an ensemble; or an ONNX file that `segkit export` wrote
    image          a path, a PIL image, or an array (H, W) or (H, W, C) of uint8, uint16 or floating
                   point; or a list of such, of any sizes
    probabilities  whether to give them too: K float32 values a pixel; images are computed whole
    tta            whether to take the mean probabilities of the image and its three mirrored
                   versions: four times the work, for surer labels; images are computed whole
    mc_dropout     take the mean over so many passes with the network's dropout left on; 0: one pass
                   without it; images are computed whole
    tile           cut images larger than this many pixels a side; None: those of more than 2048 x
                   2048 pixels are cut into tiles of 1024, and smaller ones where memory ends
    overlap        share of a tile that neighbours have in common
    precision      auto, fp32, bf16 or fp16
    intensity      which stored values are black and white: "per-image" or "fixed(BLACK, WHITE)";
                   None: as recorded with the model
    background     the class that is no object, by name or number; None: as recorded

    The model is put into evaluation mode. Channels are fitted to it as in training. Raises
    DataError (unreadable, SK-D011 channels, SK-D034 values the model does not know), OutOfMemory
    SK-T002.
    """
    if not isinstance(model, SegmentationModel):
        model = load_network(model)
    if tile is not None and tile < 16:
        raise UsageError("SK-C009", f"tile is {tile}.", "Give at least 16 pixels.")
    ways = Ways(tta, mc_dropout)
    if tile is not None and (probabilities or ways.several):
        raise UsageError(
            "SK-C007",
            "probabilities, mirrors and dropout need whole images, and tile cuts them.",
            "Leave out tile, or probabilities, tta and mc_dropout.",
        )
    ways.refuse_no_dropout(model)
    device = model.mean_C11.device
    predictor = _predictor(model, device, _precision(model, precision, device))
    several = isinstance(image, list | tuple)
    record = model.record
    ground = background_label(background, record.label_names, record.background)
    answer = _Answer(
        predictor, asked_intensity(intensity), probabilities, ways, tile, overlap, ground
    )
    images: Sequence[Any] = image if isinstance(image, list | tuple) else [image]
    found = [answer(each, place) for place, each in enumerate(images)]
    return found if several else found[0]


def _precision(model: SegmentationModel, asked: str, device: torch.device) -> str:
    if not isinstance(model, OnnxNetwork):
        return choose_precision(asked, device)
    return chosen(model.file, "cpu", asked)[1]


class _Answer:
    """Predicts image after image with one network."""

    def __init__(
        self,
        predictor: Predictor,
        intensity: Intensity | None,
        with_probabilities: bool,
        ways: Ways,
        tile: int | None,
        overlap: float,
        background: int,
    ) -> None:
        self.background = background
        self.predictor, self.tile, self.overlap = predictor, tile, overlap
        self.with_probabilities, self.ways = with_probabilities, ways
        self.record = predictor.model.record
        self.given = as_trained(self.record, intensity)

    def __call__(self, image: Any, place: int) -> Prediction:
        pixels_HWC, name = _read(image, place, recorded_reading(self.record.training))
        given = self.given(pixels_HWC, name)
        said, tile = None, self.tile or _tile_for(given)
        if self.with_probabilities or self.ways.several:
            said, tile = answer(self.predictor, given, self.ways), None
        found = self._found(given, tile, said.label_HW if said else None)
        return Prediction(
            found.label_HW,
            tuple(self.record.label_names),
            palette_for(self.record.label_count, self.record.palette),
            given,
            said.probability_KHW if said and self.with_probabilities else None,
            read_spacing(Path(image).expanduser()) if isinstance(image, str | Path) else None,
            self.background,
            found.numbers(self.predictor, self.background),
            said.mutual_HW if said and self.with_probabilities else None,
        )

    def _found(
        self, given: Given, tile: int | None, label_HW: NDArray[np.integer] | None = None
    ) -> Found:
        """In tiles of this side, of half of it where the memory does not suffice, and so on.

        label_HW   the labels, where they are known already
        """
        tiling = Tiling(tile, self.overlap) if tile else None
        try:
            return find(self.predictor, given.pixels, given.full_scale, tiling, label_HW)
        except OutOfMemory:
            smaller = (tile or 2 * TILE) // 2
            if self.tile or smaller < LEAST_TILE:
                raise
        return self._found(given, smaller, label_HW)


# The rewritten networks of models in use, each with what it was made of.
_rewritten: WeakKeyDictionary[SegmentationModel, tuple[object, SegmentationModel]]
_rewritten = WeakKeyDictionary()


def _predictor(model: SegmentationModel, device: torch.device, precision: str) -> Predictor:
    """A predictor whose network is rewritten once, until the model's weights or record change."""
    tensors = [*model.parameters(), *model.buffers()]

    def made_of() -> object:
        weights = [(id(each), each.data_ptr(), each._version) for each in tensors]
        return precision, device, model.record, weights

    known = _rewritten.get(model)
    if known is not None and known[0] == made_of():
        return Predictor(model, device, precision, rewritten=known[1])
    predictor = Predictor(model, device, precision)
    if predictor.network is not model:
        # Converting the model's memory layout has moved its weights.
        _rewritten[model] = (made_of(), predictor.network)
    return predictor


def _read(image: Any, place: int, reading: Reading) -> tuple[NDArray[Any], str]:
    """(H, W, C) at its own depth, and a name for messages."""
    if isinstance(image, str | Path):
        return read_image(Path(image).expanduser(), reading=reading), str(image)
    name = f"image {place + 1}"
    if isinstance(image, Image.Image):
        name = str(getattr(image, "filename", "") or name)
        upright = ImageOps.exif_transpose(image)
        plain = upright if upright.mode in PLAIN else upright.convert("RGB")
        array = np.asarray(plain)
        # What some versions of Pillow give for 16 bits.
        return _as_stored(array.astype(np.uint16) if plain.mode == "I" else array, name), name
    if isinstance(image, torch.Tensor):
        raise UsageError(
            "SK-C009",
            f"{name} is a tensor, whose dimensions and scale cannot be told.",
            "Give an array (H, W) or (H, W, C) at its stored depth, such as "
            "tensor.permute(1, 2, 0).numpy(); a normalised image_BCHW goes into model(image_BCHW).",
        )
    return _as_stored(np.asarray(image), name), name


def _as_stored(array: NDArray[Any], name: str) -> NDArray[Any]:
    # Of other whole numbers nobody knows what is white.
    known = array.dtype.kind in "bf" or array.dtype in (np.uint8, np.uint16)
    if array.ndim not in (2, 3) or not known or not array.size:
        raise UsageError(
            "SK-C009",
            f"{name} is an array of {array.dtype}, shape {array.shape}, and no image.",
            "Give (H, W) or (H, W, C) of uint8, uint16 or floating point, at the depth it is "
            "stored with: array.astype(np.uint8).",
        )
    return as_image(Path(name), Decoded(array, "", ""))


def _tile_for(given: Given) -> int | None:
    height, width = given.pixels.shape[:2]
    return TILE if height * width > WHOLE else None
