"""Slides: read and written by region, they get the labels that the whole image gets."""

import json
import shutil
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

import segkit
from segkit.errors import DataError
from segkit.inference.files import PredictionSettings, predict_to_folder
from segkit.inference.output import Output
from segkit.inference.predictor import Predictor
from segkit.inference.slides import opening, tiff
from segkit.inference.slides.given import given_regions
from segkit.inference.slides.opening import open_regions
from segkit.inference.slides.regions import Cut
from segkit.inference.sources import find_sources

HEIGHT, WIDTH = 300, 421
# The network of these tests looks 22 pixels far; the margin is 48.
TILE, OVERLAP = 192, 0.5


@pytest.fixture(scope="module")
def picture():
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (30, 42, 3), dtype=np.uint8)
    smooth = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth + random.normal(0, 20, smooth.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def network(picture):
    """A network whose three classes all occur."""
    torch.manual_seed(0)
    model = segkit.build_model("unet(width=4, depth=3)", num_classes=3).eval()
    with torch.no_grad():
        image_BCHW = torch.from_numpy(picture).permute(2, 0, 1)[None]
        logits_BKHW = model(model.normalize(image_BCHW))
        model.head.bias -= logits_BKHW.flatten(2).median(dim=2).values[0]
    return model


@pytest.fixture
def place(network, tmp_path):
    segkit.save_model(network, tmp_path / "model", classes=("ground", "cell", "gap"))
    return tmp_path


def whole_and_clear(network, image_HWC, full_scale=255.0):
    """The whole image's labels, and where the two best logits differ by more than rounding."""
    predictor = Predictor(network, torch.device("cpu"), rewrites=False)
    image_BCHW = torch.from_numpy(np.ascontiguousarray(image_HWC.transpose(2, 0, 1)))[None]
    best_KHW = predictor.logits(image_BCHW.float(), full_scale)[0].topk(2, dim=0)
    return best_KHW.indices[0].numpy(), (best_KHW.values[0] - best_KHW.values[1] > 1e-4).numpy()


def predict(place, image, out="out", tile=TILE, **options):
    asked = PredictionSettings(
        str(place / "model"),
        precision="fp32",
        tile=tile,
        overlap=OVERLAP,
        level=options.pop("level", 0),
        intensity=options.pop("intensity", None),
    )
    return predict_to_folder(asked, [image], Output(place / out, **options))


def write_pyramid(file, image_HWC, levels=2, *, below=True, ome=False, **options):
    options = {"photometric": "rgb", "tile": (64, 64), "compression": "zlib", **options}
    with tifffile.TiffWriter(file, ome=ome) as writer:
        writer.write(image_HWC, **options, **({"subifds": levels} if below else {}))
        options.pop("metadata", None)
        for level in range(1, levels + 1):
            smaller = np.ascontiguousarray(image_HWC[:: 2**level, :: 2**level])
            writer.write(smaller, subfiletype=1, **options)
    return file


MICRONS = {"PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "\u00b5m"}
MICRONS |= {"PhysicalSizeY": 0.25, "PhysicalSizeYUnit": "\u00b5m", "axes": "YXS"}


@pytest.mark.parametrize("kind", ["pyramid", "cog", "ome", "strips", "plain strips", "planes"])
def test_every_way_to_store_a_tiff_gives_the_whole_images_labels(
    place, network, picture, kind, monkeypatch
):
    file = place / "slide.tif"
    if kind == "pyramid":
        write_pyramid(file, picture, predictor=True)
    elif kind == "cog":
        write_pyramid(file, picture, below=False, tile=(128, 64))
    elif kind == "ome":
        write_pyramid(file, picture, ome=True, metadata=MICRONS)
    else:
        monkeypatch.setattr(opening, "LARGE", 1000)
        options = {"strips": {"rowsperstrip": 7, "compression": "lzw"}}.get(kind, {})
        if kind == "planes":
            options = {"planarconfig": "separate", "tile": (32, 48), "compression": "zlib"}
        stored = picture.transpose(2, 0, 1) if kind == "planes" else picture
        tifffile.imwrite(file, stored, photometric="rgb", **options)
    report = predict(place, file)
    label_HW, clear_HW = whole_and_clear(network, picture)
    found_HW = tifffile.imread(place / "out" / report.images[0].mask)
    assert (found_HW == label_HW)[clear_HW].all()
    assert clear_HW.mean() > 0.99
    assert np.bincount(found_HW.ravel()).min() > 1000
    shares = np.bincount(found_HW.ravel()) / found_HW.size
    assert list(report.images[0].shares.values()) == pytest.approx(shares, abs=1e-6)
    spaced = kind == "ome"
    assert report.images[0].pixel_size == ([0.25, 0.5] if spaced else None)
    with tifffile.TiffFile(place / "out" / report.images[0].mask) as mask:
        assert ("PhysicalSizeX" in mask.ome_metadata) is spaced
        assert mask.pages[0].is_tiled
        assert mask.pages[0].compression.name == "ADOBE_DEFLATE"
    assert Image.open(place / "out/overlays/slide.png").width >= WIDTH
    assert not list((place / "out").rglob("*.regions"))


def test_a_margin_less_than_the_network_sees_would_be_noticed(place, network, picture):
    file = write_pyramid(place / "slide.tif", picture)
    asked = PredictionSettings(str(place / "model"), precision="fp32", tile=64, overlap=0.0)
    predict_to_folder(asked, [file], Output(place / "out"))
    label_HW, clear_HW = whole_and_clear(network, picture)
    assert (tifffile.imread(place / "out/masks/slide.tif") != label_HW)[clear_HW].any()


@pytest.mark.parametrize("version", [2, 3])
def test_an_ome_zarr_gets_an_ome_zarr_of_its_own_version(place, network, picture, version):
    zarr = pytest.importorskip("zarr")
    write_zarr(zarr, place / "in/slide.ome.zarr", picture, version)
    report = predict(place, place / "in")
    folder = place / "out" / report.images[0].mask
    label_HW, clear_HW = whole_and_clear(network, picture)
    found_HW = zarr.open_array(folder / "0", mode="r")[:]
    assert (found_HW == label_HW)[clear_HW].all()
    assert zarr.open_group(folder, mode="r").metadata.zarr_format == version
    assert report.images[0].pixel_size == [0.25, 0.5]
    # What was written is read again as an image, with its spacing.
    again = open_regions(folder)
    assert (again.shape, again.spacing.unit) == ((HEIGHT, WIDTH, 1), "\u00b5m")


def write_zarr(zarr, folder, image_HWC, version):
    group = zarr.open_group(folder, mode="w", zarr_format=version)
    stored = group.create_array(
        "0", shape=(3, *image_HWC.shape[:2]), dtype=image_HWC.dtype, chunks=(1, 90, 100)
    )
    stored[:] = image_HWC.transpose(2, 0, 1)
    axes = [{"name": n, "type": "space", "unit": "micrometer"} for n in "yx"]
    scale = [{"type": "scale", "scale": [1, 0.25, 0.5]}]
    multiscale = {
        "axes": [{"name": "c", "type": "channel"}, *axes],
        "datasets": [{"path": "0", "coordinateTransformations": scale}],
    }
    said = {"multiscales": [multiscale]}
    group.attrs.update({"ome": {"version": "0.5", **said}} if version == 3 else said)
    return folder


def test_a_plate_is_the_images_of_its_wells(picture, tmp_path):
    zarr = pytest.importorskip("zarr")
    plate = zarr.open_group(tmp_path / "p.zarr", mode="w", zarr_format=2)
    plate.attrs["plate"] = {"wells": [{"path": "A/1"}, {"path": "B/2"}]}
    for well in ("A/1", "B/2"):
        made = plate.create_group(well)
        made.attrs["well"] = {"images": [{"path": "0"}]}
        write_zarr(zarr, tmp_path / "p.zarr" / well / "0", picture[:8, :9], 2)
    names = [source.name for source in find_sources([tmp_path])]
    assert names == ["p.zarr/A/1/0", "p.zarr/B/2/0"]


@pytest.mark.parametrize("codec", ["pickle", "/etc"])
def test_a_store_that_unpickles_or_leads_out_is_not_opened(picture, tmp_path, codec):
    zarr = pytest.importorskip("zarr")
    folder = write_zarr(zarr, tmp_path / "bad.zarr", picture, 2)
    if codec == "pickle":
        said = json.loads((folder / "0/.zarray").read_text())
        (folder / "0/.zarray").write_text(json.dumps({**said, "filters": [{"id": codec}]}))
        match = "holds pickle, which segkit does not open"
    else:
        text = (folder / ".zattrs").read_text()
        (folder / ".zattrs").write_text(text.replace('"path": "0"', '"path": "../../x"'))
        match = "which leads out of it"
    with pytest.raises(DataError, match=match) as caught:
        open_regions(folder)
    assert caught.value.code == "SK-D045"


def test_a_level_of_the_pyramid_is_predicted_at_its_own_size_and_spacing(place, network, picture):
    file = write_pyramid(place / "slide.ome.tif", picture, ome=True, metadata=MICRONS)
    report = predict(place, file, level=1)
    label_HW, clear_HW = whole_and_clear(network, picture[::2, ::2])
    assert (tifffile.imread(place / "out/masks/slide.ome.tif") == label_HW)[clear_HW].all()
    assert report.images[0].pixel_size == pytest.approx([0.5, 1.0], rel=0.01)
    (failed,) = predict(place, file, "other", level=7).failed
    assert "has no level 7; it has 0: 300 x 421, 1: 150 x 211" in failed.what
    Image.fromarray(picture).save(place / "plain.png")
    (failed,) = predict(place, place / "plain.png", "plain", level=1).failed
    assert "plain.png is no pyramid" in failed.what


@pytest.mark.parametrize("scaling", ["per-image", "fixed(100, 900)"])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.int16])
def test_black_and_white_are_the_whole_images(place, picture, dtype, scaling):
    """As reading the file whole has it, bit for bit, whatever the part's own values."""
    from segkit.data.files.images import read_image
    from segkit.inference.reading import as_trained, asked_intensity

    deep = (picture.astype(np.float32) * 3 + 100).astype(dtype)
    tifffile.imwrite(place / "deep.tif", deep, photometric="rgb", tile=(64, 64))
    record, intensity = segkit.load_model(place / "model").record, asked_intensity(scaling)
    whole = as_trained(record, intensity)(read_image(place / "deep.tif"), "deep.tif")
    from segkit.data.files.reading import PLAIN

    reader = open_regions(place / "deep.tif")
    given = given_regions(reader, place / "deep.tif", record, PLAIN, intensity)
    part = given.part(slice(100, 200), slice(30, 90))
    assert part.full_scale == whole.full_scale
    assert np.array_equal(part.pixels, whole.pixels[100:200, 30:90])


