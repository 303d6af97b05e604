"""Which HTTP path goes where."""

from __future__ import annotations

import json
from collections.abc import Callable

from rusd.gateway.health import Health
from rusd.net import HttpRequest, HttpResponse
from rusd.version import ETCD_VERSION, storage_version

_TEXT = (b"Content-Type", b"text/plain; charset=utf-8")
_NOSNIFF = (b"X-Content-Type-Options", b"nosniff")
_CORS = (
    (b"Access-Control-Allow-Headers", b"accept, content-type, authorization"),
    (b"Access-Control-Allow-Methods", b"POST, GET, OPTIONS, PUT, DELETE"),
    (b"Access-Control-Allow-Origin", b"*"),
)


class Routes:
    """The HTTP handler of a client listener.  ``cluster_version`` tells the one agreed on, or ""."""

    def __init__(self, health: Health, cluster_version: Callable[[], str]) -> None:
        self._health = health
        self._cluster_version = cluster_version

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer one request."""
        if request.method == "OPTIONS":
            return HttpResponse(200, list(_CORS), b"")
        response = await self._route(request)
        return HttpResponse(response.status, [*_CORS, *response.headers], response.body)

    async def _route(self, request: HttpRequest) -> HttpResponse:
        path, _, query = request.target.partition("?")
        head, slash, name = path.removeprefix("/").partition("/")
        if head not in ("health", "livez", "readyz", "version"):
            return not_found()
        if slash and (not name or head in ("health", "version")):
            return not_found()
        if request.method != "GET":
            return method_not_allowed("GET")
        if head == "version":
            return version_response(self._cluster_version())
        if head == "health":
            return await self._health.health(query)
        ask = self._health.livez if head == "livez" else self._health.readyz
        return await ask(name, query) or not_found()


def version_response(cluster_version: str) -> HttpResponse:
    """What ``/version`` answers when that cluster version, or none yet, is agreed on."""
    body = {
        "etcdserver": ETCD_VERSION,
        "etcdcluster": cluster_version or "not_decided",
        "storage": storage_version(cluster_version) or "unknown",
    }
    return json_response(body)


def json_response(value: object, *, status: int = 200, newline: bool = False) -> HttpResponse:
    """``value`` as Go writes JSON: without spaces; ``newline``: with one at its end."""
    encoded = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    return HttpResponse(status, [(b"Content-Type", b"application/json")], encoded + b"\n" * newline)


def text_response(status: int, text: str) -> HttpResponse:
    """As Go's HTTP server answers with an error: a line of text."""
    return HttpResponse(status, [_TEXT, _NOSNIFF], text.encode() + b"\n")


def not_found() -> HttpResponse:
    """As Go's HTTP server answers what it does not know."""
    return text_response(404, "404 page not found")


def method_not_allowed(allowed: str) -> HttpResponse:
    """For another method than the one ``allowed``; it is told unless it is empty."""
    response = text_response(405, "Method Not Allowed")
    headers = [*response.headers, (b"Allow", allowed.encode())] if allowed else response.headers
    return HttpResponse(response.status, headers, response.body)
