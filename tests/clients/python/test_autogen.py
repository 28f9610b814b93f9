"""AutoGen's model client, `autogen-ext`."""

import asyncio
import json

import openai
import pytest
from autogen_core import CancellationToken
from autogen_core.models import ModelInfo, UserMessage
from autogen_core.tools import FunctionTool
from autogen_ext.models.openai import OpenAIChatCompletionClient
from gate import CHAT, KEY, REFUSALS, SAID, URL

INFO = ModelInfo(
    vision=False, function_calling=True, json_output=True, family="unknown", structured_output=True
)
MESSAGES = [UserMessage(content="The tide", source="user")]


def make(headers, key=KEY):
    return OpenAIChatCompletionClient(
        model=CHAT, base_url=f"{URL}/v1/openai", api_key=key, default_headers=headers, model_info=INFO
    )


def run(headers, call, key=KEY):
    async def inner():
        client = make(headers, key)
        try:
            return await call(client)
        finally:
            await client.close()

    return asyncio.run(inner())


async def tide_table(place: str, hours: int) -> str:
    return f"{place}: {hours}"


def test_a_chat_is_answered(probe):
    answer = run(probe.headers(), lambda client: client.create(MESSAGES, cancellation_token=CancellationToken()))
    assert answer.content.startswith(SAID)
    assert answer.usage.completion_tokens == 16


def test_a_chat_streams(probe):
    async def collect(client):
        return [part async for part in client.create_stream(MESSAGES)]

    parts = run(probe.headers(), collect)
    assert "".join(parts[:-1]) == parts[-1].content
    assert parts[-1].usage.completion_tokens == 16


def test_a_tool_is_called(probe):
    tool = FunctionTool(tide_table, description="When the tide turns.")
    (call,) = run(probe.headers(), lambda client: client.create(MESSAGES, tools=[tool])).content
    assert call.name == "tide_table"
    assert set(json.loads(call.arguments)) == {"place", "hours"}


def test_json_comes_when_json_is_asked_for(probe):
    answer = run(probe.headers(), lambda client: client.create(MESSAGES, json_output=True))
    assert isinstance(json.loads(answer.content), dict)


@pytest.mark.parametrize("status", REFUSALS)
def test_a_refusal_is_an_exception_with_its_status(probe, status):
    with pytest.raises(openai.APIStatusError) as caught:
        run(probe.refusal(status), lambda client: client.create(MESSAGES))
    assert caught.value.status_code == status
    assert len(probe.seen()) == (3 if REFUSALS[status] else 1)


def test_a_wrong_key_is_refused_by_the_gate_itself(probe):
    with pytest.raises(openai.AuthenticationError):
        run(probe.headers(), lambda client: client.create(MESSAGES), key="not-a-key-of-anybody-here")
    assert probe.seen() == []


def test_a_refused_token_raises_with_the_gates_own_words(probe, refused):
    with pytest.raises(openai.APIStatusError, match=refused.words) as caught:
        run(probe.headers(), lambda client: client.create(MESSAGES), key=refused.token)
    assert (caught.value.status_code, caught.value.code) == (refused.status, refused.code)
    assert probe.seen() == []
