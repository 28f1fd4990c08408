"""Other plugins, for agents: what the step grants."""

import json as _json
from typing import Any, List

from componentize_py_types import Err as _Err
from wit_world.imports import tools as _host

from heddle.failure import read as _read


def names() -> List[str]:
    return [tool.name for tool in _host.list()]


def list() -> List[_host.ToolInfo]:
    """Each with `name`, `title`, `description`, `input_schema` and `output_schema` (JSON texts)."""
    return _host.list()


def call(name: str, input: Any) -> Any:
    """Calls one and gives its output; raises its `Failure`."""
    try:
        return _json.loads(_host.call(_host.Request(name, _json.dumps(input, ensure_ascii=False))))
    except _Err as fault:
        raise _read(fault.value) from None
