"""The `openai` package: every route of the OpenAI surface, and its own exceptions. Run with two major versions."""

import asyncio
import base64
import json

import openai
import pytest
from gate import (
    BY_TOKEN, CHAT, EMBEDDINGS, IMAGES, KEY, PNG, QUESTION, REFUSALS, SAID, SCHEMA, SPEECH, TOOL, TRANSCRIPTION, URL,
    WAV,
)  # fmt: skip

ERRORS = {
    401: openai.AuthenticationError,
    402: openai.APIStatusError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    429: openai.RateLimitError,
    500: openai.InternalServerError,
    503: openai.InternalServerError,
}


@pytest.fixture(params=["/v1/openai", "/v1"])
def client(request, probe):
    """A client on each of the two prefixes."""
    return make(probe, prefix=request.param)


def make(probe, prefix="/v1/openai", key=KEY, **knobs):
    return openai.OpenAI(base_url=URL + prefix, api_key=key, default_headers=probe.headers(**knobs))


def ask(client, **extra):
    return client.chat.completions.create(model=CHAT, messages=QUESTION, **extra)


def test_a_chat_is_answered(client, probe):
    answer = ask(client)
    assert answer.choices[0].message.content.startswith(SAID)
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.model_extra["estimated_cost"] > 0
    assert json.loads(probe.one()["body"])["messages"] == QUESTION


def test_a_chat_streams_with_the_usage_that_nobody_asked_for(client):
    chunks = list(ask(client, stream=True))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text.startswith(SAID)
    assert len(chunks) > 8
    assert chunks[-1].usage.completion_tokens == 16
    assert chunks[-1].usage.model_extra["estimated_cost"] > 0


@pytest.mark.parametrize("shape", ["finish", "separate"])
def test_a_stream_whose_usage_is_asked_for_has_it_in_either_place(probe, shape):
    client = make(probe, usage_chunk=shape)
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
    assert [chunk.usage.completion_tokens for chunk in chunks if chunk.usage] == [16]
    assert bool(chunks[-1].choices) == (shape == "finish")


def test_a_stream_in_single_bytes_keeps_its_multi_byte_text(probe):
    client = make(probe, split=1, text="multibyte")
    chunks = list(ask(client, stream=True))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == ask(make(probe, text="multibyte")).choices[0].message.content
    assert "🌊" in text


