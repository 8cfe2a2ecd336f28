"""One small module an engine, imported when it is used: `dagwidget.engines.langgraph`."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["langgraph"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
