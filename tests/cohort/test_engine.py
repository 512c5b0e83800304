"""The engine: the same bits whatever the order, the backend and the interruptions; nothing lost, nothing twice."""

import random
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from functions import Drawn, cases

from regard.cohort import moments
from regard.cohort.backends import LocalWorkers, Result, ThisProcess
from regard.cohort.engine import Cohort, run_cases
from regard.cohort.part import Failed, Function, do_case
from regard.cohort.tree import Tree
from regard.core.errors import FileError, InputError
from regard.io.tables import Case

N = 45


class Shuffled:
    """Does the cases in an order of its own, and stops after some of them."""

    def __init__(self, seed: int, stop: int | None = None) -> None:
        self.seed, self.stop = seed, stop

    def run(self, function: Function, cases: Iterable[tuple[int, Case]]) -> Iterator[Result]:
        waiting = list(cases)
        random.Random(self.seed).shuffle(waiting)
        for n, (row, case) in enumerate(waiting):
            if n == self.stop:
                raise KeyboardInterrupt
            yield row, do_case(function, case)


def same(a: Cohort, b: Cohort) -> bool:
    """Whether two cohorts are equal to the bit."""
    assert a.rows == b.rows
    assert {k: v.error_type for k, v in a.failures.items()} == {k: v.error_type for k, v in b.failures.items()}
    assert set(a.state) == set(b.state)
    return all(a.state[k].tobytes() == b.state[k].tobytes() and a.state[k].dtype == b.state[k].dtype for k in a.state)


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return run_cases(Drawn(), cases(N), tmp_path_factory.mktemp("serial"), ThisProcess())


def test_moments_are_those_of_all_maps_at_once(serial: Cohort) -> None:
    parts = [Drawn().part(c) for c in cases(N)]
    maps = np.stack([moments.map_of(p.state, "map") for p in parts]).astype(np.float64)
    found = moments.moments_of(serial.state, "map")
    n = np.isfinite(maps).sum(0)
    assert (n < N).any()
    np.testing.assert_array_equal(found.n, n)
    np.testing.assert_allclose(found.mean, np.nanmean(maps, 0), rtol=1e-12)
    np.testing.assert_allclose(found.std, np.nanstd(maps, 0, ddof=1), rtol=1e-12)
    np.testing.assert_allclose(found.t, np.nanmean(maps, 0) / np.nanstd(maps, 0, ddof=1) * np.sqrt(n), rtol=1e-10)


