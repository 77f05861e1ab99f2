"""A slide of 20,000 x 20,000 pixels with its objects: memory, labels and counts after kills."""

import csv
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
import torch
from torch import nn

import segkit
from segkit.inference.predictor import Predictor

BLOCK, PITCH, TIMES = 2000, 25, 10
SIDE = BLOCK * TIMES
# Writes down what the process takes before it predicts, and at its end the most it has taken, kB.
MEASURED = """
import sys
from pathlib import Path
from segkit.cli.main import segkit
from segkit.model.folder import load_model

def tell(what):
    lines = Path("/proc/self/status").read_text().splitlines()
    taken = next(line.split()[1] for line in lines if line.startswith(what))
    with open(sys.argv[1], "a") as told:
        print(taken, file=told)

model = load_model(sys.argv[3])
tell("VmRSS")
status = segkit.main(args=sys.argv[2:], standalone_mode=False)
tell("VmHWM")
sys.exit(status)
"""


@pytest.fixture(scope="module")
def block():
    """A square of cells that can be laid side by side, none of which touches another."""
    random = np.random.default_rng(0)
    image_HW = random.integers(20, 60, (BLOCK, BLOCK), dtype=np.uint8)
    for top in range(0, BLOCK, PITCH):
        for left in range(0, BLOCK, PITCH):
            y, x = PITCH // 2 + random.integers(-2, 3, 2)
            grey = int(random.integers(150, 220))
            cv2.circle(
                image_HW, (int(left + x), int(top + y)), int(random.integers(4, 9)), grey, -1
            )
    return image_HW


@pytest.fixture(scope="module")
def place(block, tmp_path_factory):
    folder = tmp_path_factory.mktemp("slide")
    torch.manual_seed(0)
    model = segkit.build_model("unet(width=4, depth=2)", num_classes=2, in_channels=1)
    image_BCHW = torch.from_numpy(block[:200, :200].copy())[None, None]
    truth_BHW = (image_BCHW[:, 0] > 100).long()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        logits_BKHW = model(model.normalize(image_BCHW))
        nn.functional.cross_entropy(logits_BKHW, truth_BHW).backward()
        optimizer.step()
    segkit.save_model(model.eval(), folder / "model", classes=("ground", "cell"))
    slide_HW = np.tile(block, (TIMES, TIMES))
    tifffile.imwrite(folder / "slide.tif", slide_HW, photometric="minisblack", tile=(256, 256))
    return folder


def command(place, out):
    """(the command, the file it writes its memory to)."""
    told = place / "taken"
    told.unlink(missing_ok=True)
    said = ["predict", place / "model", place / "slide.tif", "--out", place / out]
    said += ["--objects", "--precision", "fp32", "--resume"]
    return [sys.executable, "-c", MEASURED, *map(str, (told, *said))], told


def finished(place, out):
    """The most it takes above the idle process, bytes."""
    asked, told = command(place, out)
    assert subprocess.run(asked, stdout=subprocess.DEVNULL).returncode == 0
    idle, most = map(int, told.read_text().split())
    return (most - idle) * 1024


def killed(place, out, stands):
    """The same of a process that is killed where it stands so."""
    asked, told = command(place, out)
    running = subprocess.Popen(asked, stdout=subprocess.DEVNULL)
    while not stands():
        assert running.poll() is None, "it came to its end before it was killed"
        time.sleep(0.05)
    running.send_signal(signal.SIGSTOP)
    status = Path(f"/proc/{running.pid}/status").read_text().splitlines()
    most = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    running.send_signal(signal.SIGKILL)
    running.wait()
    return (most - int(told.read_text())) * 1024


def size_of(file):
    return file.stat().st_size if file.exists() else 0


@pytest.mark.slow
def test_20000_by_20000_pixels_survive_kills_and_their_objects_are_numbered_in_less_than_2_gb(
    place, block
):
    """Killed in the middle of the regions and while objects are written, it goes on; what it comes
    to are the whole image's labels and OpenCV's objects. Measured is every process."""
    in_regions = killed(
        place, "out", lambda: size_of(place / "out/masks/slide.tif.regions") > 6_000_000
    )
    in_objects = killed(place, "out", lambda: any((place / "out/objects").glob("slide.tif.tmp-*")))
    taken = [in_regions, in_objects, finished(place, "out")]
    sys.stdout.write(f"bytes above the idle process: {taken}\n")
    assert max(taken) < 2e9
    label_HW = tifffile.imread(place / "out/masks/slide.tif")
    assert label_HW.shape == (SIDE, SIDE)

    # In the middle of the slide, where blocks and regions meet, and at its end.
    predictor = Predictor(segkit.load_model(place / "model"), torch.device("cpu"), rewrites=False)
    for top, left in ((9000, 5000), (SIDE - 2000, SIDE - 2000)):
        rows, columns = np.arange(top, top + 2000) % BLOCK, np.arange(left, left + 2000) % BLOCK
        image_BCHW = torch.from_numpy(block[np.ix_(rows, columns)])[None, None]
        logits_KHW = predictor.logits(image_BCHW.float(), 255.0)[0].numpy()
        clear_HW = np.abs(logits_KHW[1] - logits_KHW[0]) > 1e-4
        # The part's own border is seen otherwise than in the slide.
        inner = slice(64, -64), slice(64, -64)
        found_HW = label_HW[top : top + 2000, left : left + 2000]
        assert (found_HW == logits_KHW.argmax(0))[inner][clear_HW[inner]].all()
        assert clear_HW.mean() > 0.99

    count, number_HW = cv2.connectedComponents(label_HW, connectivity=8)
    with (place / "out/objects.csv").open(newline="") as opened:
        areas = [int(row["area_pixels"]) for row in csv.DictReader(opened)]
    assert count - 1 == len(areas) > 600_000
    assert sorted(areas) == sorted(np.bincount(number_HW.ravel())[1:].tolist())
