"""The HTTP edge: the Starlette application, who may enter it, and how a failure leaves it."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from anyio import CapacityLimiter
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from proxy.config import ServerConfig
from proxy.errors import (
    INTERNAL,
    HostRefused,
    MethodNotAllowed,
    RouteNotFound,
    Unauthorized,
    error_body,
    reply_for,
)
from proxy.loop_lag import watch_loop
from proxy.pipeline import LOCAL_TENANT
from proxy.routes import ROUTES
from proxy.wiring import Services

WAITING = 256
"""Requests that may wait in threads, see `routes.wait_for`; later ones wait for a thread."""
log = logging.getLogger("et2l.http")

OPEN_PATHS = frozenset({"/", "/health"})
"""Reachable without an API key: they show nothing that anybody asked."""
REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def create_app(config: ServerConfig, start: Callable[[], Services]) -> Starlette:
    """The application. `start` builds its parts when the server starts; they are closed when it stops."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
        services = start()
        watch = asyncio.create_task(watch_loop(services.metrics.loop_lag_seconds.observe))
        try:
            yield {"services": services, "waiting": CapacityLimiter(WAITING)}
        finally:
            watch.cancel()
            services.close()

    return Starlette(
        routes=ROUTES,
        lifespan=lifespan,
        middleware=[Middleware(Edge, config=config)],
        exception_handlers={HTTPException: answer_http_exception},
    )


async def answer_http_exception(request: Request, exc: Exception) -> Response:
    """The router's own 404 and 405, in OpenAI's shape."""
    assert isinstance(exc, HTTPException)
    if exc.status_code == 405:
        wrong = MethodNotAllowed(f"Not allowed: {request.method} {request.url.path}")
        return error_response(wrong, {"allow": (exc.headers or {}).get("Allow", "")})
    return error_response(RouteNotFound(f"Invalid URL ({request.method} {request.url.path})"))


def error_response(exc: BaseException, headers: dict[str, str] | None = None) -> JSONResponse:
    row = reply_for(exc)
    retry = {"retry-after": "1"} if row.status in (429, 503) else {}
    return JSONResponse(error_body(exc), row.status, {**(headers or {}), **retry})


class Edge:
    """The outermost layer: names each request, checks Host, Origin and API key, logs, and turns what nobody
    caught into an answer. Sets `tenant` and `request_id` in the request's state.
    """

    def __init__(self, app: ASGIApp, config: ServerConfig) -> None:
        self.app = app
        self.allowed_hosts = frozenset(host.lower() for host in config.allowed_hosts)
        self.tenants = {key.encode(): tenant_of(key) for key in config.api_keys}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        request_id = chosen_request_id(request.headers.get("x-request-id"))
        started, status = time.perf_counter(), 0

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            self.check_host(request)
            request.state.tenant = self.tenant(request)
            request.state.request_id = request_id
            await self.app(scope, receive, send_named)
        except Exception as exc:  # the outermost edge
            if reply_for(exc) is INTERNAL:
                log.exception("%s %s failed [%s]", request.method, request.url.path, request_id)
            if status:
                raise  # the answer has begun; the server cuts the connection
            await error_response(exc)(scope, receive, send_named)
        finally:
            took = time.perf_counter() - started
            log.info("%s %s %d %.3f s [%s]", request.method, request.url.path, status, took, request_id)
            services = scope.get("state", {}).get("services")
            if services is not None:
                services.metrics.count_request(request.url.path, status, took)

    def check_host(self, request: Request) -> None:
        """A page of another site that resolves its name to this machine, or posts here, is not a client."""
        host = without_port(request.headers.get("host", ""))
        if "*" not in self.allowed_hosts and host not in self.allowed_hosts:
            raise HostRefused(f"Host {host!r} is not in server.allowed_hosts")
        origin = request.headers.get("origin", "")
        web_page = origin == "null" or origin.startswith(("http://", "https://"))
        if web_page and without_port(urlsplit(origin).netloc) != host:
            raise HostRefused(f"requests from web pages of {origin} are refused")

    def tenant(self, request: Request) -> str:
        if not self.tenants:
            return LOCAL_TENANT
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        found = None
        for key, tenant in self.tenants.items():  # all of them, so that time tells nothing
            if hmac.compare_digest(key, given.strip().encode("latin-1")) and scheme.lower() == "bearer":
                found = tenant
        if found is None and request.url.path not in OPEN_PATHS:
            raise Unauthorized("Incorrect API key provided: send one of server.api_keys as a bearer token.")
        return found or LOCAL_TENANT


def tenant_of(key: str) -> str:
    """The name of a key's owner in rows and logs; the key itself is stored nowhere."""
    return hashlib.sha256(b"et2l tenant\0" + key.encode()).hexdigest()[:16]


def chosen_request_id(given: str | None) -> str:
    return given if given and REQUEST_ID.fullmatch(given) else f"req_{secrets.token_hex(12)}"


def without_port(host: str) -> str:
    """`[::1]:8000` -> `[::1]`, `localhost:8000` -> `localhost`."""
    return re.sub(r":\d*$", "", host.strip().lower()) if not host.endswith("]") else host.strip().lower()