def test_an_asynchronous_stream_is_the_same(probe):
    async def run():
        async with openai.AsyncOpenAI(
            base_url=f"{URL}/v1/openai", api_key=KEY, default_headers=probe.headers()
        ) as client:
            stream = await client.chat.completions.create(model=CHAT, messages=QUESTION, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert asyncio.run(run()).startswith(SAID)


def test_a_tool_is_called_and_its_answer_taken(client):
    message = ask(client, tools=[TOOL]).choices[0].message
    (call,) = message.tool_calls
    assert call.function.name == "tide_table"
    assert set(json.loads(call.function.arguments)) == {"place", "hours"}
    history = [*QUESTION, message, {"role": "tool", "tool_call_id": call.id, "content": "at six"}]
    answer = client.chat.completions.create(model=CHAT, messages=history, tools=[TOOL])
    assert answer.choices[0].message.content.startswith(SAID)


def test_a_tool_is_called_in_a_stream(client):
    name, arguments = "", ""
    for chunk in ask(client, tools=[TOOL], stream=True):
        for call in chunk.choices[0].delta.tool_calls or []:
            name += call.function.name or ""
            arguments += call.function.arguments or ""
    assert name == "tide_table"
    assert set(json.loads(arguments)) == {"place", "hours"}


def test_json_comes_when_json_is_asked_for(client):
    answer = ask(client, response_format={"type": "json_object"})
    assert isinstance(json.loads(answer.choices[0].message.content), dict)
    schema = {"type": "json_schema", "json_schema": {"name": "tide", "schema": SCHEMA}}
    answer = ask(client, response_format=schema)
    assert set(json.loads(answer.choices[0].message.content)) == {"place", "hours"}


def test_a_completion_is_answered_and_streams(client):
    answer = client.completions.create(model=CHAT, prompt="The tide")
    assert answer.choices[0].text.startswith(SAID)
    chunks = list(client.completions.create(model=CHAT, prompt="The tide", stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == answer.choices[0].text


def test_a_response_is_answered_and_streams(client):
    assert client.responses.create(model=CHAT, input="The tide").output_text.startswith(SAID)
    events = list(client.responses.create(model=CHAT, input="The tide", stream=True))
    assert events[-1].type == "response.completed"
    assert events[-1].response.usage.output_tokens == 16


def test_embeddings_come_as_numbers_and_as_base64(client):
    # The package asks for base64 by itself when nothing else is said.
    packed = client.embeddings.create(model=EMBEDDINGS, input=["ebb", "flow"])
    plain = client.embeddings.create(model=EMBEDDINGS, input=["ebb", "flow"], encoding_format="float")
    assert len(plain.data) == 2 and len(plain.data[0].embedding) > 8
    assert packed.data[1].embedding == pytest.approx(plain.data[1].embedding, abs=1e-6)
    assert plain.usage.prompt_tokens > 0


def test_images_are_made_edited_and_varied(client, probe):
    made = client.images.generate(model=IMAGES, prompt="a tide gate", n=2, size="64x64")
    assert len([base64.b64decode(image.b64_json) for image in made.data]) == 2
    image = ("pixel.png", PNG, "image/png")
    edited = client.images.edit(model=IMAGES, image=image, prompt="more water", size="256x256")
    assert base64.b64decode(edited.data[0].b64_json)
    varied = client.images.create_variation(model=IMAGES, image=image, size="256x256")
    assert base64.b64decode(varied.data[0].b64_json)
    kinds = [dict(request["headers"])["content-type"].split(";")[0] for request in probe.seen()]
    assert kinds == ["application/json", "multipart/form-data", "multipart/form-data"]


def test_speech_comes_as_bytes(client):
    sound = client.audio.speech.create(model=SPEECH, voice="af_bella", input=SAID, response_format="wav")
    assert sound.content.startswith(b"RIFF")
    with client.audio.speech.with_streaming_response.create(
        model=SPEECH, voice="af_bella", input=SAID, response_format="wav"
    ) as stream:
        assert b"".join(stream.iter_bytes(512)) == sound.content


def test_an_upload_is_transcribed_and_translated(client, probe):
    heard = client.audio.transcriptions.create(model=TRANSCRIPTION, file=("tide.wav", WAV))
    assert heard.text.startswith(SAID)
    assert client.audio.translations.create(model=TRANSCRIPTION, file=("tide.wav", WAV)).text.startswith(SAID)
    assert all(request["body_length"] > len(WAV) and request["body_complete"] for request in probe.seen())


@pytest.mark.parametrize("format", ["text", "srt", "vtt", "verbose_json"])
def test_a_transcription_comes_in_the_format_asked_for(probe, format):
    heard = make(probe).audio.transcriptions.create(
        model=TRANSCRIPTION, file=("tide.wav", WAV), response_format=format
    )
    said = heard if isinstance(heard, str) else heard.text
    assert "tide comes in" in " ".join(said.split())


def test_the_catalogue_is_listed(client):
    assert CHAT in {model.id for model in client.models.list()}


def test_the_request_id_that_the_client_chose_comes_back(probe):
    answer = make(probe).chat.completions.with_raw_response.create(
        model=CHAT, messages=QUESTION, extra_headers={"x-request-id": "ebb-and-flow"}
    )
    assert answer.headers["x-request-id"] == "ebb-and-flow"
    assert dict(probe.one()["headers"])["x-request-id"] == "ebb-and-flow"
    assert make(probe).chat.completions.create(model=CHAT, messages=QUESTION)._request_id


@pytest.mark.parametrize("name", ["xi-api-key", "x-api-key"])
def test_the_key_may_stand_in_another_header_and_never_goes_upstream(probe, name):
    answer = ask(make(probe), extra_headers={"Authorization": openai.Omit(), name: KEY})
    assert answer.choices[0].message.content.startswith(SAID)
    sent = probe.one()["headers"]
    assert KEY not in str(sent)
    assert name not in dict(sent)


@pytest.mark.parametrize("status", REFUSALS)
def test_a_refusal_is_the_packages_own_exception(probe, status):
    client = openai.OpenAI(base_url=f"{URL}/v1/openai", api_key=KEY, default_headers=probe.refusal(status))
    with pytest.raises(openai.APIStatusError) as caught:
        ask(client)
    assert type(caught.value) is ERRORS[status]
    assert caught.value.status_code == status
    assert caught.value.body["message"]
    assert len(probe.seen()) == (3 if REFUSALS[status] else 1)


@pytest.mark.parametrize("status", REFUSALS)
def test_a_refused_upload_is_the_same_exception(probe, status):
    client = openai.OpenAI(
        base_url=f"{URL}/v1/openai", api_key=KEY, default_headers=probe.refusal(status), max_retries=0
    )
    with pytest.raises(ERRORS[status]):
        client.audio.transcriptions.create(model=TRANSCRIPTION, file=("tide.wav", WAV))
    assert len(probe.seen()) == 1


def test_a_refused_stream_raises_before_its_first_chunk(probe):
    with pytest.raises(openai.APIStatusError) as caught:
        ask(make(probe, status=402), stream=True)
    assert caught.value.status_code == 402
    assert len(probe.seen()) == 1


def test_an_error_in_the_middle_of_a_stream_raises(probe):
    with pytest.raises(openai.APIError, match="broke off"):
        list(ask(make(probe, error_after=3, error_frame="openai"), stream=True))


def test_a_broken_stream_is_no_quiet_end(probe):
    with pytest.raises(Exception) as caught:
        list(ask(make(probe, abort_after=3), stream=True))
    assert "ProtocolError" in type(caught.value).__name__ or isinstance(caught.value, openai.APIConnectionError)


def test_a_wrong_key_is_refused_by_the_gate_itself(probe):
    with pytest.raises(openai.AuthenticationError) as caught:
        ask(make(probe, key="not-a-key-of-anybody-here"))
    assert caught.value.code == "invalid_credentials"
    assert caught.value.body["message"] in caught.value.message
    assert caught.value.response.headers["x-tidegate-error"] == "invalid_credentials"
    assert probe.seen() == []


def test_two_keys_that_differ_are_refused(probe):
    client = make(probe).with_options(default_headers={"x-api-key": "another-key-of-somebody"})
    with pytest.raises(openai.AuthenticationError):
        ask(client)
    assert probe.seen() == []


def test_a_route_that_is_not_in_the_table_is_refused(probe):
    # A token is not told what there is.
    with pytest.raises(openai.PermissionDeniedError if BY_TOKEN else openai.NotFoundError) as caught:
        make(probe).files.list()
    assert caught.value.code == ("route_not_allowed" if BY_TOKEN else "unknown_route")
    assert probe.seen() == []


def test_a_call_without_a_model_is_a_bad_request(probe):
    with pytest.raises(openai.BadRequestError) as caught:
        make(probe).post("/chat/completions", body={"messages": QUESTION}, cast_to=object)
    assert caught.value.code == "missing_model"
    assert probe.seen() == []


def test_a_refused_token_raises_with_the_gates_own_words(probe, refused):
    client = make(probe, key=refused.token)
    for call in (
        lambda: ask(client),
        lambda: ask(client, stream=True),
        lambda: client.responses.create(model=CHAT, input="The tide"),
        lambda: client.audio.transcriptions.create(model=CHAT, file=("tide.wav", WAV)),
    ):
        with pytest.raises(openai.APIStatusError) as caught:
            call()
        assert type(caught.value) is ERRORS[refused.status]
        assert caught.value.code == refused.code
        assert refused.words in str(caught.value)
    assert probe.seen() == []
