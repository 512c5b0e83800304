"""Dask, and the bad day: SIGKILL at five moments, a poisoned file, a killed worker, and still the same bits."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from functions import Drawn, cases
from test_engine import same

from regard.cohort.backends import DaskWorkers, LocalWorkers, ThisProcess
from regard.cohort.engine import run_cases
from regard.core.errors import InputError

N = 40


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """Address of a Dask scheduler with two worker processes of one thread."""
    distributed = pytest.importorskip("distributed", reason="Dask is the extra 'scale'")
    before = os.environ.get("PYTHONPATH")
    # Its workers must find the functions of these tests, as workers of a cluster find Regard.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path(__file__).parent), before]))
    try:
        with distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
        ) as cluster:
            yield cluster.scheduler_address
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


@pytest.mark.slow
def test_two_dask_workers_equal_this_process(scheduler: str, tmp_path: Path) -> None:
    function = Drawn(bad=("case-003",))
    serial = run_cases(function, cases(N), tmp_path / "serial", ThisProcess())
    assert set(serial.failures) == {3}
    assert same(run_cases(function, cases(N), tmp_path / "dask", DaskWorkers(scheduler)), serial)
    marks = tmp_path / "marks"
    marks.mkdir()
    deadly = Drawn(bad=("case-003",), deadly=("case-007",), once=str(marks))
    assert same(run_cases(deadly, cases(N), tmp_path / "killed", DaskWorkers(scheduler)), serial)
    assert (marks / "case-007").exists()


@pytest.mark.slow
def test_a_scheduler_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no Dask scheduler at 'tcp://127.0.0.1:9'"):
        run_cases(Drawn(), cases(2), tmp_path, DaskWorkers("tcp://127.0.0.1:9"))


RUN = """
import sys
from pathlib import Path
from functions import Drawn, cases
from regard.cohort.backends import LocalWorkers
from regard.cohort.engine import run_cases

if __name__ == "__main__":
    function = Drawn(bad=("case-111",), deadly=("case-017",), once=sys.argv[2], seconds=0.02)
    run_cases(function, cases(220), Path(sys.argv[1]), LocalWorkers(2))
"""


@pytest.mark.slow
def test_killed_five_times_with_a_poisoned_file_and_a_dead_worker_it_equals_the_serial_run(tmp_path: Path) -> None:
    """220 cases; the whole process gets SIGKILL at five moments that chance chose."""
    (tmp_path / "marks").mkdir()
    script = tmp_path / "script.py"
    script.write_text(RUN)
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    arguments = [sys.executable, str(script), str(tmp_path / "run"), str(tmp_path / "marks")]
    chance, killed = random.Random(0), 0
    for _ in range(5):
        process = subprocess.Popen(arguments, env={**os.environ, "PYTHONPATH": path})
        before, rows = time.monotonic(), _rows(tmp_path / "run")
        # Once something new is on the disk, so that every life does some of the work.
        while _rows(tmp_path / "run") == rows and process.poll() is None and time.monotonic() - before < 40:
            time.sleep(0.01)
        time.sleep(chance.random() * 0.3)
        killed += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert killed == 5
    function = Drawn(bad=("case-111",))
    assert 0 < _rows(tmp_path / "run") < 14
    found = run_cases(function, cases(220), tmp_path / "run", LocalWorkers(2))
    assert (tmp_path / "marks" / "case-017").exists()
    assert set(found.failures) == {111}
    assert same(found, run_cases(function, cases(220), tmp_path / "serial", ThisProcess()))


def _rows(folder: Path) -> int:
    return len(list(folder.glob("rows-*.json")))


MEMORY = """
import resource, sys
from pathlib import Path
from functions import Drawn, cases
from regard.cohort.backends import ThisProcess
from regard.cohort.engine import run_cases

run_cases(Drawn(shape=(40, 40, 30)), cases(int(sys.argv[2])), Path(sys.argv[1]), ThisProcess())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_cases(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(MEMORY)
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    peak = {}
    for n in (60, 600):
        done = subprocess.run(
            [sys.executable, str(script), str(tmp_path / str(n)), str(n)],
            env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        peak[n] = int(done.stdout)
    assert peak[600] <= 1.1 * peak[60], peak
