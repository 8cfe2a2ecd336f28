"""`Outputs`: whole outputs of nodes, kept in memory up to a bound, where no durable log keeps them."""

from __future__ import annotations

from typing import NamedTuple

from ... import protocol as p


class OutputKey(NamedTuple):
    """Whose output it is."""

    node_id: str
    instance: str | None = None


class Outputs:
    """The newest output of each node of a run, in the parts that it came in. The oldest go when there is no room."""

    def __init__(self, most: int) -> None:
        """Keep at most `most` characters."""
        self._most = most
        self._size = 0
        self._parts: dict[OutputKey, dict[int, p.NodeOutput]] = {}

    def add(self, part: p.NodeOutput) -> None:
        """Take a part; the first one takes the place of an earlier output."""
        key = OutputKey(part.node_id, part.instance)
        if part.part == 0:
            self.drop(key)
        self._parts.setdefault(key, {})[part.part] = part
        self._size += len(part.text)
        while self._size > self._most:
            self.drop(next(iter(self._parts)))

    def get(self, key: OutputKey) -> str | None:
        """A whole output, as JSON; None where it is not here, or not all of it."""
        return joined([*self._parts.get(key, {}).values()])

    def clear(self) -> None:
        """Forget all of them."""
        self._parts.clear()
        self._size = 0

    def drop(self, key: OutputKey) -> None:
        """Forget one of them."""
        self._size -= sum(len(part.text) for part in self._parts.pop(key, {}).values())


def joined(parts: list[p.NodeOutput]) -> str | None:
    """Parts in their order as one text; None where one is missing."""
    whole = bool(parts) and [part.part for part in parts] == [*range(parts[0].parts)]
    return "".join(part.text for part in parts) if whole else None
