"""Images side by side: the same labels, the caller's modes, and torch's threads as they were."""

import pytest
import torch
from torch import Tensor

import segkit
from segkit.model.streams import in_threads, shared_out, streams_of


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_parts_are_in_order_and_as_equal_as_can_be():
    assert shared_out(list(range(7)), 3) == [[0, 1], [2, 3, 4], [5, 6]]
    assert shared_out([1, 2], 8) == [[1], [2]]
    assert shared_out([], 2) == [[]]


def test_labels_of_a_batch_are_those_of_its_images_one_by_one():
    model = segkit.build_model("unet(width=8)", num_classes=5).eval()
    image_BCHW = torch.randn(5, 3, 37, 50, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        alone = [model(each[None]).argmax(dim=1) for each in image_BCHW]
        assert torch.equal(model.labels(image_BCHW).long(), torch.cat(alone))


def test_a_model_in_training_counts_its_batch_once():
    model = segkit.build_model("unet(width=8)", num_classes=5).train()
    model.labels(torch.randn(4, 3, 32, 32))
    counters = [b for n, b in model.named_buffers() if n.endswith("num_batches_tracked")]
    assert counters
    assert all(counter == 1 for counter in counters)


def test_each_part_computes_in_one_thread_and_in_the_modes_of_the_caller():
    def seen(part: Tensor) -> tuple[int, bool, bool, torch.dtype]:
        product = part @ part
        return (
            torch.get_num_threads(),
            torch.is_inference_mode_enabled(),
            torch.is_grad_enabled(),
            product.dtype,
        )

    halves = shared_out(torch.ones(2, 3, 3), 2)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert in_threads(seen, halves) == [(1, True, False, torch.bfloat16)] * 2
    assert in_threads(seen, halves) == [(1, False, False, torch.float32)] * 2


def test_torch_has_as_many_threads_afterwards_as_before():
    in_threads(lambda part: part, [1, 2])
    assert torch.get_num_threads() == 2
    assert streams_of(torch.device("cpu")) == 2
    assert streams_of(torch.device("meta")) == 1


def test_an_error_of_a_part_reaches_the_caller():
    def fails(part: int) -> int:
        if part == 2:
            raise MemoryError("too much")
        return part

    with pytest.raises(MemoryError, match="too much"):
        in_threads(fails, [1, 2])
