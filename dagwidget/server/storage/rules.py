"""What every journal does the same way: which append fits a log, and which records follow one another."""

from __future__ import annotations

from collections.abc import Sequence

from .event_store import Append, Conflict, Record, RunMeta
from .faults import Missing


def conflict(append: Append, head: int | None, meta: RunMeta | None) -> Conflict | None:
    """Why an append does not fit a log that ends at `head`; None where it fits.

    Args:
        append: The append.
        head: Where the log ends; None where there is no such run.
        meta: What is stored beside the log.
    """
    log = None if meta is None else meta.log
    if head is None:
        # Only its beginning begins a log; what should follow on something says that this is gone.
        begins = append.meta is None or append.meta.begins == append.after
        return None if begins or append.rebase else Conflict(None, None)
    known = log is None or append.meta is None or log in lineage(append.meta)
    fits = head <= append.after if append.rebase else head == append.after
    return None if known and fits else Conflict(head, log)


def lineage(meta: RunMeta) -> set[str | None]:
    """The incarnations that a log goes on from, and its own."""
    return {meta.log, *(log for log, _ in meta.earlier)}


def dense(records: Sequence[Record], after: int, head: int | None) -> list[Record]:
    """The records that follow `after` without a hole.

    Args:
        records: Those that there are, in their order.
        after: The `seq` before the first one wanted.
        head: Where the log ends; None where that is not known.

    Raises:
        Missing: there is none, and the log is not known to end there.
    """
    following: list[Record] = []
    for record in records:
        if record.seq != after + len(following) + 1:
            break
        following.append(record)
    if not following and (head is None or after < head):
        upto = records[0].seq - 1 if records else (head or after + 1)
        raise Missing(after, upto, "of the log were not stored, or can't be read")
    return following
