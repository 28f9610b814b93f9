"""The `deepinfra` package: native calls. A whole URL in place of a model's name leads them to the gate."""

import asyncio
import dataclasses

import deepinfra
import pytest
from gate import CHAT, EMBEDDINGS, IMAGES, KEY, REFUSALS, SAID, TRANSCRIPTION, URL, WAV

ERRORS = {
    401: deepinfra.AuthenticationError,
    402: deepinfra.APIStatusError,
    403: deepinfra.PermissionDeniedError,
    404: deepinfra.NotFoundError,
    429: deepinfra.RateLimitError,
    500: deepinfra.InternalServerError,
    503: deepinfra.CapacityError,
}


def make(kind, model, headers, key=KEY):
    made = kind(f"{URL}/v1/inference/{model}", key)
    made.client._sync().headers.update(headers)
    return made


def test_a_text_is_generated(probe):
    answer = make(deepinfra.TextGeneration, CHAT, probe.headers()).generate({"input": "The tide"})
    assert dataclasses.asdict(answer)["results"][0]["generated_text"].startswith(SAID)
    assert probe.one()["path"] == f"/v1/inference/{CHAT}"


def test_embeddings_are_made(probe):
    answer = make(deepinfra.Embeddings, EMBEDDINGS, probe.headers()).generate({"inputs": ["ebb", "flow"]})
    assert len(answer.embeddings) == 2


def test_an_image_is_made(probe):
    answer = make(deepinfra.TextToImage, IMAGES, probe.headers()).generate({"prompt": "a tide gate"})
    assert answer.images[0].startswith("data:image/png;base64,")


def test_an_upload_is_transcribed(probe):
    model = make(deepinfra.AutomaticSpeechRecognition, TRANSCRIPTION, probe.headers())
    assert model.generate({"audio": WAV, "language": "en"}).text.startswith(SAID)
    request = probe.one()
    assert dict(request["headers"])["content-type"].startswith("multipart/form-data")
    assert request["body_length"] > len(WAV)


def test_the_client_streams_synchronously_and_not(probe):
    client = deepinfra.DeepInfraClient(KEY, base_url=URL)
    spec = deepinfra.RequestSpec(
        "POST",
        f"/v1/inference/{CHAT}",
        json={"input": "The tide", "stream": True},
        headers=probe.headers(),
    )
    with client.stream(spec) as answer:
        events = [line for line in answer.iter_lines() if line.startswith("data: {")]
    assert len(events) > 8

    async def run():
        answer = await client.arequest(dataclasses.replace(spec, json={"input": "The tide"}))
        await client.aclose()
        return answer.json()

    assert asyncio.run(run())["results"][0]["generated_text"].startswith(SAID)


@pytest.mark.parametrize("status", REFUSALS)
def test_a_refusal_is_the_packages_own_exception_and_never_tried_again(probe, status):
    model = make(deepinfra.TextGeneration, CHAT, probe.refusal(status))
    with pytest.raises(deepinfra.APIStatusError) as caught:
        model.generate({"input": "The tide"})
    assert type(caught.value) is ERRORS[status]
    assert caught.value.status_code == status
    assert "{" not in caught.value.message, "the message was found inside the body"
    assert len(probe.seen()) == 1


def test_a_wrong_key_is_refused_by_the_gate_itself(probe):
    model = make(deepinfra.TextGeneration, CHAT, probe.headers(), key="not-a-key-of-anybody-here")
    with pytest.raises(deepinfra.AuthenticationError) as caught:
        model.generate({"input": "The tide"})
    assert caught.value.message == caught.value.response.json()["detail"]["error"]
    assert caught.value.response.headers["x-tidegate-error"] == "invalid_credentials"
    assert probe.seen() == []


def test_a_refused_token_raises_with_the_gates_own_words(probe, refused):
    text = make(deepinfra.TextGeneration, CHAT, probe.headers(), key=refused.token)
    upload = make(deepinfra.AutomaticSpeechRecognition, CHAT, probe.headers(), key=refused.token)
    for call in (lambda: text.generate({"input": "The tide"}), lambda: upload.generate({"audio": WAV})):
        with pytest.raises(ERRORS[refused.status]) as caught:
            call()
        assert refused.words in str(caught.value)
        assert caught.value.response.json()["detail"]["code"] == refused.code
    assert probe.seen() == []