def test_regions_cover_each_pixel_once_and_begin_at_multiples_of_the_stride():
    for height, width, tile, overlap, stride in [
        (300, 421, 192, 0.5, 16),
        (31, 2000, 64, 0.25, 32),
        (33, 33, 16, 0.9, 32),
        (1, 1, 1024, 0.25, 32),
        (2048, 1024, 512, 0.0, 16),
    ]:
        cut = Cut(height, width, tile, overlap, stride)
        covered_HW = np.zeros((height, width), int)
        regions = [region for band in cut.bands() for region in band]
        for region in regions:
            covered_HW[region.rows, region.columns] += 1
            assert region.top % stride == region.left % stride == 0
            for end, length in ((region.bottom, height), (region.right, width)):
                assert end == length or end % stride == 0
        assert (covered_HW == 1).all()
        assert [region.number for region in regions] == list(range(cut.count))


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_killed_in_the_middle_and_continued_the_files_are_equal(place, picture):
    file = write_pyramid(place / "slide.ome.tif", picture, ome=True, metadata=MICRONS)
    predict(place, file, "whole", tile=128)
    asked = PredictionSettings(str(place / "model"), precision="fp32", tile=128, overlap=OVERLAP)

    class Killed(BaseException):
        pass

    done = []

    def die(name, regions_done, regions):
        done.append(regions_done)
        if len(done) in (3, 9):
            raise Killed

    for _ in range(2):
        with pytest.raises(Killed):
            output = Output(place / "parts", resume=True)
            predict_to_folder(asked, [file], output, on_region=die)
    # The second kill was in the middle of writing a region.
    kept = place / "parts/masks/slide.ome.tif.regions"
    kept.write_bytes(kept.read_bytes()[:-5])
    predict_to_folder(asked, [file], Output(place / "parts", resume=True), on_region=die)
    assert done[:4] == [1, 2, 3, 4]
    assert done[9] == 9
    assert contents(place / "parts") == contents(place / "whole")


