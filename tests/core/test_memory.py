"""What the process keeps of the memory that it has freed, and how it tells what it held at most."""

import os
import subprocess
import sys

import pytest
import torch

from regard.core.batching import auto_batch_size
from regard.core.memory import KEEP, peak_mib

_FAULTS = """
import resource, sys
import torch
from regard.core.memory import keep_freed
kept = keep_freed() if sys.argv[1] == "keep" else False
torch.set_num_threads(1)
for _ in range(8):
    torch.ones(2**24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(2**24)
print(int(kept), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str, **environment: str) -> tuple[bool, int]:
    """Whether memory is kept in a fresh process, and the pages that ten blocks of 64 MiB cost there."""
    known = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")} | environment
    done = subprocess.run([sys.executable, "-c", _FAULTS, how], capture_output=True, text=True, check=True, env=known)
    kept, n = done.stdout.split()
    return kept == "1", int(n)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_kept_memory_costs_no_new_pages() -> None:
    kept, few = faults("keep")
    if not kept:
        pytest.skip(reason="the C library here has no mallopt, so that nothing is kept")
    _, many = faults("leave")
    # 64 MiB are 16,384 pages of 4 KiB, or 32 of 2 MiB where the system gives large ones.
    assert few * 10 < many


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
@pytest.mark.parametrize("environment", [{KEEP: "0"}, {"MALLOC_ARENA_MAX": "2"}])
def test_what_the_user_has_set_stays(environment: dict[str, str]) -> None:
    assert not faults("keep", **environment)[0]


def test_it_is_the_command_line_that_keeps_and_it_can_be_told_not_to(monkeypatch: pytest.MonkeyPatch) -> None:
    import regard.core.memory
    from regard.cli import main

    called = []
    monkeypatch.setattr(regard.core.memory, "keep_freed", lambda: called.append(True))
    assert main(["methods"]) == 0
    assert called == [True]
    assert main(["--give-memory-back", "methods"]) == 0
    assert called == [True]


def test_the_peak_is_at_least_what_is_held_now() -> None:
    block = torch.ones(2**24)
    assert peak_mib() > block.numel() * 4 / 2**20


def test_volumes_go_in_pairs_on_a_processor_and_pictures_as_many_as_are_cheap() -> None:
    volume, picture = torch.zeros(1, 1, 64, 64, 64), torch.zeros(1, 1, 64, 64)
    assert auto_batch_size(volume, 10) == 2
    assert auto_batch_size(volume, 10, backward=True) == 2
    assert auto_batch_size(volume, 1) == 1
    assert auto_batch_size(torch.zeros(1, 1, 160, 160, 160), 10) == 1
    assert auto_batch_size(picture, 1000) == 128
    assert auto_batch_size(picture, 1000, backward=True) == 32
