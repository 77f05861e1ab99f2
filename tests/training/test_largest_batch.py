"""`--batch auto`: the most images that fit, found before the training, said and written down."""

import pytest

from segkit.config import read_config
from segkit.device import forget_peak, memory_in_use, memory_to_be_had
from segkit.errors import OutOfMemory
from segkit.training.monitoring.events import Silence
from segkit.training.rehearsal import largest_batch
from segkit.training.rehearsal.largest_batch import largest
from segkit.training.training import train

MIB = 2**20


@pytest.mark.parametrize("most", [1, 2, 7, 100, 5000])
@pytest.mark.parametrize("limit", [0, 1, 2, 3, 5, 31, 64, 77, 4999])
def test_the_largest_number_is_found_to_a_sixteenth_in_few_tries(most, limit):
    tried = []

    def fits(number):
        tried.append(number)
        return number <= limit

    found, best = largest(fits, most), min(limit, most)
    assert found <= best
    assert best - found <= max(1, best // 16) or best < min(2, most)
    assert len(tried) <= 20


class Decisions(Silence):
    def __init__(self):
        self.lines = {}

    def decided(self, lines):
        self.lines |= dict(lines)


@pytest.mark.integration
def test_the_batch_found_is_said_written_and_fits(settings, tmp_path, monkeypatch, alone):
    """A step with it stays within the limit, which one with twice as many images would not."""
    forget_peak(alone.device)
    limit = memory_in_use(alone.device) + 300 * MIB
    monkeypatch.setattr(largest_batch, "SHARE", 1.0)
    monkeypatch.setattr(largest_batch, "memory_to_be_had", lambda device, processes: limit)
    watch = Decisions()
    changes = {"batch": "auto", "epochs": 1, "samples": 0, "size": 128}
    train(settings(encoder="unet(depth=3, width=24)", **changes), watch)
    batch = read_config(tmp_path / "run" / "config.yaml").batch
    assert isinstance(batch, int)
    assert 2 <= batch < 12
    assert watch.lines["batch"].startswith(f"{batch}, the largest that fits: ")
    assert f"batch {batch}, crops of 128 x 128" in watch.lines["training"]


def test_where_not_even_two_images_fit_it_says_so_before_a_folder_is_made(
    settings, tmp_path, monkeypatch
):
    monkeypatch.setattr(largest_batch, "memory_to_be_had", lambda device, processes: MIB)
    with pytest.raises(OutOfMemory, match="not even a batch of 2 crops of 16 x 16") as caught:
        train(settings(batch="auto"))
    assert "Use a smaller --size" in caught.value.fix
    assert not (tmp_path / "run").exists()


def test_no_more_images_than_there_are_and_whole_parts(settings, tmp_path):
    train(settings(batch="auto", accumulate=3, epochs=1, samples=0))
    assert read_config(tmp_path / "run" / "config.yaml").batch == 12


def test_the_memory_to_be_had_is_less_than_the_machine_holds(alone):
    import os

    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < memory_to_be_had(alone.device) <= whole
    assert memory_to_be_had(alone.device, 4) < memory_to_be_had(alone.device)