def test_a_large_offset_costs_no_digits() -> None:
    maps = 1e6 + np.random.default_rng(0).normal(size=(64, 3, 1, 1)).astype(np.float64)
    state = moments.leaf({"map": maps[0]})
    for one in maps[1:]:
        state = moments.combine(state, moments.leaf({"map": one}))
    kept = maps.astype(np.float32).astype(np.float64)
    np.testing.assert_allclose(moments.moments_of(state, "map").std, kept.std(0, ddof=1), rtol=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_the_order_leaves_no_trace(serial: Cohort, tmp_path: Path, seed: int) -> None:
    assert same(run_cases(Drawn(), cases(N), tmp_path, Shuffled(seed)), serial)


@pytest.mark.parametrize("seed", range(4))
def test_interruptions_leave_no_trace(serial: Cohort, tmp_path: Path, seed: int) -> None:
    for stop in (3, 20, 1):
        with pytest.raises(KeyboardInterrupt):
            run_cases(Drawn(), cases(N), tmp_path, Shuffled(seed + stop, stop))
    settled = []
    found = run_cases(
        Drawn(), cases(N), tmp_path, Shuffled(seed), progress=lambda said, done, total: settled.append((done, total))
    )
    assert settled[0] == (25, N)  # 24 were kept
    assert settled[-1] == (N, N)
    assert same(found, serial)
    again = run_cases(Drawn(), cases(N), tmp_path, Shuffled(seed, 0))
    assert same(again, serial)


def test_a_bad_case_is_told_left_out_and_tried_again(serial: Cohort, tmp_path: Path) -> None:
    told: list[str] = []
    bad = Drawn(bad=("case-007", "case-030"))
    found = run_cases(
        bad,
        cases(N),
        tmp_path,
        Shuffled(1),
        on_failure=lambda case, error: told.append(f"{case.case}: {error.message}"),
    )
    assert sorted(told)[0] == "case-007: 'case-007' is truncated; expected a whole file; copy it again"
    assert set(found.failures) == {7, 30}
    assert found.failures[7] == Failed("FileError", "'case-007' is truncated; expected a whole file; copy it again")
    others = [
        moments.map_of(Drawn().part(c).state, "map").astype(np.float64) for c in cases(N) if c.case not in bad.bad
    ]
    np.testing.assert_allclose(moments.moments_of(found.state, "map").mean, np.nanmean(others, 0), rtol=1e-10)
    assert same(found, run_cases(bad, cases(N), tmp_path / "other", ThisProcess()))
    # The file was repaired: the same folder goes on, and is what it would have been.
    assert same(run_cases(Drawn(), cases(N), tmp_path, ThisProcess()), serial)


def test_states_in_memory_and_files_are_few(tmp_path: Path) -> None:
    most = 0
    tree = Tree(tmp_path, moments.combine)
    for row, case in enumerate(cases(200)):
        tree.add(row, Drawn().part(case).state)
        most = max(most, tree.n_in_memory)
        if row % 16 == 15:
            tree.flush()
            assert tree.n_in_memory == 0
            assert len(list(tmp_path.iterdir())) <= 5
    assert most <= 5


def test_what_a_killed_process_leaves_is_put_right(serial: Cohort, tmp_path: Path) -> None:
    """A node and the children it replaced, both on the disk; rows without a node."""
    with pytest.raises(KeyboardInterrupt):
        run_cases(Drawn(), cases(N), tmp_path, ThisProcessUntil(16))
    kept = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(KeyboardInterrupt):
        run_cases(Drawn(), cases(N), tmp_path, ThisProcessUntil(16))
    assert not set(kept) <= {p.name for p in tmp_path.iterdir()}
    for name, content in kept.items():
        (tmp_path / name).write_bytes(content)
    assert same(run_cases(Drawn(), cases(N), tmp_path, ThisProcess()), serial)


def test_a_corrupt_checkpoint_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_cases(Drawn(), cases(N), tmp_path, ThisProcessUntil(16))
    next(tmp_path.glob("node-*.npz")).write_bytes(b"cut off")
    with pytest.raises(FileError, match="checkpoint.*--overwrite"):
        run_cases(Drawn(), cases(N), tmp_path, ThisProcess())


class ThisProcessUntil:
    """The cases in their order, and Ctrl-C after some of them."""

    def __init__(self, stop: int) -> None:
        self.stop = stop

    def run(self, function: Function, cases: Iterable[tuple[int, Case]]) -> Iterator[Result]:
        for n, (row, case) in enumerate(cases):
            if n == self.stop:
                raise KeyboardInterrupt
            yield row, do_case(function, case)


def test_two_local_workers_equal_this_process_though_one_is_killed(serial: Cohort, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    function = Drawn(deadly=("case-005",), once=str(marks))
    assert same(run_cases(function, cases(N), tmp_path / "run", LocalWorkers(2)), serial)
    assert (marks / "case-005").exists()


@pytest.mark.slow
def test_a_case_that_ends_every_worker_fails_and_costs_no_other(tmp_path: Path) -> None:
    found = run_cases(Drawn(deadly=("case-001",)), cases(4), tmp_path, LocalWorkers(2))
    assert set(found.failures) == {1}
    assert found.failures[1].error_type == "WorkerDiedError"
    assert "2 times" in found.failures[1].message
    assert set(found.rows) == {0, 2, 3}


def test_no_worker_is_refused() -> None:
    with pytest.raises(InputError, match="0 workers"):
        LocalWorkers(0)
