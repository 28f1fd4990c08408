"""What the operator tells the plugin."""

import json as _json
from typing import Any, List

from wit_world.imports import config as _host


def get(name: str) -> Any:
    """A value by its name; None where nothing is said."""
    found = _host.get(name)
    return None if found is None else _json.loads(found)


def names() -> List[str]:
    return _host.names()
