"""Fixtures of all suites."""

import aiohttp
import pytest
import requests

import gate

REAL = "https://api.deepinfra.com"


@pytest.fixture
def probe():
    """The mark of this test."""
    return gate.Probe()


@pytest.fixture(params=gate.REFUSED_TOKENS.values(), ids=gate.REFUSED_TOKENS)
def refused(request):
    """Each token that the gate refuses."""
    return request.param


@pytest.fixture
def wire(monkeypatch):
    """Adds headers to what `requests` and `aiohttp` send, for SDKs that take none, and leads to the gate what an SDK
    sends to its hard-coded address."""
    extra = {}
    send = requests.Session.request
    asend = aiohttp.ClientSession._request

    def request(self, method, url, **kwargs):
        kwargs["headers"] = {**(kwargs.get("headers") or {}), **extra}
        return send(self, method, url.replace(REAL, gate.URL), **kwargs)

    async def arequest(self, method, url, **kwargs):
        kwargs["headers"] = {**(kwargs.get("headers") or {}), **extra}
        return await asend(self, method, str(url).replace(REAL, gate.URL), **kwargs)

    monkeypatch.setattr(requests.Session, "request", request)
    monkeypatch.setattr(aiohttp.ClientSession, "_request", arequest)
    return extra
