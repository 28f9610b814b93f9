"""AG2's agents."""

import asyncio

import openai
import pytest
from ag2 import Agent
from ag2.config import OpenAIConfig
from gate import CHAT, KEY, REFUSALS, SAID, URL
from pydantic import BaseModel


class Tide(BaseModel):
    place: str
    hours: int


def make(headers, key=KEY, **extra):
    config = OpenAIConfig(
        model=CHAT, api_key=key, base_url=f"{URL}/v1/openai", default_headers=headers, **extra.pop("config", {})
    )
    return Agent("warden", config=config, **extra)


def ask(agent):
    return asyncio.run(agent.ask("What does the tide do?"))


@pytest.mark.parametrize("streaming", [False, True])
def test_an_agent_is_answered(probe, streaming):
    reply = ask(make(probe.headers(), config={"streaming": streaming}))
    assert reply.body.startswith(SAID)
    assert f'"stream":{str(streaming).lower()}' in probe.one()["body"].replace(" ", "")


def test_an_agent_calls_its_tool_and_answers_with_what_it_said(probe):
    called = []

    def tide_table(place: str, hours: int) -> str:
        """When the tide turns."""
        called.append((place, hours))
        return "at six"

    assert ask(make(probe.headers(), tools=[tide_table])).body.startswith(SAID)
    assert len(called) == 1
    assert len(probe.seen()) == 2


def test_an_agent_answers_in_a_shape(probe):
    reply = ask(make(probe.headers(), response_schema=Tide))
    assert isinstance(asyncio.run(reply.content()), Tide)


@pytest.mark.parametrize("status", REFUSALS)
def test_a_refusal_is_an_exception_with_its_status(probe, status):
    with pytest.raises(openai.APIStatusError) as caught:
        ask(make(probe.refusal(status)))
    assert caught.value.status_code == status
    assert len(probe.seen()) == (3 if REFUSALS[status] else 1)


def test_a_refused_token_raises_with_the_gates_own_words(probe, refused):
    with pytest.raises(openai.APIStatusError, match=refused.words) as caught:
        ask(make(probe.headers(), key=refused.token))
    assert (caught.value.status_code, caught.value.code) == (refused.status, refused.code)
    assert probe.seen() == []
