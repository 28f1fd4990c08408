"""A service that speaks the Model Context Protocol, by the official SDK, of this generation or the one before.

    server.py PORT [KEY]

With a key it answers nobody else. What came is printed, a line each: the tool, and the key under which it was called.
"""

import sys
from typing import Any

import anyio
import uvicorn

try:
    from mcp.server.mcpserver import Context, MCPServer
    from mcp_types import ToolAnnotations

    server: Any = MCPServer("crm", version="2.1.0")
except ImportError:
    from mcp.server.fastmcp import Context, FastMCP
    from mcp.types import ToolAnnotations

    server = FastMCP("crm")

port, key = int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None


def came(ctx: Context, name: str) -> None:
    meta = ctx.request_context.meta
    found = meta if isinstance(meta, dict) else (meta.model_dump() if meta else {})
    print(name, found.get("heddle/idempotencyKey"), flush=True)


@server.tool(title="Find a customer")
def find_customer(q: str, ctx: Context) -> dict[str, Any]:
    """Finds a customer by name."""
    came(ctx, "find_customer")
    return {"name": q, "balance": 12.5}


@server.tool(annotations=ToolAnnotations(destructiveHint=True))
def drop_customer(q: str, ctx: Context) -> str:
    """Deletes a customer for good."""
    came(ctx, "drop_customer")
    return f"{q} is gone"


@server.tool()
def broken(ctx: Context) -> str:
    """Fails."""
    came(ctx, "broken")
    raise ValueError("the customer has no account")


def app() -> Any:
    inner = server.streamable_http_app()

    async def guarded(scope: Any, receive: Any, send: Any) -> None:
        said = dict(scope.get("headers", [])).get(b"authorization", b"").decode()
        if key is not None and scope["type"] == "http" and said != f"Bearer {key}":
            await send({"type": "http.response.start", "status": 401, "headers": []})
            await send({"type": "http.response.body", "body": b"who are you?"})
            return
        await inner(scope, receive, send)

    return guarded


anyio.run(uvicorn.Server(uvicorn.Config(app(), host="127.0.0.1", port=port, log_level="error")).serve)