@pytest.mark.integration
def test_a_killed_command_goes_on(place, picture):
    file = write_pyramid(place / "slide.tif", np.tile(picture, (2, 2, 1)))
    command = [sys.executable, "-m", "segkit", "predict", place / "model", file, "--tile", "96"]
    command += ["--precision", "fp32", "--objects", "--resume", "--out"]
    subprocess.run([*command, place / "whole"], check=True, capture_output=True)
    running = subprocess.Popen([*command, place / "parts"], stdout=subprocess.DEVNULL)
    kept = place / "parts/masks/slide.tif.regions"
    while not kept.exists() or kept.stat().st_size < 4_000:
        assert running.poll() is None
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.wait()
    size = kept.stat().st_size
    assert size >= 4_000
    subprocess.run([*command, place / "parts"], check=True, capture_output=True)
    assert contents(place / "parts") == contents(place / "whole")


def test_a_changed_slide_is_begun_again(place, picture):
    file = write_pyramid(place / "slide.tif", picture)

    def die(name, done, regions):
        raise KeyboardInterrupt

    asked = PredictionSettings(str(place / "model"), precision="fp32", tile=TILE, overlap=OVERLAP)
    with pytest.raises(KeyboardInterrupt):
        predict_to_folder(asked, [file], Output(place / "out", resume=True), on_region=die)
    write_pyramid(file, picture[::-1].copy())
    counted = []
    predict_to_folder(
        asked,
        [file],
        Output(place / "out", resume=True),
        on_region=lambda name, done, regions: counted.append(done),
    )
    assert counted[0] == 1


