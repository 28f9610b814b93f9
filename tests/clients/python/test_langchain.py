"""`langchain-community`: ChatDeepInfra takes a URL, the DeepInfra model's `_url` can be overridden, DeepInfraEmbeddings
has its address inside a function and is led to the gate at the transport."""

import asyncio

import pytest
from gate import CHAT, EMBEDDINGS, KEY, REFUSALS, SAID, TOOL, URL
from langchain_community.chat_models.deepinfra import ChatDeepInfra, ChatDeepInfraException
from langchain_community.embeddings.deepinfra import DeepInfraEmbeddings
from langchain_community.llms.deepinfra import DeepInfra


class GatedDeepInfra(DeepInfra):
    def _url(self):
        return f"{URL}/v1/inference/{self.model_id}"


@pytest.fixture
def chat(wire, probe):
    wire.update(probe.headers())
    return ChatDeepInfra(model=CHAT, url=f"{URL}/v1/openai/chat/completions", deepinfra_api_token=KEY)


@pytest.fixture
def text(wire, probe):
    wire.update(probe.headers())
    return GatedDeepInfra(model_id=CHAT, deepinfra_api_token=KEY)


@pytest.fixture
def embeddings(wire, probe):
    wire.update(probe.headers())
    return DeepInfraEmbeddings(model_id=EMBEDDINGS, deepinfra_api_token=KEY)


def test_a_chat_is_answered(chat):
    assert chat.invoke("The tide").content.startswith(SAID)


def test_a_chat_is_answered_asynchronously(chat):
    assert asyncio.run(chat.ainvoke("The tide")).content.startswith(SAID)


def test_a_chat_streams(chat):
    chunks = list(chat.stream("The tide"))
    assert "".join(chunk.content for chunk in chunks).startswith(SAID)
    assert len(chunks) > 8


def test_a_chat_streams_asynchronously(chat):
    # Without this the package's `astream` asks for `"stream": false` and then finds no events.
    chat.streaming = True

    async def run():
        return [chunk.content async for chunk in chat.astream("The tide")]

    assert "".join(asyncio.run(run())).startswith(SAID)


def test_a_tool_is_called(chat):
    (call,) = chat.bind_tools([TOOL]).invoke("The tide").tool_calls
    assert call["name"] == "tide_table"
    assert set(call["args"]) == {"place", "hours"}


def test_json_comes_when_json_is_asked_for(chat):
    answer = chat.invoke("The tide", response_format={"type": "json_object"})
    assert answer.content.startswith("{")


def test_a_text_is_generated(text):
    assert text.invoke("The tide").startswith(SAID)
    assert asyncio.run(text.ainvoke("The tide")).startswith(SAID)


def test_a_text_streams(text):
    assert "".join(text.stream("The tide")).startswith(SAID)


def test_embeddings_are_made(embeddings, probe):
    assert len(embeddings.embed_documents(["ebb", "flow"])) == 2
    assert len(embeddings.embed_query("ebb")) > 8
    assert {request["path"] for request in probe.seen()} == {f"/v1/inference/{EMBEDDINGS}"}


@pytest.mark.parametrize("status", REFUSALS)
def test_a_refused_chat_raises(chat, wire, probe, status):
    wire.update(probe.refusal(status))
    with pytest.raises(ChatDeepInfraException if status >= 500 else ValueError):
        chat.invoke("The tide")
    assert len(probe.seen()) == 1


def test_a_402_is_not_tried_again_even_when_tries_are_left(chat, wire, probe):
    chat.max_retries = 3
    wire.update(probe.refusal(402))
    with pytest.raises(ValueError, match="positive balance"):
        chat.invoke("The tide")
    assert len(probe.seen()) == 1


@pytest.mark.parametrize("status", REFUSALS)
def test_a_refused_text_raises(text, wire, probe, status):
    wire.update(probe.refusal(status))
    words = {
        401: "Unauthorized",
        402: "positive balance",
        403: "Unauthorized",
        404: "Model not found",
        429: "Rate limit exceeded",
        500: "Server: Error",
        503: "Server: Error",
    }
    with pytest.raises(ValueError if status == 402 else Exception, match=words[status]):
        text.invoke("The tide")
    assert len(probe.seen()) == 1


@pytest.mark.parametrize("status", REFUSALS)
def test_refused_embeddings_raise(embeddings, wire, probe, status):
    wire.update(probe.refusal(status))
    with pytest.raises(ValueError, match=f"HTTP code: {status}"):
        embeddings.embed_query("ebb")
    assert len(probe.seen()) == 1


def test_a_wrong_key_is_refused_by_the_gate_itself(wire, probe):
    wire.update(probe.headers())
    text = GatedDeepInfra(model_id=CHAT, deepinfra_api_token="not-a-key-of-anybody-here")
    with pytest.raises(Exception, match="Unauthorized"):
        text.invoke("The tide")
    assert probe.seen() == []


def test_a_refused_token_raises_with_the_gates_own_words_but_for_texts(chat, text, embeddings, probe, refused):
    embeddings.model_id = CHAT
    for model in (chat, text, embeddings):
        model.deepinfra_api_token = refused.token
    with pytest.raises(ValueError, match=refused.words):
        chat.invoke("The tide")
    with pytest.raises(ValueError, match=refused.words):
        embeddings.embed_query("ebb")
    # It has one word for 401 and 403.
    with pytest.raises(Exception, match="^DeepInfra Server: Unauthorized$"):
        text.invoke("The tide")
    assert probe.seen() == []
