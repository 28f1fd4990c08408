"""Files that a run keeps, for people or for later steps."""

from typing import Any, Callable

from componentize_py_types import Err as _Err
from wit_world.imports import artifacts as _host

from heddle.failure import Failure


def _tried(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except _Err as fault:
        word = type(fault.value).__name__.removeprefix("Fault_")
        code = "artifacts_" + "".join("_" + c.lower() if c.isupper() else c for c in word).lstrip("_")
        raise Failure(code, str(fault.value.value), retryable=code == "artifacts_failed") from None


def put(name: str, media_type: str, value: bytes) -> _host.Artifact:
    """Keeps bytes under a name such as `report.md`; gives `name`, `media_type`, `digest` and `size`."""
    return _tried(lambda: _host.put(name, media_type, value))


def get(digest: str) -> bytes:
    """A file that this run has kept, by its digest."""
    return _tried(lambda: _host.get(digest))
