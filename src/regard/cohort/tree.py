"""A fixed binary tree over the table's rows: states are joined along it, whatever the order in which they come.

Leaf ``i`` is row ``i`` of the table; node ``(level, number)`` is the join of nodes ``(level - 1, 2 number)`` and
``(level - 1, 2 number + 1)``. A node is made when both its children are there, and replaces them, in memory and on the
disk, so that a few states are kept however many cases there are. What is on the disk says by itself which rows are
done: nothing else has to agree with it.
"""

import io
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np

from regard.cohort.moments import State
from regard.io.atomic import write_bytes
from regard.io.guard import parsing, require_file

__all__ = ["Tree"]

Node: TypeAlias = tuple[int, int]
Combine: TypeAlias = Callable[[State, State], State]

_NAME = re.compile(r"node-(\d{2})-(\d{6})\.npz")


class Tree:
    """States of the cases done so far, in memory until `flush`.

    Parameters
    ----------
    folder
        Where nodes are kept; what an earlier run left there is taken up.
    combine
        Joins two neighbouring states, the first rows' first.

    Raises
    ------
    FileError
        If a node cannot be read.
    """

    def __init__(self, folder: Path, combine: Combine) -> None:
        self.folder, self._combine = folder, combine
        self._memory: dict[Node, State] = {}
        self._disk = {(int(m[1]), int(m[2])) for p in folder.glob("node-*.npz") if (m := _NAME.fullmatch(p.name))}
        self._stale: set[Node] = set()
        # A run that was killed between writing a node and removing its children left both.
        covered = {node for node in self._disk if any(a in self._disk for a in self._ancestors(node))}
        for node in covered:
            self._path(node).unlink(missing_ok=True)
        self._disk -= covered

    def _ancestors(self, node: Node) -> Iterator[Node]:
        level, number = node
        highest = max((n[0] for n in self._disk), default=0)
        while level < highest:
            level, number = level + 1, number // 2
            yield level, number

    def _path(self, node: Node) -> Path:
        return self.folder / f"node-{node[0]:02d}-{node[1]:06d}.npz"

    def done(self) -> set[int]:
        """Rows of the table that are on the disk."""
        return {row for level, n in self._disk for row in range(n << level, (n + 1) << level)}

    @property
    def n_in_memory(self) -> int:
        """States in memory."""
        return len(self._memory)

    def add(self, row: int, state: State) -> None:
        """Add the state of one row, and join what can be joined."""
        node: Node = (0, row)
        while (sibling := (node[0], node[1] ^ 1)) in self._memory or sibling in self._disk:
            other = self._take(sibling)
            first, second = (other, state) if node[1] % 2 else (state, other)
            state = self._combine(first, second)
            node = (node[0] + 1, node[1] // 2)
        self._memory[node] = state

    def _take(self, node: Node) -> State:
        if node in self._memory:
            return self._memory.pop(node)
        state = self._load(node)
        self._disk.discard(node)
        self._stale.add(node)
        return state

    def _load(self, node: Node) -> State:
        path = self._path(node)
        require_file(path)
        do = "run again with --overwrite"
        with parsing(path, "checkpoint", do=do), np.load(path, allow_pickle=False) as content:
            return {key: content[key] for key in content.files}

    def flush(self) -> None:
        """Bring every state to the disk, and only then remove those that it replaces.

        Raises
        ------
        FileError
            If the disk is full; what was there before is then still there.
        """
        for node in sorted(self._memory):
            out = io.BytesIO()
            np.savez(out, **self._memory[node])  # type: ignore[arg-type]
            write_bytes(self._path(node), out.getbuffer().tobytes())
            self._disk.add(node)
            del self._memory[node]
        for node in self._stale:
            self._path(node).unlink(missing_ok=True)
        self._stale.clear()

    def total(self, n_rows: int) -> State:
        """The join of all rows along the tree; rows that are missing are left out, and the rest keeps its order."""
        level = max(0, n_rows - 1).bit_length()
        return self._total((level, 0)) or {}

    def _total(self, node: Node) -> Mapping[str, np.ndarray] | None:
        if node in self._memory:
            return self._memory[node]
        if node in self._disk:
            return self._load(node)
        level, number = node
        if level == 0 or not any(self._within(n, node) for n in (*self._memory, *self._disk)):
            return None
        first, second = (self._total((level - 1, 2 * number + k)) for k in (0, 1))
        if first is None or second is None:
            return second if first is None else first
        return self._combine(first, second)

    @staticmethod
    def _within(node: Node, above: Node) -> bool:
        return node[0] <= above[0] and node[1] >> (above[0] - node[0]) == above[1]
