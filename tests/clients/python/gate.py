"""What every Python suite shares: the address of the gate, the models, and a mark by which the upstream tells tests apart."""

import json
import os
import struct
import typing
import urllib.request
import uuid
import zlib

URL = os.environ["TIDEGATE_URL"]
# The suites run twice: once with a scoped token where an API key goes.
BY_TOKEN = "TIDEGATE_TOKEN" in os.environ
KEY = os.environ["TIDEGATE_TOKEN"] if BY_TOKEN else os.environ["TIDEGATE_API_KEY"]
MANAGER_KEY = os.environ["TIDEGATE_MANAGER_KEY"]
UPSTREAM = os.environ["TIDEGATE_SIMULATED_UPSTREAM"]

CHAT = "meta-llama/Llama-3.3-70B-Instruct"
EMBEDDINGS = "BAAI/bge-m3"
IMAGES = "black-forest-labs/FLUX-1-schnell"
SPEECH = "hexgrad/Kokoro-82M"
TRANSCRIPTION = "openai/whisper-large-v3"

SAID = "The tide comes in and the gate opens."
QUESTION = [{"role": "user", "content": "What does the tide do?"}]
SCHEMA = {
    "type": "object",
    "properties": {"place": {"type": "string"}, "hours": {"type": "integer"}},
    "required": ["place", "hours"],
}
TOOL = {
    "type": "function",
    "function": {"name": "tide_table", "description": "When the tide turns.", "parameters": SCHEMA},
}

# A tenth of a second of silence: 8 kHz, mono, 16 bits.
WAV = struct.pack(
    "<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + 1600, b"WAVE", b"fmt ", 16, 1, 1, 8000, 16000, 2, 16, b"data", 1600
) + bytes(1600)


def _chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


# One grey pixel.
PNG = (
    b"\x89PNG\r\n\x1a\n"
    + _chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    + _chunk(b"IDAT", zlib.compress(b"\x00\x80"))
    + _chunk(b"IEND", b"")
)

# Statuses of an upstream's refusal, and whether a client that honours statuses may try again.
REFUSALS = {401: False, 402: False, 403: False, 404: False, 429: True, 500: True, 503: True}


class RefusedToken(typing.NamedTuple):
    """A token that the gate refuses, and how it says so."""

    token: str
    status: int
    code: str
    words: str


REFUSED_TOKENS = {
    "for another model": RefusedToken(
        os.environ["TIDEGATE_NARROW_TOKEN"], 403, "model_not_allowed", f"this token is not for the model `{CHAT}`"
    ),
    "expired": RefusedToken(os.environ["TIDEGATE_EXPIRED_TOKEN"], 401, "token_expired", "the token has expired"),
}


class Probe:
    """One test's mark on its calls, and what the upstream saw under that mark."""

    def __init__(self):
        self.id = uuid.uuid4().hex

    def headers(self, **knobs):
        """The mark and `x-sim-*` headers, which ask the simulated upstream for one behaviour."""
        knobs = {f"x-sim-{name.replace('_', '-')}": str(value) for name, value in knobs.items()}
        return {"x-test-probe": self.id, **knobs}

    def refusal(self, status):
        """Asks for a refusal, and for a short wait from clients that wait as long as they are told."""
        return self.headers(status=status, header="retry-after-ms: 1")

    def seen(self, path=None):
        """The requests that reached the upstream."""
        with urllib.request.urlopen(f"{UPSTREAM}/_sim/requests", timeout=10) as answer:
            requests = json.load(answer)["requests"]
        return [
            request
            for request in requests
            if ["x-test-probe", self.id] in request["headers"] and path in (None, request["path"])
        ]

    def one(self):
        """The one request that reached the upstream."""
        (request,) = self.seen()
        return request
