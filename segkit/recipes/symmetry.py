"""Whether a set's pictures could as well have been taken turned or mirrored, told from the data.

Gravity, light from one side and writing leave traces that a flip reverses: sky above street, a
digit and its mirror image. A trace counts where it shows in nearly every picture, by Student's t
over the pictures. Too few pictures prove nothing, and then nothing is turned.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

# Pictures from which on the lack of a trace means something.
ENOUGH = 8
# |t| that a trace needs. Wrongly found, it costs some augmentation; overlooked, it teaches what
# there is not. Measured: at most 1.5 in sets drawn without an up, 3.3 in fourteen photographs of
# pets, 5 to 1,500 in a street video.
SURE = 3.0
# Traces below these shares are too weak for a network to learn from.
FAINT_SHARE, FAINT_GREY, FAINT_EDGES, FAINT_SKEW = 0.05, 0.03, 0.1, 0.05
# Side of the drawing of an object, and how many of a class make its mean shape.
SHAPE, SHAPES = 12, 30
# A mean shape is handed where its correlation with its mirror image is this much below that with
# itself. Measured: 0.17 to 0.57 for ten digits, at most 0.11 in six sets without writing.
UNLIKE_ITS_MIRROR = 0.15


@dataclass(frozen=True)
class Symmetry:
    """What a set's pictures allow.

    turns     a vertical flip or a quarter turn could be a picture of the same world; None: the
              pictures are too few to tell
    mirrors   a horizontal flip could
    because   the strongest trace, or why none was found, as a half-sentence
    handed    labels whose objects differ from their mirror images
    """

    turns: bool | None
    mirrors: bool
    because: str
    handed: tuple[int, ...] = ()


def symmetry_of(
    greys: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    shapes: Mapping[int, Sequence[np.ndarray]],
    names: Sequence[str],
    alike: float,
) -> Symmetry:
    """Of a set, by some of its pictures.

    greys    (H, W) float32 each, 0 to 1
    masks    (H, W) labels; those outside of names count for nothing
    shapes   {label: drawings of its objects}, as `shape_of` makes them
    alike    see Fingerprint: frames of one recording count as fewer pictures, by its square
    """
    handed = tuple(label for label, drawn in sorted(shapes.items()) if _is_handed(drawn))
    # One class among many may be so by chance, or by what the few pictures show of it.
    mirrors = 2 * len(handed) < max(2, sum(len(drawn) >= SHAPES for drawn in shapes.values()))
    if not mirrors:
        told = ", ".join(names[label] for label in handed[:3])
        because = f"objects are unlike their mirror images ({told}{' …' * (len(handed) > 3)})"
        return Symmetry(False, False, because, handed)
    independent = min(1.0, alike) ** 2
    if len(greys) * independent < ENOUGH:
        recording = " so much alike" if len(greys) >= ENOUGH else ""
        told = f"{len(greys)} pictures{recording} are too few to tell whether they have an up"
        return Symmetry(None, True, told, handed)
    traces = _traces(greys, masks, names)
    found = [(abs(t), told) for t, told in traces if abs(t) * math.sqrt(independent) > SURE]
    if found:
        return Symmetry(False, True, max(found)[1], handed)
    return Symmetry(True, True, f"in {len(greys)} pictures nothing tells up from down", handed)


def shape_of(object_HW: np.ndarray) -> np.ndarray:
    """(SHAPE, SHAPE) float32: an object's own picture of its box, its proportions kept."""
    height, width = object_HW.shape
    side = max(height, width)
    square_HW = np.zeros((side, side), np.float32)
    top, left = (side - height) // 2, (side - width) // 2
    square_HW[top : top + height, left : left + width] = object_HW
    return cv2.resize(square_HW, (SHAPE, SHAPE), interpolation=cv2.INTER_AREA)


def _is_handed(drawn: Sequence[np.ndarray]) -> bool:
    """Whether one half of the objects is less like the other half mirrored than like it."""
    if len(drawn) < SHAPES:
        return False
    one_HW, other_HW = (np.mean(drawn[start::2], axis=0) for start in (0, 1))
    alike, mirrored = _correlation(one_HW, other_HW), _correlation(one_HW, other_HW[:, ::-1])
    return alike - mirrored > UNLIKE_ITS_MIRROR


def _correlation(one_HW: np.ndarray, other_HW: np.ndarray) -> float:
    one, other = one_HW.ravel() - one_HW.mean(), other_HW.ravel() - other_HW.mean()
    return float(one @ other / max(np.linalg.norm(one) * np.linalg.norm(other), 1e-12))


def _traces(
    greys: Sequence[np.ndarray], masks: Sequence[np.ndarray], names: Sequence[str]
) -> list[tuple[float, str]]:
    """(t, half-sentence) of each trace that is not faint."""
    found = []
    for label, name in enumerate(names):
        lower_N = np.array([_lower_share(mask_HW == label) for mask_HW in masks])
        lower_N = lower_N[np.isfinite(lower_N)]
        below = "lower" if lower_N.size and lower_N.mean() > 0 else "upper"
        told = f"{name} lies in the {below} half of nearly every picture"
        found.append((_t(lower_N, FAINT_SHARE), told))
    brighter_N = np.array([_halves(grey_HW) for grey_HW in greys])
    side = "lower" if brighter_N.mean() > 0 else "upper"
    found.append(
        (_t(brighter_N, FAINT_GREY), f"the {side} half is brighter in nearly every picture")
    )
    edges_N = np.array([_upright_edges(grey_HW) for grey_HW in greys])
    way = "upright" if edges_N.mean() > 0 else "level"
    found.append((_t(edges_N, FAINT_EDGES), f"{way} edges are stronger in nearly every picture"))
    skew_N = np.array([_skew(grey_HW) for grey_HW in greys])
    found.append((_t(skew_N, FAINT_SKEW), "light falls from one side in nearly every picture"))
    return found


def _t(values_N: np.ndarray, faint: float) -> float:
    """Student's t of the mean against 0; 0 where the mean is faint."""
    if len(values_N) < ENOUGH or abs(values_N.mean()) < faint:
        return 0.0
    error = float(values_N.std(ddof=1)) / math.sqrt(len(values_N))
    return float(values_N.mean()) / max(error, 1e-9)


def _lower_share(inside_HW: np.ndarray) -> float:
    """By how much more of a region lies below the middle than above it, -1 to 1; NaN of none."""
    middle = inside_HW.shape[0] // 2
    upper, lower = int(inside_HW[:middle].sum()), int(inside_HW[-middle:].sum())
    return (lower - upper) / (lower + upper) if lower + upper else math.nan


def _halves(grey_HW: np.ndarray) -> float:
    middle = grey_HW.shape[0] // 2
    return float(grey_HW[-middle:].mean() - grey_HW[:middle].mean())


def _upright_edges(grey_HW: np.ndarray) -> float:
    """Logarithm of the energy of upright edges over that of level ones."""
    across, down = np.diff(grey_HW, axis=1), np.diff(grey_HW, axis=0)
    return math.log((float((across**2).sum()) + 1e-9) / (float((down**2).sum()) + 1e-9))


def _skew(grey_HW: np.ndarray) -> float:
    """How one-sided steps down the picture are: shading by a light from above or below."""
    smooth_HW = cv2.GaussianBlur(grey_HW, (0, 0), 1.0)
    step_HW = np.diff(smooth_HW, axis=0)
    return float((step_HW**3).sum() / max(float((np.abs(step_HW) ** 3).sum()), 1e-12))