def test_a_damaged_tile_fails_its_slide_and_the_others_go_on(place, picture):
    (place / "in").mkdir()
    write_pyramid(place / "in/good.tif", picture)
    bad = write_pyramid(place / "in/bad.tif", picture)
    with tifffile.TiffFile(bad) as opened:
        offset = opened.pages[0].dataoffsets[12]
    content = bytearray(bad.read_bytes())
    content[offset : offset + 40] = b"x" * 40
    bad.write_bytes(content)
    report = predict(place, place / "in")
    (failed,) = report.failed
    assert failed.code == "SK-D004"
    assert "bad.tif is damaged in rows" in failed.what
    assert [image.mask for image in report.images] == ["masks/good.tif"]


def test_what_cannot_be_read_by_region_is_said(place, picture, monkeypatch):
    monkeypatch.setattr(opening, "LARGE", 1000)
    monkeypatch.setattr(tiff, "LARGEST_SEGMENT", 10_000)
    one_strip = {"rowsperstrip": HEIGHT, "compression": "zlib", "photometric": "rgb"}
    tifffile.imwrite(place / "strip.tif", picture, **one_strip)
    (failed,) = predict(place, place / "strip.tif").failed
    assert failed.code == "SK-D045"
    assert "is compressed in strips of 300 x 421 pixels" in failed.what
    stack = np.zeros((3, 40, 40), np.uint8)
    tifffile.imwrite(place / "stack.tif", stack, photometric="minisblack", metadata={"axes": "ZYX"})
    (failed,) = predict(place, place / "stack.tif", "stack").failed
    assert failed.code == "SK-D015"


def test_a_plugin_can_read_another_format(place, network, picture, monkeypatch):
    from importlib import metadata

    np.save(place / "slide.mine.npy", picture)
    shutil.move(place / "slide.mine.npy", place / "slide.mine")
    point = metadata.EntryPoint("mine", f"{__name__}:MyRegions", opening.GROUP)
    monkeypatch.setattr(metadata, "entry_points", lambda group: [point])
    monkeypatch.setattr(metadata.EntryPoint, "load", lambda self: MyRegions)
    report = predict(place, place / "slide.mine")
    label_HW, clear_HW = whole_and_clear(network, picture)
    found_HW = tifffile.imread(place / "out" / report.images[0].mask)
    assert (found_HW == label_HW)[clear_HW].all()
    monkeypatch.setenv("SEGKIT_DISABLE", "*")
    assert opening._plugins() == {}


class MyRegions:
    alpha = False

    def __init__(self, path, level):
        with path.open("rb") as opened:
            self.image = np.lib.format.read_array(opened)
        self.shape, self.dtype, self.spacing = self.image.shape, self.image.dtype, None
        self.levels = (self.shape[:2],)

    def read(self, rows, columns):
        return self.image[rows, columns]

    def close(self):
        pass
