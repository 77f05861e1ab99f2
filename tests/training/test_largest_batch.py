"""`--batch auto`: the most images that fit, found before the training, said and written down."""

import pytest

from segkit.config import read_config
from segkit.device import memory_to_be_had
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


def test_the_batch_found_is_said_and_written(settings, tmp_path, monkeypatch):
    """Steps and scores are real; that each image takes 10 MiB besides 50 is not."""
    seen, repeated = [0], largest_batch._repeated

    def counting(batch, images):
        seen.append(images)
        return repeated(batch, images)

    monkeypatch.setattr(largest_batch, "_repeated", counting)
    monkeypatch.setattr(largest_batch, "memory_in_use", lambda _: (50 + 10 * seen[-1]) * MIB)
    monkeypatch.setattr(largest_batch, "memory_to_be_had", lambda *_: 125 * MIB)
    monkeypatch.setattr(largest_batch, "SHARE", 1.0)
    watch = Decisions()
    train(settings(batch="auto", epochs=1, samples=0), watch)
    assert read_config(tmp_path / "run" / "config.yaml").batch == 7
    assert watch.lines["batch"].startswith("7, the largest that fits: 0.12 GiB of 0.12 in a step")
    assert "batch 7, crops of" in watch.lines["training"]


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
