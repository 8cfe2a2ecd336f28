"""LangChain callbacks: the tokens of models, and the custom events of nodes."""

from __future__ import annotations

import uuid
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler

from .watch import Task, Watch


class Callbacks(BaseCallbackHandler):
    """Reports the tokens of LangChain's models, and the custom events of nodes."""

    # In the calling thread, so that the report comes before the node ends.
    run_inline = True

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._calls: dict[uuid.UUID, tuple[Task | None, str | None]] = {}

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],  # noqa: ARG002
        messages: Any,  # noqa: ARG002
        *,
        run_id: uuid.UUID,
        metadata: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        self._calls[run_id] = (self._watch.task_of(metadata), (metadata or {}).get("ls_model_name"))

    on_llm_start = on_chat_model_start  # type: ignore[assignment]

    def on_llm_end(self, response: Any, *, run_id: uuid.UUID, **_: Any) -> None:
        task, model = self._calls.pop(run_id, (None, None))
        for generations in response.generations:
            message = getattr(generations[0], "message", None) if generations else None
            usage = getattr(message, "usage_metadata", None)
            if usage:
                answered = message.response_metadata.get("model_name") if message is not None else None
                self._watch.add_tokens(task, answered or model, usage)

    def on_llm_error(self, error: BaseException, *, run_id: uuid.UUID, **_: Any) -> None:  # noqa: ARG002
        self._calls.pop(run_id, None)

    def on_custom_event(
        self,
        name: str,  # noqa: ARG002
        data: Any,
        *,
        run_id: uuid.UUID,  # noqa: ARG002
        metadata: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        task = self._watch.task_of(metadata)
        if task is not None:
            self._watch.report(task, data)
