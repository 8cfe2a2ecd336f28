"""The answers of the HTTP API."""

from __future__ import annotations

from .messages import RunSummary


class RunInfo(RunSummary, frozen=True, omit_defaults=True, kw_only=True):
    """A run in the answer to `GET /api/dags/{id}/runs`, live ones included. Times are Unix milliseconds."""

    dag_id: str
