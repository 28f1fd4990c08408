"""Requests to services outside, as far as the operator has granted them."""

import json as _json
from typing import Any, Mapping, Optional, Union

from componentize_py_types import Err as _Err
from wit_world.imports import http as _host

from heddle.failure import Failure


class Response:
    """An answer; a redirect is one like any other."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    def text(self) -> str:
        return self.body.decode("utf-8", errors="replace")

    def json(self) -> Any:
        return _json.loads(self.body)


def send(method: str, url: str, *, headers: Optional[Mapping[str, str]] = None, body: Union[bytes, str, None] = None,
         json: Any = None, timeout_ms: Optional[int] = None) -> Response:
    """Sends a request. `json` is sent as such; `body` as it is."""
    pairs = [_host.Header(name, value) for name, value in (headers or {}).items()]
    if json is not None:
        body = _json.dumps(json, ensure_ascii=False)
        if not any(pair.name.lower() == "content-type" for pair in pairs):
            pairs.append(_host.Header("content-type", "application/json"))
    if isinstance(body, str):
        body = body.encode()
    try:
        answer = _host.send(_host.Request(method, url, pairs, body, timeout_ms))
    except _Err as fault:
        kind = fault.value.kind.name.lower()
        raise Failure(f"http_{kind}", fault.value.message, retryable=kind in ("failed", "timed_out")) from None
    return Response(answer.status, {header.name: header.value for header in answer.headers}, answer.body)


def get(url: str, **options: Any) -> Response:
    return send("GET", url, **options)


def post(url: str, **options: Any) -> Response:
    return send("POST", url, **options)
