"""Language models, for agents: as the operator has set them up and granted them. What a model says is recorded with what it
was asked, so nothing is paid twice."""

import json as _json
import re as _re
from typing import Any, Dict, List, Optional, Tuple

from componentize_py_types import Err as _Err
from wit_world.imports import model as _host
from wit_world.imports import tools as _tools

from heddle.failure import Failure
from heddle.failure import read as _read

# Errors of tools in a row after which `converse` gives up.
_ERRORS_IN_A_ROW = 5
# Characters of a tool's answer that a model is given.
_ANSWER_CHARACTERS = 64 * 1024


def models() -> List[str]:
    """The names of the models that are granted, the default first; empty where there are none."""
    return _host.models()


def budget() -> _host.Budget:
    """What is left (`calls_left`, `tokens_left`, `cost_micros_left`) and what was spent."""
    return _host.spent()


def wire_name(name: str) -> str:
    """The name of a granted plugin as models take it: `tool:orders/get` becomes `tool_orders_get`."""
    return _re.sub(r"[^a-zA-Z0-9_-]", "_", name)[:64]


class Thread:
    """Messages in their order, which the host keeps. `messages` are dicts with a `role`."""

    def __init__(self) -> None:
        self._inner = _host.Thread()
        self.messages: List[Dict[str, Any]] = []

    def system(self, text: str) -> None:
        self._append(_host.Message_System(text), {"role": "system", "text": text})

    def user(self, text: str) -> None:
        self._append(_host.Message_User(text), {"role": "user", "text": text})

    def answer(self, call: _host.ToolUse, text: str, failed: bool = False) -> None:
        """What a tool gave, for a call of the model."""
        message = _host.Message_Tool(_host.ToolMessage(call.id, text, failed))
        self._append(message, {"role": "tool", "id": call.id, "text": text, "failed": failed})

    def _append(self, message: Any, shown: Dict[str, Any]) -> None:
        self._inner.append(message)
        self.messages.append(shown)

    def complete(self, *, model: Optional[str] = None, tools: Optional[List[Dict[str, Any]]] = None,
                 choice: str = "auto", schema: Any = None, temperature: Optional[float] = None,
                 max_tokens: Optional[int] = None, timeout_ms: Optional[int] = None) -> _host.Completion:
        """Asks the model with all messages, and adds its answer to them; raises a `Failure`."""
        kinds = {"auto": _host.ToolChoice_Auto, "never": _host.ToolChoice_Never, "required": _host.ToolChoice_Required}
        specs = [_host.ToolSpec(tool["name"], tool.get("description", ""), _json.dumps(tool["parameters"]))
                 for tool in tools or []]
        settings = _host.Settings(
            model, specs, kinds[choice]() if choice in kinds else _host.ToolChoice_Named(choice),
            None if schema is None else _json.dumps(schema), temperature, max_tokens, timeout_ms)
        try:
            said = self._inner.complete(settings)
        except _Err as fault:
            raise _read(fault.value) from None
        self.messages.append({"role": "assistant", "text": said.text, "calls": said.calls})
        return said


def converse(thread: Thread, **ask: Any) -> _host.Completion:
    """Asks, calls the granted plugins that the model wants called, and asks again, until it answers without wanting more."""
    known = {wire_name(tool.name): tool for tool in _tools.list()}
    specs = [{"name": name, "description": tool.description or tool.title, "parameters": _json.loads(tool.input_schema)}
             for name, tool in known.items()]
    ask.setdefault("tools", specs)
    errors = 0
    while True:
        said = thread.complete(**ask)
        if not said.calls:
            return said
        for call in said.calls:
            text, failed = _answered(call, known)
            errors = errors + 1 if failed else 0
            cut = text[:_ANSWER_CHARACTERS] + "… (cut)" if len(text) > _ANSWER_CHARACTERS else text
            thread.answer(call, cut, failed)
        if errors >= _ERRORS_IN_A_ROW:
            last = thread.messages[-1]["text"]
            raise Failure("tools_failing", f"{errors} calls of tools in a row have failed; the last: {last}")
        if ask.get("choice") not in (None, "never"):
            ask["choice"] = "auto"


def _answered(call: _host.ToolUse, known: Dict[str, _tools.ToolInfo]) -> Tuple[str, bool]:
    tool = known.get(call.name)
    if tool is None:
        return f"there is no tool `{call.name}`; there are: {', '.join(known)}", True
    try:
        input = _json.loads(call.arguments.strip() or "{}")
    except ValueError as fault:
        return f"the arguments are not JSON: {fault}", True
    try:
        output = _tools.call(_tools.Request(tool.name, _json.dumps(input, ensure_ascii=False)))
    except _Err as fault:
        failure = _read(fault.value)
        return f"{failure.code}: {failure}", True
    value = _json.loads(output)
    return (value if isinstance(value, str) else output), False
