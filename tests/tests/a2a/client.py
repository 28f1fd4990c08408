"""Speaks to a node as other agents do, with the official Python SDK.

    client.py URL TRANSPORT
    client.py URL demo FILE

URL is that of the node, TRANSPORT is JSONRPC or HTTP+JSON. Prints one JSON document of what it saw; the test that began it
says what must be in there.
"""

import asyncio
import json
import sys
import uuid
from typing import Any

import httpx
from a2a.client import ClientConfig
from a2a.client.card_resolver import A2ACardResolver
from a2a.client.client_factory import ClientFactory
from a2a.types.a2a_pb2 import (
    CancelTaskRequest,
    GetTaskRequest,
    ListTasksRequest,
    Message,
    Part,
    Role,
    SendMessageConfiguration,
    SendMessageRequest,
    SubscribeToTaskRequest,
    TaskState,
)
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Value


def data(value: Any) -> Part:
    return Part(data=ParseDict(value, Value()))


def message(*parts: Part, skill: str | None = None, message_id: str | None = None, **more: Any) -> Message:
    found = Message(message_id=message_id or str(uuid.uuid4()), role=Role.ROLE_USER, parts=parts, **more)
    if skill is not None:
        found.metadata.update({"skill": skill})
    return found


class Agent:
    """A client that speaks as somebody."""

    def __init__(self, url: str, transport: str, streaming: bool, user: str | None = None) -> None:
        headers = {"heddle-user": user} if user else {}
        self.http = httpx.AsyncClient(headers=headers, timeout=60)
        self.url = url
        self.config = ClientConfig(
            streaming=streaming, httpx_client=self.http, supported_protocol_bindings=[transport],
            use_client_preference=True,
        )

    async def __aenter__(self) -> "Agent":
        self.card = await A2ACardResolver(self.http, self.url).get_agent_card()
        self.client = ClientFactory(self.config).create(self.card)
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.client.close()

    async def send(self, sent: Message, **configuration: Any) -> list[dict[str, Any]]:
        request = SendMessageRequest(message=sent, configuration=SendMessageConfiguration(**configuration))
        return [MessageToDict(event) async for event in self.client.send_message(request)]

    async def refused(self, call: Any) -> dict[str, str]:
        try:
            await call
        except Exception as error:  # noqa: BLE001 - whatever it is, the test says what it must be
            return {"kind": type(error).__name__, "message": str(error)}
        return {}


async def demo(url: str, path: str) -> dict[str, Any]:
    """The sample workflow, on a lock file."""
    with open(path) as file:
        given = {"lockfile": file.read(), "project": "heddle"}
    async with Agent(url, "JSONRPC", streaming=True) as agent:
        return {"stream": await agent.send(message(data(given), skill="heddle/supply-chain-audit"))}


