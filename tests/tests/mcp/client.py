"""Speaks to a node as people's clients do, with the official Python SDK.

    client.py WHERE SCENARIO [FILE]

WHERE is the URL of `/mcp`, or `stdio:` and a command. Each scenario prints one JSON document of what it saw; the test
that began it says what must be in there.
"""

import asyncio
import json
import sys
from typing import Any, Literal

import anyio
import mcp_types as types
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim
from pydantic import TypeAdapter

TASKS = "io.modelcontextprotocol/tasks"
ANY: TypeAdapter[Any] = TypeAdapter(Any)


def where(text: str) -> Any:
    if text.startswith("stdio:"):
        command, *args = json.loads(text.removeprefix("stdio:"))
        return StdioServerParameters(command=command, args=args)
    return text


def shown(result: types.CallToolResult) -> dict[str, Any]:
    return {
        "text": [block.text for block in result.content if block.type == "text"],
        "links": [str(block.uri) for block in result.content if block.type == "resource_link"],
        "structured": result.structured_content,
        "error": bool(result.is_error),
        "meta": result.meta,
    }


async def refused(call: Any) -> dict[str, Any]:
    try:
        await call
    except MCPError as error:
        return {"code": error.error.code, "message": error.error.message}
    return {}


async def work(client: Client) -> dict[str, Any]:
    """What everybody does: look, call, mistype, read."""
    tools = (await client.list_tools()).tools
    progress: list[list[Any]] = []

    async def seen(done: float, total: float | None, message: str | None) -> None:
        progress.append([done, total, message])

    report = shown(await client.call_tool("test_report", {"who": "Ada"}, progress_callback=seen))
    run = report["meta"]["heddle/run"]
    read = await client.read_resource(f"heddle://runs/{run}")
    return {
        "tools": {
            tool.name: {
                "title": tool.title,
                "description": tool.description,
                "input": tool.input_schema,
                "output": tool.output_schema,
                "hints": tool.annotations.model_dump(by_alias=True, exclude_none=True) if tool.annotations else None,
                "meta": tool.meta,
            }
            for tool in tools
        },
        "report": report,
        "progress": progress,
        "wrong": shown(await client.call_tool("test_report", {"who": 7})),
        "plugin": shown(await client.call_tool("transform_text-chunk", {"text": "one two three", "size": 5})),
        "word": shown(await client.call_tool("test_word", {"input": "hello"})),
        "large": shown(await client.call_tool("test_large", {})),
        "failing": shown(await client.call_tool("test_failing", {})),
        "unknown": await refused(client.call_tool("test_nothing", {})),
        "resources": [str(resource.uri) for resource in (await client.list_resources()).resources],
        "templates": [t.uri_template for t in (await client.list_resource_templates()).resource_templates],
        "run": json.loads(read.contents[0].text),
        "output": json.loads((await client.read_resource(f"heddle://runs/{run}/output")).contents[0].text),
        "journal": json.loads((await client.read_resource(f"heddle://runs/{run}/journal")).contents[0].text),
        "graph": (await client.read_resource(f"heddle://runs/{run}/graph")).contents[0].text,
        "workflow": json.loads((await client.read_resource("heddle://workflows/test/report")).contents[0].text),
        "nowhere": await refused(client.read_resource("heddle://runs/nothing")),
    }


async def modern(server: Any) -> dict[str, Any]:
    async with Client(server) as client:
        return await work(client) | {"version": client.session.protocol_version, "server": client.server_info.name}


async def legacy(server: Any) -> dict[str, Any]:
    async with Client(server, mode="legacy") as client:
        return await work(client) | {"version": client.session.protocol_version, "server": client.server_info.name}


