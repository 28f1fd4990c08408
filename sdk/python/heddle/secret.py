"""Secrets, without their values."""

from componentize_py_types import Err as _Err
from wit_world.imports import secret as _host

from heddle.failure import Failure


def get(name: str) -> str:
    """A text that stands for the value; the host puts that in on the way out."""
    try:
        return _host.get(name)
    except _Err as fault:
        raise Failure("secret_denied", fault.value) from None