async def work(url: str, transport: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    async with Agent(url, transport, streaming=False) as agent:
        found["card"] = MessageToDict(agent.card)
        found["text"] = await agent.send(message(Part(text="Ada"), skill="test_report"))
        found["data"] = await agent.send(message(data({"who": "Bob"}), skill="test/report"))
        inline = {
            "document": {"dsl": "1.0", "namespace": "made", "name": "here", "version": "1.0.0"},
            "steps": {"say": {"set": "made here"}},
            "output": {"as": "${ steps.say.output }"},
        }
        found["inline"] = await agent.send(message(data({"definition": inline})))
        found["wrong"] = await agent.refused(agent.send(message(data({"who": 7}), skill="test_report")))
        found["which"] = await agent.refused(agent.send(message(Part(text="Ada"))))
        found["nothing"] = await agent.refused(agent.send(message(Part(text="Ada"), skill="burn")))
        found["file"] = await agent.refused(agent.send(message(Part(raw=b"\x00"), skill="test_report")))
        # The same message again, after being cut off, is the same run.
        once = str(uuid.uuid4())
        twice = [
            await agent.send(message(data({"who": "Eve"}), skill="test_report", message_id=once, context_id="talk-1"))
            for _ in range(2)
        ]
        found["twice"] = [answer[0]["task"]["id"] for answer in twice]
        found["failed"] = await agent.send(message(data({}), skill="test_failing"))
        begun = await agent.send(message(data({}), skill="test_endless", context_id="talk-1"), return_immediately=True)
        task = begun[0]["task"]["id"]
        found["begun"] = begun
        listed = await agent.client.list_tasks(ListTasksRequest(context_id="talk-1"))
        found["listed"] = MessageToDict(listed)
        found["working"] = MessageToDict(
            await agent.client.list_tasks(ListTasksRequest(status=TaskState.TASK_STATE_COMPLETED, page_size=1))
        )
        found["cancelled"] = MessageToDict(await agent.client.cancel_task(CancelTaskRequest(id=task)))
        found["again"] = await agent.refused(agent.client.cancel_task(CancelTaskRequest(id=task)))
        found["late"] = await agent.refused(agent.send(message(Part(text="more"), task_id=task)))
        found["unknown"] = await agent.refused(agent.client.get_task(GetTaskRequest(id=str(uuid.uuid4()))))
        found["got"] = MessageToDict(await agent.client.get_task(GetTaskRequest(id=found["twice"][0])))
        asked = await agent.send(message(data({}), skill="test_asking"))
        found["asked"] = asked
        waiting = asked[0]["task"]["id"]
        # Whoever asked for it does not approve it alone.
        found["alone"] = await agent.send(message(data({"decision": "approve", "amount": 12}), task_id=waiting))
        found["maybe"] = await agent.refused(agent.send(message(Part(text="perhaps"), task_id=waiting)))
    async with Agent(url, transport, streaming=False, user="bob") as other:
        found["approved"] = await other.send(message(data({"decision": "approve", "amount": 12}), task_id=waiting))
        async with Agent(url, transport, streaming=False, user="carol") as carol:
            both = (await carol.send(message(data({}), skill="test_twice")))[0]["task"]["id"]
        found["unnamed"] = await other.refused(other.send(message(Part(text="approve"), task_id=both)))
        odd = {"decision": "approve", "question": "zz"}
        found["odd"] = await other.refused(other.send(message(data(odd), task_id=both)))
        first = {"decision": "approve", "question": "first#0"}
        found["first"] = await other.send(message(data(first), task_id=both))
        found["resent"] = await other.refused(other.send(message(data(first), task_id=both)))
        found["second"] = await other.send(message(data({"decision": "approve", "question": "second#0"}), task_id=both))
        slow = (await other.send(message(data({}), skill="test_slow"), return_immediately=True))[0]["task"]["id"]
        await other.http.post(f"{url}/v1/runs/{slow}/pause")
        for _ in range(100):
            found["paused"] = MessageToDict(await other.client.get_task(GetTaskRequest(id=slow)))
            if found["paused"]["status"]["state"] == "TASK_STATE_INPUT_REQUIRED":
                break
            await asyncio.sleep(0.05)
        found["resumed"] = await other.send(message(Part(text="resume"), task_id=slow), return_immediately=True)
    async with Agent(url, transport, streaming=True) as agent:
        found["stream"] = await agent.send(message(data({}), skill="test_slow"))
        found["stopped"] = await agent.send(message(data({}), skill="test_asking"))
        waits = (await agent.send(message(data({}), skill="test_asking")))[0]["task"]["id"]
        found["followed"] = []
        async for event in agent.client.subscribe(SubscribeToTaskRequest(id=waits)):
            found["followed"].append(MessageToDict(event))
            if len(found["followed"]) == 1:
                await agent.client.cancel_task(CancelTaskRequest(id=waits))
    return found


scenario = demo(sys.argv[1], sys.argv[3]) if sys.argv[2] == "demo" else work(sys.argv[1], sys.argv[2])
print(json.dumps(asyncio.run(scenario)))
