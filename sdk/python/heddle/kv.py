"""Values that a plugin keeps for itself, within its tenant."""

from typing import Any, Callable, List, Optional

from componentize_py_types import Err as _Err
from wit_world.imports import kv as _host

from heddle.failure import Failure


def _tried(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except _Err as fault:
        word = type(fault.value).__name__.removeprefix("Fault_")
        code = "kv_" + "".join("_" + c.lower() if c.isupper() else c for c in word).lstrip("_")
        message = str(fault.value.value)
        if code == "kv_conflict":
            message = f"it has version {message}, and another one was expected"
        raise Failure(code, message, retryable=code == "kv_failed") from None


def get(key: str) -> Optional[_host.Entry]:
    """Its `value` and `version`; None where there is none."""
    return _tried(lambda: _host.get(key))


def set(key: str, value: bytes, ttl_ms: Optional[int] = None) -> int:
    """Writes a value, and gives its version."""
    return _tried(lambda: _host.set(key, value, ttl_ms))


def set_if(key: str, value: bytes, version: int, ttl_ms: Optional[int] = None) -> int:
    """Only if it has this version; 0 for one that is not there."""
    return _tried(lambda: _host.set_if(key, value, version, ttl_ms))


def increment(key: str, by: int = 1) -> int:
    """Adds, and gives the sum."""
    return _tried(lambda: _host.increment(key, by))


def delete(key: str) -> bool:
    """Whether there was one."""
    return _tried(lambda: _host.delete(key))


def keys(prefix: str = "", after: str = "", limit: int = 1000) -> List[str]:
    """Keys that begin so, behind `after`, in their order."""
    return _tried(lambda: _host.keys(prefix, after, limit))
