"""What the official clients make of requests: each is held to the types that they declare, and sent by them.

    client.py openai|anthropic URL < requests

Reads a JSON list of bodies on stdin, sends each to URL by the official client, and prints what the client read out of the
answers.
"""

import json
import sys
from typing import Any

from pydantic import TypeAdapter

provider, url = sys.argv[1:]
bodies: list[dict[str, Any]] = json.load(sys.stdin)
seen: list[Any] = []

if provider == "openai":
    from openai import OpenAI
    from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming

    adapter = TypeAdapter(CompletionCreateParamsNonStreaming)
    client = OpenAI(base_url=url, api_key="k", max_retries=0)
    for body in bodies:
        adapter.validate_python(body)
        answer = client.chat.completions.create(**body)
        message = answer.choices[0].message
        seen.append(
            {
                "text": message.content,
                "calls": [[call.function.name, json.loads(call.function.arguments)] for call in message.tool_calls or []],
                "finish": answer.choices[0].finish_reason,
                "tokens": [answer.usage.prompt_tokens, answer.usage.completion_tokens],
            }
        )
else:
    from anthropic import Anthropic
    from anthropic.types.message_create_params import MessageCreateParamsNonStreaming

    adapter = TypeAdapter(MessageCreateParamsNonStreaming)
    client = Anthropic(base_url=url, api_key="k", max_retries=0)
    for body in bodies:
        adapter.validate_python(body)
        answer = client.messages.create(**body)
        seen.append(
            {
                "text": "".join(block.text for block in answer.content if block.type == "text"),
                "calls": [[block.name, block.input] for block in answer.content if block.type == "tool_use"],
                "finish": answer.stop_reason,
                "tokens": [answer.usage.input_tokens, answer.usage.output_tokens],
            }
        )

print(json.dumps(seen))
