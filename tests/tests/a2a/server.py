"""An agent that speaks the Agent2Agent protocol, by the official SDK.

    server.py PORT

What is asked is printed, a line each: the skill, and the id of the message.
"""

import asyncio
import sys
from typing import Any

import uvicorn
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types.a2a_pb2 import (
    AgentCapabilities,
    AgentCard,
    AgentInterface,
    AgentSkill,
    Message,
    Part,
    Role,
    Task,
    TaskState,
    TaskStatus,
)
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Value
from starlette.applications import Starlette

port = int(sys.argv[1])


class Trips(AgentExecutor):
    async def execute(self, context: RequestContext, event_queue: Any) -> None:
        said = MessageToDict(context.message)
        skill = said.get("metadata", {}).get("skill")
        print(skill, context.message.message_id, flush=True)
        if skill == "say":
            text = said["parts"][0]["text"]
            await event_queue.enqueue_event(
                Message(message_id="a-1", role=Role.ROLE_AGENT, parts=[Part(text=f"you said {text}")])
            )
            return
        task = Task(
            id=context.task_id, context_id=context.context_id,
            status=TaskStatus(state=TaskState.TASK_STATE_SUBMITTED), history=[context.message],
        )
        await event_queue.enqueue_event(task)
        updater = TaskUpdater(event_queue, context.task_id, context.context_id)
        await updater.start_work()
        await asyncio.sleep(0.3)
        if skill == "refuse":
            reason = updater.new_agent_message([Part(text="not on a Monday")])
            await updater.reject(reason)
            return
        days = next(part["data"]["days"] for part in said["parts"] if "data" in part)
        await updater.add_artifact([Part(data=ParseDict({"stops": days * 2}, Value()))], name="trip")
        await updater.complete()

    async def cancel(self, context: RequestContext, event_queue: Any) -> None:
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()


card = AgentCard(
    name="Trips", description="Plans trips.", version="3.1.0",
    supported_interfaces=[
        AgentInterface(url=f"http://127.0.0.1:{port}/rpc", protocol_binding="JSONRPC", protocol_version="1.0")
    ],
    capabilities=AgentCapabilities(streaming=True), default_input_modes=["text/plain"],
    default_output_modes=["application/json"],
    skills=[
        AgentSkill(id=name, name=name.title(), description=f"Does {name}.", tags=["t"])
        for name in ["say", "plan_trip", "refuse"]
    ],
)
handler = DefaultRequestHandler(agent_executor=Trips(), task_store=InMemoryTaskStore(), agent_card=card)
app = Starlette(routes=[*create_agent_card_routes(card), *create_jsonrpc_routes(handler, "/rpc")])
uvicorn.run(app, host="127.0.0.1", port=port, log_level="error")
