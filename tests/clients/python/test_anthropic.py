"""The `anthropic` package: messages, streams, tools, counting, and its own exceptions."""

import anthropic
import pytest
from gate import CHAT, KEY, QUESTION, REFUSALS, SAID, SCHEMA, URL

ERRORS = {
    401: anthropic.AuthenticationError,
    402: anthropic.APIStatusError,
    403: anthropic.PermissionDeniedError,
    404: anthropic.NotFoundError,
    429: anthropic.RateLimitError,
    500: anthropic.InternalServerError,
    503: anthropic.InternalServerError,
}
TOOL = {"name": "tide_table", "description": "When the tide turns.", "input_schema": SCHEMA}


def make(headers, **credentials):
    credentials = credentials or {"api_key": KEY}
    return anthropic.Anthropic(base_url=f"{URL}/anthropic", default_headers=headers, **credentials)


def ask(client, **extra):
    return client.messages.create(model=CHAT, max_tokens=64, messages=QUESTION, **extra)


def test_a_message_is_answered_with_the_key_in_x_api_key(probe):
    answer = ask(make(probe.headers()))
    assert answer.content[0].text.startswith(SAID)
    assert answer.usage.output_tokens == 16
    sent = dict(probe.one()["headers"])
    assert "x-api-key" not in sent
    assert sent["anthropic-version"]


def test_a_message_is_answered_with_the_key_as_a_bearer_token(probe, monkeypatch):
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    assert ask(make(probe.headers(), auth_token=KEY)).content[0].text.startswith(SAID)


def test_a_message_streams(probe):
    client = make(probe.headers())
    with client.messages.stream(model=CHAT, max_tokens=64, messages=QUESTION) as stream:
        assert "".join(stream.text_stream).startswith(SAID)
        assert stream.get_final_message().usage.output_tokens == 16
    events = [event.type for event in ask(client, stream=True)]
    assert (events[0], events[-1]) == ("message_start", "message_stop")


def test_a_tool_is_called_and_its_answer_taken(probe):
    client = make(probe.headers())
    answer = ask(client, tools=[TOOL])
    call = answer.content[-1]
    assert (answer.stop_reason, call.name, set(call.input)) == ("tool_use", "tide_table", {"place", "hours"})
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "at six"}
    history = [*QUESTION, {"role": "assistant", "content": answer.content}, {"role": "user", "content": [result]}]
    again = client.messages.create(model=CHAT, max_tokens=64, messages=history, tools=[TOOL])
    assert again.content[0].text.startswith(SAID)


def test_tokens_are_counted(probe):
    assert make(probe.headers()).messages.count_tokens(model=CHAT, messages=QUESTION).input_tokens > 0


@pytest.mark.parametrize("status", REFUSALS)
def test_a_refusal_is_the_packages_own_exception(probe, status):
    with pytest.raises(anthropic.APIStatusError) as caught:
        ask(make(probe.refusal(status)))
    expected = getattr(anthropic, "ServiceUnavailableError", ERRORS[503]) if status == 503 else ERRORS[status]
    assert isinstance(caught.value, expected)
    assert caught.value.status_code == status
    assert caught.value.body["error"]["message"]
    assert len(probe.seen()) == (3 if REFUSALS[status] else 1)


def test_a_wrong_key_is_refused_by_the_gate_itself(probe):
    with pytest.raises(anthropic.AuthenticationError) as caught:
        ask(make(probe.headers(), api_key="not-a-key-of-anybody-here"))
    assert caught.value.body["type"] == "error"
    assert caught.value.body["error"]["type"] == "authentication_error"
    assert caught.value.response.headers["x-tidegate-error"] == "invalid_credentials"
    assert probe.seen() == []


def test_a_refused_token_raises_with_the_gates_own_words(probe, refused):
    for credentials in ({"api_key": refused.token}, {"auth_token": refused.token}):
        client = make(probe.headers(), **credentials)
        for call in (
            lambda: ask(client),
            lambda: ask(client, stream=True),
            lambda: client.messages.count_tokens(model=CHAT, messages=QUESTION),
        ):
            with pytest.raises(anthropic.APIStatusError) as caught:
                call()
            assert type(caught.value) is ERRORS[refused.status]
            assert caught.value.response.headers["x-tidegate-error"] == refused.code
            assert refused.words in str(caught.value)
    assert probe.seen() == []
