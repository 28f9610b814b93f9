"""Calls that carry a webhook: what is delivered is checked by the libraries that receivers use."""

import http.server
import json
import os
import queue
import threading
import time
import urllib.request

import openai
import pytest
import standardwebhooks
import svix

import gate

ADMIN = os.environ["TIDEGATE_ADMIN_URL"]
SECRET = os.environ["TIDEGATE_WEBHOOK_SECRET"]
NATIVE = f"{gate.URL}/v1/inference/{gate.CHAT}"

VERIFIERS = [
    pytest.param((standardwebhooks.Webhook, standardwebhooks.WebhookVerificationError), id="standardwebhooks"),
    pytest.param((svix.Webhook, svix.WebhookVerificationError), id="svix"),
]


class Receiver:
    """A server on loopback that takes deliveries, after as many refusals as asked for."""

    def __init__(self, refusals=0):
        got, left = queue.Queue(), [refusals]

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                got.put(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(503 if left[0] else 200)
                left[0] = max(left[0] - 1, 0)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        self.delivered = lambda: got.get(timeout=20)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.server.shutdown()


def post(url, body, key, headers=None):
    request = urllib.request.Request(
        url,
        data=json.dumps(body).encode(),
        headers={"authorization": f"Bearer {key}", "content-type": "application/json", **(headers or {})},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def job(id):
    request = urllib.request.Request(f"{gate.URL}/v1/jobs/{id}", headers={"authorization": f"Bearer {gate.KEY}"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


@pytest.mark.parametrize("verifier", VERIFIERS)
def test_a_delivery_is_genuine_and_a_changed_one_is_not(receiver, verifier):
    kind, refused = verifier
    queued = post(NATIVE, {"input": "The tide", "webhook": receiver.url}, gate.KEY)
    assert queued["inference_status"]["status"] == "queued"
    headers, body = receiver.delivered()
    kind(SECRET).verify(body, headers)
    delivered = json.loads(body)
    assert delivered["request_id"] == queued["request_id"] == headers["webhook-id"]
    assert delivered["results"][0]["generated_text"].startswith(gate.SAID)
    for at in range(0, len(body), 7):
        changed = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
        with pytest.raises(refused):
            kind(SECRET).verify(changed, headers)
    for name, value in [("webhook-id", "R" + "0" * 23), ("webhook-timestamp", str(int(time.time()) - 1))]:
        with pytest.raises(refused):
            kind(SECRET).verify(body, {**headers, name: value})


def test_openai_asks_for_it_with_a_header(receiver):
    client = openai.OpenAI(base_url=f"{gate.URL}/v1/openai", api_key=gate.KEY)
    answer = client.chat.completions.with_raw_response.create(
        model=gate.CHAT, messages=gate.QUESTION, extra_headers={"x-tidegate-webhook": receiver.url}
    )
    queued = json.loads(answer.text)
    headers, body = receiver.delivered()
    delivered = standardwebhooks.Webhook(SECRET).verify(body, headers)
    completion = openai.types.chat.ChatCompletion.model_validate(delivered)
    assert completion.choices[0].message.content.startswith(gate.SAID)
    assert delivered["request_id"] == queued["request_id"]


def test_a_receiver_that_refuses_gets_it_again_with_another_signature():
    receiver = Receiver(refusals=2)
    queued = post(NATIVE, {"input": "The tide", "webhook": receiver.url}, gate.KEY)
    deliveries = [receiver.delivered() for _ in range(3)]
    assert len({body for _, body in deliveries}) == 1
    for headers, body in deliveries:
        assert headers["webhook-id"] == queued["request_id"]
        standardwebhooks.Webhook(SECRET).verify(body, headers)
    deadline = time.monotonic() + 20
    while job(queued["request_id"])["status"] != "delivered":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert [attempt["status"] for attempt in job(queued["request_id"])["attempts"]] == [503, 503, 200]
    receiver.server.shutdown()


def test_a_failure_is_delivered_as_one(receiver):
    refusal = gate.Probe().refusal(404)
    queued = post(NATIVE, {"input": "The tide", "webhook": receiver.url}, gate.KEY, refusal)
    headers, body = receiver.delivered()
    delivered = standardwebhooks.Webhook(SECRET).verify(body, headers)
    assert delivered["request_id"] == queued["request_id"]
    assert delivered["inference_status"] == {"status": "failed", "runtime_ms": 0, "cost": 0.0}
    assert delivered["error"]


@pytest.mark.parametrize("verifier", VERIFIERS)
def test_both_secrets_are_good_while_one_takes_over(receiver, verifier):
    if gate.BY_TOKEN:
        pytest.skip("the account's key rotates its secret")
    kind, refused = verifier
    rotate = f"{ADMIN}/api/v1/accounts/di:2000000000000/webhook-secret/rotate"
    first = post(rotate, {}, "none")["secret"]
    second = post(rotate, {"grace": "1h"}, "none")["secret"]
    post(NATIVE, {"input": "The tide", "webhook": receiver.url}, gate.MANAGER_KEY)
    headers, body = receiver.delivered()
    kind(first).verify(body, headers)
    kind(second).verify(body, headers)
    with pytest.raises(refused):
        kind(SECRET).verify(body, headers)
    third = post(rotate, {"grace": "0s"}, "none")["secret"]
    post(NATIVE, {"input": "The tide", "webhook": receiver.url}, gate.MANAGER_KEY)
    headers, body = receiver.delivered()
    kind(third).verify(body, headers)
    with pytest.raises(refused):
        kind(second).verify(body, headers)
