"""Where the cases are done: in this process, in processes of this machine, or on a Dask cluster.

A backend takes (row, case) pairs one by one, never more than it can work on, and gives (row, result) pairs in whatever
order they come. What a result holds does not depend on the backend.
"""

import multiprocessing
import os
import secrets
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol, TypeAlias

from regard.cohort.part import Failed, Function, Part, do_case, failed
from regard.core.errors import InputError, RegardError, RunStoppedError
from regard.core.optional import need
from regard.io.tables import Case

__all__ = ["Backend", "DaskWorkers", "LocalWorkers", "Result", "ThisProcess"]

Result: TypeAlias = tuple[int, Part | Failed]

_TRIES = 2


class WorkerDiedError(RegardError):
    """A process ended while it did a case, and so did the next one that tried."""


class Backend(Protocol):
    """Does cases somewhere."""

    def run(self, function: Function, cases: Iterable[tuple[int, Case]]) -> Iterator[Result]:
        """Give the result of each case as it comes; closing the iterator stops the work."""
        ...


@dataclass(frozen=True)
class ThisProcess:
    """One case after the other, here.

    Parameters
    ----------
    threads
        CPU threads of each case.
    """

    threads: int = 1

    def run(self, function: Function, cases: Iterable[tuple[int, Case]]) -> Iterator[Result]:
        for row, case in cases:
            yield row, do_case(function, case, self.threads)


@contextmanager
def _threads_of_children(n: int) -> Iterator[None]:
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, str(n)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _serve(connection: Connection, function: Function, threads: int) -> None:
    """Do what comes through the connection, until its other end is closed."""
    # Ctrl-C reaches every process of a terminal: the first one decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            row, case = connection.recv()
            connection.send((row, do_case(function, case, threads)))


class _Worker:
    def __init__(self, function: Function, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, function, threads), daemon=True)
        with _threads_of_children(threads):
            self.process.start()
        theirs.close()
        self.item: tuple[int, Case] | None = None
        self.tries = 0

    def give(self, item: tuple[int, Case], tries: int) -> None:
        self.item, self.tries = item, tries
        # A process that died meanwhile is found by its end of the connection.
        with suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send(item)

    def stop(self) -> None:
        self.connection.close()
        if self.item is not None:
            self.process.kill()
        self.process.join(timeout=5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


@dataclass(frozen=True)
class LocalWorkers:
    """Processes of this machine, which know nothing of each other.

    A process that dies costs the time of its case: the case is tried once more in a new process, and then fails.

    Parameters
    ----------
    n
        Number of processes.
    threads
        CPU threads of each.

    Raises
    ------
    InputError
        If there is not at least one.
    """

    n: int
    threads: int = 1

    def __post_init__(self) -> None:
        if self.n < 1:
            raise InputError(f"{self.n} workers", "at least one")

    def run(self, function: Function, cases: Iterable[tuple[int, Case]]) -> Iterator[Result]:
        waiting = iter(cases)
        workers: list[_Worker] = []
        try:
            for _ in range(self.n):
                item = next(waiting, None)
                if item is None:
                    break
                workers.append(_Worker(function, self.threads))
                workers[-1].give(item, 1)
            while any(w.item is not None for w in workers):
                ready = wait([w.connection for w in workers if w.item is not None])
                for worker in [w for w in workers if w.connection in ready]:
                    yield from self._receive(worker, workers, function)
                    fresh = worker if worker in workers else workers[-1]
                    if fresh.item is None and (item := next(waiting, None)) is not None:
                        fresh.give(item, 1)
        finally:
            for worker in workers:
                worker.stop()

    def _receive(self, worker: _Worker, workers: list[_Worker], function: Function) -> Iterator[Result]:
        """Take a worker's result, or put another in its place when it has died."""
        item, tries = worker.item, worker.tries
        if item is None:
            return
        try:
            result: Result = worker.connection.recv()
        except (EOFError, ConnectionResetError, OSError):
            worker.process.join(timeout=5)
            code = worker.process.exitcode
            workers.remove(worker)
            worker.stop()
            workers.append(_Worker(function, self.threads))
            if tries < _TRIES:
                workers[-1].give(item, tries + 1)
                return
            got = f"a worker process that ended with code {code}, {_TRIES} times; expected a result; it may have run "
            yield item[0], failed(WorkerDiedError(got + "out of memory: use fewer workers"))
            return
        worker.item = None
        yield result


@dataclass(frozen=True)
class DaskWorkers:
    """The workers of a Dask cluster that runs already, on this machine or on many.

    Every worker must be able to import Regard and to read the files under the same paths. Dask gives the case of a
    worker that died to another one.

    Parameters
    ----------
    address
        Of the scheduler, such as ``"tcp://node01:8786"``.
    threads
        CPU threads of each case.
    """

    address: str
    threads: int = 1

    def run(self, function: Function, cases: Iterable[tuple[int, Case]]) -> Iterator[Result]:
        distributed = need("distributed", extra="scale", purpose="--scheduler")
        client = self._connect(distributed)
        token = secrets.token_hex(4)
        rows: dict[str, int] = {}
        waiting = iter(cases)
        running = distributed.as_completed(loop=client.loop)

        def submit() -> bool:
            item = next(waiting, None)
            if item is None:
                return False
            key = f"regard-{token}-{item[0]}"
            rows[key] = item[0]
            running.add(client.submit(do_case, function, item[1], self.threads, key=key, pure=False))
            return True

        try:
            n_threads = sum(w["nthreads"] for w in client.scheduler_info(n_workers=-1)["workers"].values())
            # One more than can run each, so that no worker waits for its next case.
            for _ in range(2 * max(1, n_threads)):
                if not submit():
                    break
            for future in running:
                row = rows.pop(future.key)
                result = self._result(future)
                if client.status != "running":  # what it says of the case is then that the connection was lost
                    raise self._lost()
                yield row, result
                future.release()
                submit()
        except (OSError, distributed.client.ClosedClientError) as error:
            raise self._lost() from error
        finally:
            # A scheduler that went away cannot be told.
            with suppress(Exception):
                client.cancel([f for f, _ in list(getattr(running, "futures", {}).items())])
            with suppress(Exception):
                client.close(timeout=5)

    def _lost(self) -> RunStoppedError:
        got = f"the Dask scheduler at '{self.address}' went away; expected it to run until all cases are done; "
        return RunStoppedError(got + "start one and give the same command with its address, what is done is kept")

    def _connect(self, distributed: Any) -> Any:
        try:
            client = distributed.Client(self.address, timeout="15s", set_as_default=False)
        except (OSError, ValueError) as error:
            got = f"no Dask scheduler at '{self.address}' ({type(error).__name__})"
            raise InputError(got, "the address that dask scheduler prints", "start it, or use --workers") from error
        if not client.scheduler_info(n_workers=-1)["workers"]:
            client.wait_for_workers(1, timeout=60)
        return client

    @staticmethod
    def _result(future: Any) -> Part | Failed:
        try:
            found: Part | Failed = future.result()
        except Exception as error:
            return failed(error)
        return found
