"""Scenes drawn at random: maps of 0, 1, 2, … as a person or a program would label pictures."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

Draw = Callable[[np.random.Generator, int, int, int], np.ndarray]


def discs(rng: np.random.Generator, height: int, width: int, count: int) -> np.ndarray:
    """Discs and ellipses of classes 1 and up on background."""
    map_HW = np.zeros((height, width), np.int32)
    side = min(height, width)
    for _ in range(int(rng.integers(3, 12))):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        axes = [int(rng.integers(max(3, side // 12), max(5, side // 4))) for _ in range(2)]
        label = int(rng.integers(1, count))
        cv2.ellipse(map_HW, centre, axes, int(rng.integers(180)), 0, 360, label, -1)
    return map_HW


def polygons(rng: np.random.Generator, height: int, width: int, count: int) -> np.ndarray:
    """Triangles to hexagons of any class, some over others."""
    map_HW = np.full((height, width), int(rng.integers(count)), np.int32)
    for _ in range(int(rng.integers(3, 10))):
        corners = rng.integers((0, 0), (width, height), (int(rng.integers(3, 7)), 2))
        cv2.fillPoly(map_HW, [corners.astype(np.int32)], int(rng.integers(count)))
    return map_HW


def rectangles(rng: np.random.Generator, height: int, width: int, count: int) -> np.ndarray:
    map_HW = np.zeros((height, width), np.int32)
    for _ in range(int(rng.integers(3, 10))):
        top, left = int(rng.integers(height - 4)), int(rng.integers(width - 4))
        high, wide = (int(rng.integers(4, max(6, side // 2))) for side in (height, width))
        map_HW[top : top + high, left : left + wide] = int(rng.integers(1, count))
    return map_HW


def layers(rng: np.random.Generator, height: int, width: int, count: int) -> np.ndarray:
    """Wavy layers one over the other, as of a street: sky, houses, road."""
    map_HW = np.full((height, width), int(rng.integers(count)), np.int32)
    x_W = np.arange(width)
    for top in np.sort(rng.random(int(rng.integers(2, 7)))):
        swing, phase = rng.uniform(0, height / 12), rng.uniform(0, 6.3)
        line_W = top * height + swing * np.sin(x_W * rng.uniform(2, 12) / width + phase)
        map_HW[np.arange(height)[:, None] >= line_W] = int(rng.integers(count))
    return map_HW


def clouds(rng: np.random.Generator, height: int, width: int, count: int) -> np.ndarray:
    """Irregular regions, as of land use: which of several smoothed noises is highest."""
    few = min(count, int(rng.integers(2, 9)))
    labels = rng.permutation(count)[:few].astype(np.int32)
    smooth = min(height, width) / rng.uniform(8, 20)
    noise = [cv2.GaussianBlur(rng.random((height, width)), (0, 0), smooth) for _ in labels]
    return labels[np.argmax(noise, axis=0)]


def roads(rng: np.random.Generator, height: int, width: int, count: int) -> np.ndarray:
    """Bent lines a few pixels wide on background: roads, vessels, wires, fibres."""
    map_HW = np.zeros((height, width), np.int32)
    for _ in range(int(rng.integers(3, 9))):
        points = rng.integers((0, 0), (width, height), (int(rng.integers(2, 6)), 2))
        thickness = int(rng.integers(1, max(2, min(height, width) // 14)))
        label = int(rng.integers(1, count))
        cv2.polylines(map_HW, [points.astype(np.int32)], False, label, thickness)
    return map_HW


def rings(rng: np.random.Generator, height: int, width: int, count: int) -> np.ndarray:
    """Classes inside each other in their order, as of cells with borders or of depths of a lake."""
    map_HW = np.zeros((height, width), np.int32)
    steps = [int(rng.integers(1, max(2, min(height, width) // (3 * count)))) for _ in range(count)]
    for _ in range(int(rng.integers(1, 5))):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        axis = int(rng.integers(sum(steps) + 4, sum(steps) + 4 + min(height, width) // 3))
        for label in range(1, count):
            ring_HW = np.zeros((height, width), np.uint8)
            size = (axis - sum(steps[:label]), max(3, axis - sum(steps[:label])))
            cv2.ellipse(ring_HW, centre, size, 0, 0, 360, 1, -1)
            map_HW[(ring_HW > 0) & (map_HW == label - 1)] = label
    return map_HW


def dots(rng: np.random.Generator, height: int, width: int, count: int) -> np.ndarray:
    """Points of one to four pixels on background, as cells are counted."""
    map_HW = np.zeros((height, width), np.int32)
    size = int(rng.integers(1, 4))
    for _ in range(int(rng.integers(5, 40))):
        top, left = int(rng.integers(height)), int(rng.integers(width))
        map_HW[top : top + size, left : left + size] = int(rng.integers(1, count))
    return map_HW


def streets(rng: np.random.Generator, height: int, width: int, count: int) -> np.ndarray:
    """Layers with poles, wires, signs and far-off dots of any class in front."""
    map_HW = layers(rng, height, width, count)
    for draw in (roads, dots, rectangles):
        front_HW = draw(rng, height, width, count)
        shown = (front_HW > 0) & (rng.random() < 0.7)
        map_HW = np.where(shown, front_HW, map_HW)
    return map_HW


def contours(rng: np.random.Generator, height: int, width: int, count: int) -> np.ndarray:
    """Heights of a hilly land in steps: each class meets its neighbours in the order alone."""
    side = min(height, width) / rng.uniform(3, 14)
    height_HW = cv2.GaussianBlur(rng.random((height, width)), (0, 0), side)
    share_HW = (height_HW - height_HW.min()) / np.ptp(height_HW)
    return np.minimum(share_HW * count, count - 1).astype(np.int32)


def nested(rng: np.random.Generator, height: int, width: int, count: int) -> np.ndarray:
    """Blobs with smaller blobs of the next class in them, off their centres: tumours, cells."""
    map_HW = np.zeros((height, width), np.int32)
    down_HW, right_HW = np.mgrid[:height, :width]
    for _ in range(int(rng.integers(1, 5))):
        top, left = int(rng.integers(height)), int(rng.integers(width))
        radius, stretch = min(height, width) * rng.uniform(0.1, 0.4), rng.uniform(0.6, 1.6)
        drift = rng.uniform(-0.2, 0.2, 2) * radius / count
        for label in range(1, count):
            down, right = down_HW - top - label * drift[0], right_HW - left - label * drift[1]
            inside_HW = np.hypot(down * stretch, right / stretch) < radius
            map_HW = np.where(inside_HW, np.maximum(map_HW, label), map_HW)
            radius *= rng.uniform(0.4, 0.9)
    return map_HW


BROAD: tuple[Draw, ...] = (discs, polygons, rectangles, layers, clouds)
FINE: tuple[Draw, ...] = (roads, rings, dots, streets)


def scenes(
    rng: np.random.Generator, count: int, classes: int, styles: tuple[Draw, ...] = BROAD + FINE
) -> list[np.ndarray]:
    """So many maps of one style that hold every class together, each map of one size or its own."""
    style = styles[int(rng.integers(len(styles)))]
    if style is rings:
        classes = min(classes, 8)
    size = rng.integers(48, 200, 2)
    maps = []
    for _ in range(count):
        height, width = size if rng.random() < 0.7 else rng.integers(48, 200, 2)
        maps.append(style(rng, int(height), int(width), classes))
    present = np.unique(np.concatenate([np.unique(map_HW) for map_HW in maps]))
    if len(present) < 2:
        return scenes(rng, count, classes, styles)
    # Classes that no map holds do not exist: the others move up.
    return [np.searchsorted(present, map_HW).astype(np.int32) for map_HW in maps]


def objects(rng: np.random.Generator, height: int, width: int, most: int) -> np.ndarray:
    """Numbered objects on background, from 1 on, in one piece each; they may touch."""
    map_HW = np.zeros((height, width), np.int32)
    number = 1
    for _ in range(int(rng.integers(max(2, most // 3), most + 1))):
        object_HW = np.zeros((height, width), np.uint8)
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        axes = [int(rng.integers(3, max(5, min(height, width) // 8))) for _ in range(2)]
        cv2.ellipse(object_HW, centre, axes, int(rng.integers(180)), 0, 360, 1, -1)
        free = (object_HW > 0) & (map_HW == 0)
        parts, part_HW = cv2.connectedComponents(free.astype(np.uint8))
        if parts == 2 and free.sum() > 8:
            map_HW[part_HW == 1] = number
            number += 1
    return map_HW