async def form(server: Any) -> dict[str, Any]:
    """A run that asks its caller's user, who answers a form."""
    asked: list[Any] = []

    async def answer(_: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        asked.append(params.model_dump(by_alias=True, exclude_none=True, mode="json"))
        content: dict[str, Any] = {"decision": "approve", "comment": "looks good", "amount": 12}
        return types.ElicitResult(action="accept", content=content)

    async with Client(server, elicitation_callback=answer) as client:
        approved = shown(await client.call_tool("test_asking", {}))
    forms: list[Any] = []

    async def decline(_: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        forms.append(params)
        return types.ElicitResult(action="decline")

    async def misfit(_: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        return types.ElicitResult(action="accept", content={"decision": "approve", "amount": "twelve"})

    async with Client(server, elicitation_callback=decline) as client:
        declined = shown(await client.call_tool("test_asking", {}))
    async with Client(server, elicitation_callback=answer) as client:
        later = shown(await client.call_tool("heddle_run", {"run": declined["meta"]["heddle/run"], "waitSeconds": 30}))
    del asked[1:]
    async with Client(server, elicitation_callback=misfit) as client:
        wrong = shown(await client.call_tool("test_asking", {}))
    async with Client(server) as client:
        silent = shown(await client.call_tool("test_asking", {}))
        run = silent["meta"]["heddle/run"]
        look = shown(await client.call_tool("heddle_run", {"run": run}))
        cancelled = shown(await client.call_tool("heddle_cancel", {"run": run}))
        over = shown(await client.call_tool("heddle_run", {"run": run, "waitSeconds": 30}))
    return {
        "declined": declined, "declinedForms": len(forms), "later": later, "misfit": wrong,
        "asked": asked, "approved": approved, "silent": silent, "look": look, "cancelled": cancelled, "over": over,
    }


class Handle(types.Result):
    """What a call answers that has become a task."""

    result_type: Literal["task"] = "task"
    task_id: str
    status: str
    created_at: str
    last_updated_at: str
    ttl_ms: int | None = None
    poll_interval_ms: int | None = None
    status_message: str | None = None


class Tasks(ClientExtension):
    """The Tasks extension, as far as the SDK leaves it to its user."""

    identifier = TASKS

    def __init__(self, answers: dict[str, Any] | None = None, cancel: bool = False) -> None:
        self.answers = answers
        self.cancel = cancel
        self.seen: list[dict[str, Any]] = []

    def claims(self) -> list[ResultClaim[Any]]:
        return [ResultClaim(result_type="task", model=Handle, resolve=self.resolve)]

    async def send(self, ctx: ClaimContext, method: str, **params: Any) -> Any:
        request = types.Request[Any, str](method=method, params=params)
        request.__class__.name_param = "taskId"
        return await ctx.session.send_request(request, ANY)

    async def resolve(self, task: Handle, ctx: ClaimContext) -> types.CallToolResult:
        self.seen.append(task.model_dump(by_alias=True, exclude_none=True))
        told = cancelled = False
        while True:
            state = await self.send(ctx, "tasks/get", taskId=task.task_id)
            if state["status"] != self.seen[-1]["status"]:
                self.seen.append(state)
            match state["status"]:
                case "completed":
                    return types.CallToolResult.model_validate(state["result"])
                case "cancelled" | "failed":
                    return types.CallToolResult(content=[], is_error=True)
                case "input_required" if self.answers is not None and not told:
                    told = True
                    answers = {key: {"action": "accept", "content": self.answers} for key in state["inputRequests"]}
                    await self.send(ctx, "tasks/update", taskId=task.task_id, inputResponses=answers)
                case "working" if self.cancel and not cancelled:
                    cancelled = True
                    await self.send(ctx, "tasks/cancel", taskId=task.task_id)
            await anyio.sleep(0.1)


async def never(_: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
    raise AssertionError(f"a task's form comes with the task: {params}")


async def tasks(server: Any) -> dict[str, Any]:
    """Runs that take longer, as tasks."""
    found: dict[str, Any] = {}
    for name, tool, extension in [
        ("quick", "test_report", Tasks()),
        ("slow", "test_slow", Tasks()),
        ("asking", "test_asking", Tasks(answers={"decision": "approve", "amount": 12})),
        ("rejected", "test_asking", Tasks(answers={"decision": "reject", "comment": "too much"})),
        ("cancelled", "test_endless", Tasks(cancel=True)),
    ]:
        arguments = {"who": "Ada"} if tool == "test_report" else {}
        async with Client(server, extensions=[extension], elicitation_callback=never) as client:
            result = shown(await client.call_tool(tool, arguments))
        found[name] = {"result": result, "seen": extension.seen}
    return found


async def demo(server: Any) -> dict[str, Any]:
    """The sample workflow, on the lock file whose path is the third argument."""
    with open(sys.argv[3]) as file:
        arguments = {"lockfile": file.read(), "project": "heddle"}
    progress: list[float] = []

    async def seen(done: float, _: float | None, __: str | None) -> None:
        progress.append(done)

    async with Client(server) as client:
        report = shown(await client.call_tool("heddle_supply-chain-audit", arguments, progress_callback=seen))
    return {"report": report, "progress": progress}


async def gives_up(server: Any) -> dict[str, Any]:
    """A call whose client loses patience, with and without a key."""
    async with Client(server) as client:
        for meta in [None, {"heddle/idempotencyKey": "mine"}]:
            with anyio.move_on_after(1.5):
                await client.call_tool("test_endless", {}, meta=meta)
    return {}


async def main() -> None:
    scenario = {"demo": demo, "modern": modern, "legacy": legacy, "form": form, "tasks": tasks, "gives_up": gives_up}[sys.argv[2]]
    print(json.dumps(await scenario(where(sys.argv[1]))))


asyncio.run(main())
