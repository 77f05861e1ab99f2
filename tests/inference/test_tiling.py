"""Tiles: every pixel is covered, blended logits are a plain float64 blend's, memory is bounded."""

import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import nn

import segkit
from segkit.cli.evaluate_command import command as evaluate_command
from segkit.cli.predict_command import command as predict_command
from segkit.errors import OutOfMemory, UsageError
from segkit.inference.predictor import Predictor
from segkit.inference.tiling import Tiling, tiled_labels, window

SIZES = [(64, 64), (65, 64), (100, 37), (37, 100), (130, 97), (5, 200), (1, 1)]
TILINGS = [
    Tiling(32, 0.25),
    Tiling(32, 0.0),
    Tiling(33, 0.5, batch=3),
    Tiling(32, 0.8, batch=100),
    Tiling(64, 0.25),
]


class Convolving(nn.Module):
    """Logits that depend on the neighbourhood, and on where the tile ends."""

    def __init__(self, classes=5, side=9, layout=torch.contiguous_format):
        super().__init__()
        torch.manual_seed(0)
        self.convolution = nn.Conv2d(3, classes, side, padding=side // 2)
        self.layout = layout
        self.calls = []

    @torch.no_grad()
    def forward(self, pixels_BCHW):
        self.calls.append(tuple(pixels_BCHW.shape))
        logits_BKHW = self.convolution(pixels_BCHW.to(self.convolution.weight.dtype))
        return logits_BKHW.contiguous(memory_format=self.layout)


def pixels(height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(3, height, width, generator=generator)


def blended(pixels_CHW, network, tiling):
    """The whole image's mean logits, in float64, tile after tile: what the bands must amount to."""
    _, height, width = pixels_CHW.shape
    sides = [min(tiling.tile, side) for side in (height, width)]
    steps = [max(1, int(side * (1 - tiling.overlap))) for side in sides]
    curves = [
        torch.exp(-(((torch.arange(s).double() - (s - 1) / 2) / (0.125 * s)) ** 2) / 2)
        for s in sides
    ]
    weight_HW = torch.outer(*curves).clamp(min=1e-3)
    total_KHW = covered_HW = 0
    top = 0
    while True:
        left = 0
        top = min(top, height - sides[0])
        while True:
            left = min(left, width - sides[1])
            place = (slice(top, top + sides[0]), slice(left, left + sides[1]))
            if isinstance(total_KHW, int):
                classes = network(pixels_CHW[None, :, :1, :1]).shape[1]
                total_KHW = torch.zeros(classes, height, width, dtype=torch.float64)
                covered_HW = torch.zeros(height, width, dtype=torch.float64)
            total_KHW[:, *place] += network(pixels_CHW[None, :, *place])[0].double() * weight_HW
            covered_HW[place] += weight_HW
            if left + sides[1] == width:
                break
            left += steps[1]
        if top + sides[0] == height:
            break
        top += steps[0]
    return total_KHW / covered_HW


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("tiling", TILINGS, ids=str)
@pytest.mark.parametrize("size", SIZES)
def test_labels_are_those_of_a_plain_blend_in_float64(size, tiling, layout):
    network = Convolving(layout=layout)
    label_HW = tiled_labels(pixels(*size), network, tiling)
    logits_KHW = blended(pixels(*size), network.double(), tiling)
    highest_KHW = logits_KHW.topk(2, dim=0).values
    clear_HW = highest_KHW[0] - highest_KHW[1] > 1e-5
    assert torch.equal(label_HW[clear_HW].long(), logits_KHW.argmax(dim=0)[clear_HW])
    assert clear_HW.double().mean() > 0.999 or clear_HW.numel() < 100


def test_labels_are_those_of_monais_sliding_window():
    inferers = pytest.importorskip("monai.inferers")
    network, image_CHW = Convolving(), pixels(203, 150)
    inferer = inferers.SlidingWindowInferer(64, overlap=0.25, mode="gaussian")
    expected_HW = inferer(image_CHW[None], network)[0].argmax(dim=0)
    label_HW = tiled_labels(image_CHW, network, Tiling(64, 0.25))
    assert (label_HW.long() != expected_HW).double().mean() < 1e-4


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("length", [1, 31, 32, 33, 56, 57, 100, 1000])
def test_tiles_cover_a_side_and_never_leave_it(length, overlap):
    tiling = Tiling(32, overlap)
    starts = [span.start for span in tiling.spans(length)]
    tile = min(32, length)
    covered = {place for start in starts for place in range(start, start + tile)}
    assert covered == set(range(length))
    assert starts == sorted(set(starts))
    assert all(later - start <= tile * (1 - overlap) for start, later in pairwise(starts))


@pytest.mark.parametrize("size", [(512, 512), (16, 16), (1, 1), (5, 300)])
def test_every_pixel_of_a_tile_has_weight(size):
    weight_HW = window(*size)
    assert weight_HW.shape == size
    assert (weight_HW > 0).all()
    assert weight_HW.max() == weight_HW[size[0] // 2, size[1] // 2]


def test_a_network_that_sees_one_pixel_gives_the_whole_images_labels():
    network, image_CHW = Convolving(side=1), pixels(150, 203)
    whole_HW = network(image_CHW[None])[0].argmax(dim=0)
    for tiling in TILINGS:
        assert torch.equal(tiled_labels(image_CHW, network, tiling).long(), whole_HW)


def test_a_network_that_sees_little_gives_the_whole_images_labels_away_from_the_seams():
    """9 pixels: only where all tiles of a pixel end within 4 of it could anything differ."""
    network, image_CHW = Convolving(side=9), pixels(150, 203)
    whole_HW = network(image_CHW[None])[0].argmax(dim=0)
    label_HW = tiled_labels(image_CHW, network, Tiling(64, 0.0)).long()
    near_H, near_W = (
        torch.tensor(
            [any(start > 0 and abs(p - start + 0.5) < 4 for start in starts) for p in range(n)]
        )
        for n, starts in ((150, [64, 86, 128]), (203, [64, 128, 139, 192]))
    )
    inner_HW = ~(near_H[:, None] | near_W)
    assert torch.equal(label_HW[inner_HW], whole_HW[inner_HW])
    assert not torch.equal(label_HW, whole_HW)


def test_constant_logits_give_a_constant_map():
    def network(pixels_BCHW):
        value_K = torch.tensor([0.1, 0.3, 0.3, 0.2])
        return value_K[None, :, None, None].expand(len(pixels_BCHW), 4, *pixels_BCHW.shape[2:])

    for tiling in TILINGS:
        assert (tiled_labels(pixels(150, 203), network, tiling) == 1).all()


def test_a_single_logit_is_compared_with_zero():
    def network(pixels_BCHW):
        return pixels_BCHW[:, :1]

    image_CHW = pixels(150, 203)
    label_HW = tiled_labels(image_CHW, network, Tiling(32, 0.25))
    assert torch.equal(label_HW.bool(), image_CHW[0] > 0)


def test_tiles_come_in_batches_of_their_own_size():
    network = Convolving()
    tiled_labels(pixels(40, 100), network, Tiling(32, 0.25, batch=3))
    assert network.calls == [(3, 3, 32, 32), (1, 3, 32, 32)] * 2
    network.calls.clear()
    tiled_labels(pixels(20, 100), network, Tiling(32, 0.25, batch=8))
    assert network.calls == [(4, 3, 20, 32)]


def test_half_logits_are_added_in_float32():
    """512 tiles of bfloat16 could not be added up in it without a trace."""
    network = Convolving(side=1)

    def half(pixels_BCHW):
        return network(pixels_BCHW).bfloat16()

    image_CHW = pixels(40, 70)
    label_HW = tiled_labels(image_CHW, half, Tiling(32, 0.9))
    chosen = half(image_CHW[None])[0].gather(0, label_HW.long()[None])
    assert torch.equal(chosen[0], half(image_CHW[None])[0].amax(dim=0))


def test_only_a_band_of_logits_is_held():
    """Of an image 16 tiles high: less than a quarter of its logits at any moment."""
    classes, side, tile = 8, 1024, 64

    def network(pixels_BCHW):
        return pixels_BCHW[:, :1].expand(-1, classes, -1, -1).contiguous()

    image_CHW = pixels(side, side)
    tiled_labels(image_CHW[:, :128, :128], network, Tiling(tile))
    with torch.profiler.profile(profile_memory=True) as profile:
        tiled_labels(image_CHW, network, Tiling(tile))
    held, most = 0, 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    assert 0 < most < classes * side * side * 4 / 4


def model(**options):
    torch.manual_seed(0)
    return segkit.build_model("unet(width=4, depth=2)", num_classes=3, **options).eval()


def test_images_no_larger_than_a_tile_are_computed_whole():
    image_HWC = np.random.default_rng(0).integers(0, 256, (50, 64, 3), dtype=np.uint8)
    network, device = model(), torch.device("cpu")
    (tiled_HW,) = Predictor(network, device, tiling=Tiling(64)).label_maps([image_HWC], 255)
    (whole_HW,) = Predictor(network, device).label_maps([image_HWC], 255)
    assert (tiled_HW == whole_HW).all()


def test_memory_that_does_not_suffice_proposes_tiles():
    class Small(nn.Module):
        record = model().record

        def normalize(self, pixels_BCHW, full_scale):
            return pixels_BCHW

        def labels(self, image_BCHW):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried ...")

        forward = labels

    images = [np.zeros((40, 60, 3), np.uint8)]
    with pytest.raises(
        OutOfMemory, match=r"an image of 40 x 60 pixels .height x width. does not fit"
    ) as caught:
        Predictor(Small(), torch.device("cpu")).label_maps(images, 255)
    assert "Use --tile 512" in str(caught.value)
    with pytest.raises(
        OutOfMemory, match=r"40 x 60 pixels .height x width. in tiles of 32 x 32"
    ) as caught:
        Predictor(Small(), torch.device("cpu"), tiling=Tiling(32)).label_maps(images, 255)
    assert "smaller tiles with --tile" in str(caught.value)


def test_other_faults_of_the_network_are_not_taken_for_memory():
    class Broken(nn.Module):
        record = model().record

        def normalize(self, pixels_BCHW, full_scale):
            return pixels_BCHW

        def labels(self, image_BCHW):
            raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        Predictor(Broken(), torch.device("cpu")).label_maps([np.zeros((4, 4, 3), np.uint8)], 255)


@pytest.fixture
def folder(tmp_path):
    """A model, and a data set of two images, one of them larger than a tile of 32."""
    segkit.save_model(model(), tmp_path / "run/model", classes=("a", "b", "c"))
    generator = np.random.default_rng(0)
    sizes = {"train/other": (40, 40), "val/one": (70, 50), "val/two": (20, 30)}
    for name, (height, width) in sizes.items():
        image_HWC = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
        mask_HW = generator.integers(0, 3, (height, width), dtype=np.uint8)
        for part, pixels_of in (("images", image_HWC), ("masks", mask_HW)):
            file = tmp_path / f"data/{part}/{name}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels_of).save(file)
    return tmp_path


def test_the_command_predicts_in_tiles(folder):
    arguments = [str(folder / "run"), str(folder / "data/images/val"), "--precision", "fp32"]
    out = ["--out", str(folder / "out"), "--tile", "32", "--overlap", "0.5", "--batch", "3"]
    CliRunner().invoke(predict_command, [*arguments, *out], catch_exceptions=False)
    image_HWC = np.asarray(Image.open(folder / "data/images/val/one.png"))
    tiling = Tiling(32, 0.5, 3)
    predictor = Predictor(segkit.load_model(folder / "run"), torch.device("cpu"), tiling=tiling)
    (expected_HW,) = predictor.label_maps([image_HWC], 255)
    with Image.open(folder / "out/masks/one.png") as mask:
        assert (np.asarray(mask) == expected_HW).all()


def test_the_command_refuses_images_beyond_max_pixels(folder):
    arguments = [str(folder / "run"), str(folder / "data/images/val"), "--max-pixels", "1000"]
    result = CliRunner().invoke(
        predict_command, [*arguments, "--out", str(folder / "out")], standalone_mode=False
    )
    assert result.return_value == 3
    assert "one.png is 70 x 50 (height x width), 3,500 pixels; 1,000 are allowed." in result.output
    assert (folder / "out/masks/two.png").is_file()


def scores(folder, *options):
    arguments = [str(folder / "run"), "--data", str(folder / "data"), "--json", *options]
    result = CliRunner().invoke(evaluate_command, arguments, catch_exceptions=False)
    return json.loads(result.stdout)


def test_an_evaluation_in_tiles_scores_the_tiled_labels(folder):
    found = scores(folder, "--metric", "miou", "--tile", "32", "--precision", "fp32")
    predictor = Predictor(
        segkit.load_model(folder / "run"), torch.device("cpu"), tiling=Tiling(32, 0.25)
    )
    metric = segkit.build_metric("miou", num_classes=3)
    for name in ("one", "two"):
        image_HWC = np.asarray(Image.open(folder / f"data/images/val/{name}.png"))
        mask_HW = np.asarray(Image.open(folder / f"data/masks/val/{name}.png"))
        (label_HW,) = predictor.label_maps([image_HWC], 255)
        metric.update(torch.from_numpy(label_HW)[None], torch.from_numpy(mask_HW.copy())[None])
    assert found["scores"]["miou"] == pytest.approx(metric.compute()["miou"])


def test_a_metric_that_takes_logits_refuses_tiles(folder):
    with pytest.raises(UsageError) as caught:
        scores(folder, "--metric", "miou,ece", "--tile", "32")
    assert str(caught.value) == (
        "SK-C007: of miou, ece one takes logits, and tiles give labels only.\n"
        "         Leave --tile out, or choose metrics of labels, such as miou."
    )


def test_tiles_of_a_stride_that_divides_them_are_the_networks_own(monkeypatch):
    """Each tile is padded by the network alone: nothing is added to images larger than a tile."""
    network = model()
    seen = []
    monkeypatch.setattr(
        network, "_pad", lambda x, pad=network._pad: (seen.append(tuple(x.shape[2:])), pad(x))[1]
    )
    image_HWC = np.zeros((70, 100, 3), np.uint8)
    Predictor(network, torch.device("cpu"), tiling=Tiling(32)).label_maps([image_HWC], 255)
    assert set(seen) == {(32, 32)}
