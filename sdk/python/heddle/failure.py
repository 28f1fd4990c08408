"""How a plugin says that it failed: it knows whether trying again may help, and the workflow decides the rest."""

import json
import sys
from typing import Any, Optional


class Failure(Exception):
    """Raised to end a call. Any other exception is a permanent failure with the code `unexpected`."""

    def __init__(self, code: str, message: str, data: Any = None, *, retryable: bool = False,
                 retry_after_ms: Optional[int] = None) -> None:
        super().__init__(message)
        self.code, self.message, self.data = code, message, data
        self.retryable = retryable or retry_after_ms is not None
        self.retry_after_ms = retry_after_ms


class Checkpoint:
    """See `checkpoint`."""

    def __init__(self, state: Any) -> None:
        self.state = state


def checkpoint(state: Any) -> Checkpoint:
    """What an agent returns to go on later: it is started afresh with this state."""
    return Checkpoint(state)


def seeded() -> None:
    """Draws a new seed for `random`: its own was drawn when the component was built, and every sandbox would have it."""
    drawing = sys.modules.get("random")
    if drawing is not None:
        drawing.seed()


def text(value: Any) -> str:
    """A value as JSON."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def outcome(value: Any) -> tuple:
    """Whether an agent is done, with its output or its state as JSON."""
    if isinstance(value, Checkpoint):
        return False, text(value.state)
    return True, text(value)


def wire(types: Any, failure: Exception) -> Any:
    """A failure as the host wants it."""
    if not isinstance(failure, Failure):
        failure = Failure("unexpected", f"{type(failure).__name__}: {failure}")
    try:
        data = None if failure.data is None else text(failure.data)
    except (TypeError, ValueError) as wrong:
        data = text(f"no JSON: {wrong}")
    detail = types.Detail(failure.code, failure.message, data)
    if failure.retry_after_ms is not None:
        return types.Failure_RateLimited(types.Later(failure.retry_after_ms, detail))
    return types.Failure_Retryable(detail) if failure.retryable else types.Failure_Permanent(detail)


def read(failure: Any) -> Exception:
    """A failure of another plugin as one of ours."""
    said = failure.value
    detail = getattr(said, "detail", said)
    data = None if detail.data is None else json.loads(detail.data)
    return Failure(detail.code, detail.message, data, retryable=type(failure).__name__ != "Failure_Permanent",
                   retry_after_ms=getattr(said, "retry_after_ms", None))
