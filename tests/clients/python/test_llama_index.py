"""`llama-index-llms-deepinfra` takes an address; `llama-index-embeddings-deepinfra` has `get_url` to override."""

import asyncio

import aiohttp
import pytest
import requests
from gate import CHAT, EMBEDDINGS, KEY, MANAGER_KEY, REFUSALS, SAID, SCHEMA, URL
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.deepinfra import DeepInfraEmbeddingModel
from llama_index.llms.deepinfra import DeepInfraLLM


class GatedEmbeddings(DeepInfraEmbeddingModel):
    def get_url(self):
        return f"{URL}/v1/inference/{self._model_id}"


@pytest.fixture
def model(wire, probe):
    wire.update(probe.headers())
    return DeepInfraLLM(model=CHAT, api_base=URL, api_key=KEY)


@pytest.fixture
def embeddings(wire, probe):
    wire.update(probe.headers())
    return GatedEmbeddings(model_id=EMBEDDINGS, api_token=KEY)


def messages():
    return [ChatMessage(role="user", content="The tide")]


def tide_table(place: str, hours: int) -> str:
    """When the tide turns."""
    return f"{place}: {hours}"


def test_a_completion_is_answered_and_streams(model):
    whole = model.complete("The tide").text
    assert whole.startswith(SAID)
    assert list(model.stream_complete("The tide"))[-1].text == whole


def test_a_completion_is_answered_and_streams_asynchronously(model):
    async def run():
        stream = await model.astream_complete("The tide")
        return (await model.acomplete("The tide")).text, [part.text async for part in stream][-1]

    whole, streamed = asyncio.run(run())
    assert whole == streamed


def test_a_chat_is_answered_and_streams(model):
    whole = model.chat(messages()).message.content
    assert whole.startswith(SAID)
    assert list(model.stream_chat(messages()))[-1].message.content == whole


def test_a_chat_is_answered_and_streams_asynchronously(model):
    async def run():
        stream = await model.astream_chat(messages())
        return (await model.achat(messages())).message.content, [part async for part in stream][-1].message.content

    whole, streamed = asyncio.run(run())
    assert whole == streamed


def test_a_tool_is_called_though_the_look_up_of_the_model_is_no_route_for_this_key(model, probe):
    tool = FunctionTool.from_defaults(fn=tide_table)
    answer = model.chat_with_tools([tool], user_msg="When?")
    (call,) = model.get_tool_calls_from_response(answer)
    assert (call.tool_name, set(call.tool_kwargs)) == ("tide_table", set(SCHEMA["properties"]))
    assert [request["path"] for request in probe.seen()] == ["/v1/openai/chat/completions"]


def test_the_look_up_of_a_model_says_no_tools_to_a_key_that_may_not_manage(model, probe):
    assert model.metadata.is_function_calling_model is False
    assert probe.seen() == []


def test_the_look_up_of_a_model_works_for_a_key_that_may_manage(wire, probe):
    wire.update(probe.headers())
    model = DeepInfraLLM(model=CHAT, api_base=URL, api_key=MANAGER_KEY)
    assert model.metadata.is_function_calling_model is True
    assert probe.one()["path"] == f"/models/{CHAT}"


def test_embeddings_are_made(embeddings):
    assert len(embeddings.get_text_embedding_batch(["ebb", "flow"])) == 2
    assert len(asyncio.run(embeddings.aget_query_embedding("ebb"))) > 8


@pytest.mark.parametrize("status", REFUSALS)
def test_a_refused_call_raises_and_is_not_tried_again(model, wire, probe, status):
    wire.update(probe.refusal(status))
    with pytest.raises(requests.HTTPError) as caught:
        model.complete("The tide")
    assert caught.value.response.status_code == status
    with pytest.raises(aiohttp.ClientResponseError) as caught:
        asyncio.run(model.achat(messages()))
    assert caught.value.status == status
    assert len(probe.seen("/v1/openai/completions")) == 1
    assert len(probe.seen("/v1/openai/chat/completions")) == 1


@pytest.mark.parametrize("status", REFUSALS)
def test_refused_embeddings_raise(embeddings, wire, probe, status):
    wire.update(probe.refusal(status))
    with pytest.raises(requests.HTTPError) as caught:
        embeddings.get_query_embedding("ebb")
    assert caught.value.response.status_code == status
    # The asynchronous half looks for the numbers before it looks at the status.
    with pytest.raises(KeyError, match="embeddings"):
        asyncio.run(embeddings.aget_query_embedding("ebb"))
    assert len(probe.seen()) == 2


def test_a_refused_token_raises_with_its_status_and_the_words_in_the_answer(wire, probe, refused):
    wire.update(probe.headers())
    model = DeepInfraLLM(model=CHAT, api_base=URL, api_key=refused.token)
    with pytest.raises(requests.HTTPError) as caught:
        model.complete("The tide")
    assert caught.value.response.status_code == refused.status
    assert refused.words in caught.value.response.text
    # The asynchronous half drops the answer.
    with pytest.raises(aiohttp.ClientResponseError) as caught:
        asyncio.run(model.achat(messages()))
    assert caught.value.status == refused.status
    assert refused.words not in str(caught.value)
    embeddings = GatedEmbeddings(model_id=CHAT, api_token=refused.token)
    with pytest.raises(requests.HTTPError) as caught:
        embeddings.get_query_embedding("ebb")
    assert refused.words in caught.value.response.text
    assert probe.seen() == []
