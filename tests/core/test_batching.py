import pytest
import torch

from regard.core import batching
from regard.core.batching import auto_batch_size, run


def test_items_come_in_order_and_once() -> None:
    seen: list[int] = []
    run(lambda items: list(items), 10, lambda items, result: seen.extend(result), batch_size=4)
    assert seen == list(range(10))


def test_the_batch_is_halved_when_memory_runs_out_and_nothing_is_lost() -> None:
    sizes, seen = [], []

    def evaluate(items: range) -> list[int]:
        sizes.append(len(items))
        if len(items) > 2:
            raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate")
        return list(items)

    assert run(evaluate, 9, lambda items, result: seen.extend(result), batch_size=8) == 2
    assert sizes[:3] == [8, 4, 2]
    assert seen == list(range(9))


def test_one_item_that_does_not_fit_is_an_error() -> None:
    def evaluate(items: range) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        run(evaluate, 4, lambda items, result: None, batch_size=4)


def test_other_errors_are_not_taken_for_memory() -> None:
    calls = []

    def evaluate(items: range) -> None:
        calls.append(items)
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        run(evaluate, 4, lambda items, result: None, batch_size=4)
    assert calls == [range(4), range(1)]  # one alone is tried, and nothing is halved


def test_a_reduction_can_stop_the_loop() -> None:
    calls: list[range] = []
    run(lambda items: items, 100, lambda items, _: calls.append(items) or items.stop >= 6, batch_size=3)
    assert [c.stop for c in calls] == [3, 6]


def test_progress_reaches_the_end() -> None:
    heard = []
    with batching.reporting(lambda *said: heard.append(said)):
        run(lambda items: None, 5, lambda items, _: None, batch_size=2, label="windows")
    assert heard == [("windows", 2, 5), ("windows", 4, 5), ("windows", 5, 5)]
    run(lambda items: None, 5, lambda items, _: None, batch_size=2)
    assert len(heard) == 3


def test_auto_batch_falls_with_the_image() -> None:
    assert auto_batch_size(torch.zeros(1, 1, 8, 8), 1000) == 256
    assert auto_batch_size(torch.zeros(1, 1, 8, 8), 3) == 3
    assert auto_batch_size(torch.zeros(1, 1, 160, 192, 160), 1000) == 1
