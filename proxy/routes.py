"""The routes (docs/clients.md lists them): read the body, call the part that knows, answer. Decides nothing itself."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from anyio.to_thread import run_sync
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from proxy.adaptation import adapter_json
from proxy.bodies import (
    ChatRequest,
    CompletionRequest,
    parse_adapter_request,
    parse_chat_request,
    parse_completion_request,
    parse_embedding_request,
    parse_feedback,
    parse_load_lora,
    parse_unload_lora,
)
from proxy.downloads import TemporaryFile, zip_peft
from proxy.engine.api import AdapterUnusable
from proxy.errors import BadRequest, BodyTooLarge, ModelNotFound
from proxy.metrics import CONTENT_TYPE
from proxy.pipeline import Caller
from proxy.replies import Reply
from proxy.streaming import ClientGone, EventStream, events, unless_gone, whole
from proxy.wiring import Services

T = TypeVar("T")
DASHBOARD = Path(__file__).with_name("dashboard.html")
GONE = Response(status_code=499)
"""What the log says of a client that left; nobody reads it."""


def services_of(request: Request) -> Services:
    return request.state.services


async def wait_for(request: Request, work: Callable[..., T], *args: object) -> T:
    """`work(*args)` in a thread that may wait long, for an adapter or a build to be made: not one of those that all
    other routes share.
    """
    return await run_sync(work, *args, limiter=request.state.waiting)


async def read_body(request: Request) -> bytes:
    """Raises BodyTooLarge as soon as the limit is passed."""
    limit = services_of(request).config.server.max_body_bytes
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise BodyTooLarge(f"the request body is larger than {limit} bytes (server.max_body_bytes)")
        parts.append(part)
    return b"".join(parts)


def caller_of(request: Request) -> Caller:
    given = request.headers.get("x-et2l-task", "").strip()
    raw = given.encode("latin-1")
    try:
        task = raw.decode("utf-8")  # what curl and most clients send; HTTP itself says latin-1
    except UnicodeDecodeError:
        task = given
    return Caller(request.state.tenant, task or None)


# --- answers ------------------------------------------------------------------------------------------------


async def chat_completions(request: Request) -> Response:
    return await answer(request, parse_chat_request)


async def completions(request: Request) -> Response:
    return await answer(request, parse_completion_request)


async def answer(request: Request, parse: Callable[..., ChatRequest | CompletionRequest]) -> Response:
    """Everything that can still become a 4xx or 5xx happens before the first byte, which comes with the first
    token.
    """
    arrived = time.perf_counter()
    services, body, caller = services_of(request), await read_body(request), caller_of(request)

    def begin(unusable: AdapterUnusable | None) -> tuple[bool, Reply]:
        parsed = parse(body, services.sampling)
        return parsed.options.stream, services.pipeline.answer(parsed, caller, unusable)

    async def respond(unusable: AdapterUnusable | None = None) -> Response:
        stream, reply = await wait_for(request, begin, unusable)
        try:
            if not stream:
                return JSONResponse(await unless_gone(request, whole(reply)), headers=dict(reply.headers))
            rest = events(reply)
            first = await unless_gone(request, anext(rest))
        except BaseException:
            reply.close()
            raise
        services.metrics.first_token_seconds.observe(time.perf_counter() - arrived)
        return EventStream(reply, first, rest)  # closes the reply

    try:
        try:
            return await respond()
        except AdapterUnusable as exc:
            return await respond(exc)
    except ClientGone:
        return GONE


async def embeddings(request: Request) -> Response:
    services = services_of(request)
    body = await read_body(request)

    def embed() -> dict[str, Any]:
        wanted = parse_embedding_request(body)
        if wanted.model != services.names.embedder:
            raise ModelNotFound(f"The model `{wanted.model}` does not embed; `{services.names.embedder}` does.")
        if wanted.dimensions not in (None, services.embedder.dim):
            raise BadRequest(f"dimensions: want {services.embedder.dim}, got {wanted.dimensions}", param="dimensions")
        vectors = services.embedder.embed(wanted.texts).numpy()
        tokens = services.embedder.count_tokens(wanted.texts)
        return {
            "object": "list",
            "model": wanted.model,
            "data": [
                {
                    "object": "embedding",
                    "index": index,
                    "embedding": base64.b64encode(row.astype("<f4").tobytes()).decode()
                    if wanted.base64
                    else row.tolist(),
                }
                for index, row in enumerate(vectors)
            ],
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }

    return JSONResponse(await run_in_threadpool(embed))


# --- models -------------------------------------------------------------------------------------------------


def list_models(request: Request) -> Response:
    cards = services_of(request).names.cards(request.state.tenant)
    return JSONResponse({"object": "list", "data": cards})


def show_model(request: Request) -> Response:
    return JSONResponse(services_of(request).names.find_card(request.path_params["name"], request.state.tenant))


# --- adapters -----------------------------------------------------------------------------------------------


def list_adapters(request: Request) -> Response:
    stored = services_of(request).adapters.shelf.list(request.state.tenant)
    return JSONResponse({"object": "list", "data": [adapter_json(one) for one in stored]})


async def create_adapter(request: Request) -> Response:
    services, tenant = services_of(request), request.state.tenant
    wanted = parse_adapter_request(await read_body(request))
    made = await wait_for(request, services.adapters.create, wanted.task, tenant, wanted.skills, wanted.weights)
    answered = {"source": made.source, "adapt_ms": round(made.adapt_ms, 1)}
    return JSONResponse(
        {**adapter_json(made.stored), "resolution": answered}, 201 if made.source == "generated" else 200
    )


def show_adapter(request: Request) -> Response:
    found = services_of(request).adapters.shelf.get(request.path_params["digest"], request.state.tenant)
    return JSONResponse(adapter_json(found))


def delete_adapter(request: Request) -> Response:
    digest = request.path_params["digest"]
    services_of(request).adapters.shelf.delete(digest, request.state.tenant)
    return JSONResponse({"id": digest, "object": "adapter", "deleted": True})


def download_adapter(request: Request) -> Response:
    found = services_of(request).adapters.shelf.get(request.path_params["digest"], request.state.tenant)
    wanted = request.query_params.get("format", "peft")
    if wanted == "gguf":
        return FileResponse(found.gguf_path, filename=f"{found.digest}.gguf", media_type="application/octet-stream")
    if wanted == "peft":
        packed = zip_peft(found)
        return TemporaryFile(packed, filename=f"{found.digest}.zip", media_type="application/zip")
    raise BadRequest(f"format: want peft or gguf, got {wanted!r}", param="format")


async def merge_adapter(request: Request) -> Response:
    """Waits for the build; the adapter goes on being served attached meanwhile."""
    return await wait_for(request, merge, request)


def merge(request: Request) -> Response:
    services = services_of(request)
    found = services.adapters.shelf.get(request.path_params["digest"], request.state.tenant)
    build = services.builds.build(found.digest, found.folder)
    told = {name: value for name, value in build.record.items() if name != "tensors"}
    return JSONResponse({"object": "build", **told, "path": str(build.path)})


async def load_lora_adapter(request: Request) -> Response:
    services, wanted = services_of(request), parse_load_lora(await read_body(request))
    await run_in_threadpool(services.loaded.load, wanted.name, wanted.path, request.state.tenant)
    return PlainTextResponse(f"Success: LoRA adapter '{wanted.name}' added successfully.")


async def unload_lora_adapter(request: Request) -> Response:
    services, name = services_of(request), parse_unload_lora(await read_body(request))
    await run_in_threadpool(services.loaded.unload, name, request.state.tenant)
    return PlainTextResponse(f"Success: LoRA adapter '{name}' removed successfully.")


async def feedback(request: Request) -> Response:
    services, given = services_of(request), parse_feedback(await read_body(request))
    rate = services.adapters.shelf.rate
    await run_in_threadpool(rate, given.adapter, given.rating, given.skills, request.state.tenant)
    return JSONResponse({"object": "feedback", "adapter": given.adapter, "recorded": True})


# --- the server itself --------------------------------------------------------------------------------------


def cache_stats(request: Request) -> Response:
    return JSONResponse(services_of(request).adapters.shelf.stats())


# On the event loop, not in the thread pool, whose threads may all be waiting for adapters: neither blocks.


async def health(request: Request) -> Response:
    report = services_of(request).health()
    return JSONResponse(report, 200 if report["ready"] else 503)


async def metrics(request: Request) -> Response:
    return Response(services_of(request).metrics.text(), media_type=CONTENT_TYPE)


def dashboard(request: Request) -> Response:
    return HTMLResponse(
        DASHBOARD.read_text(encoding="utf-8"),
        headers={
            "content-security-policy": "default-src 'none'; script-src 'unsafe-inline'; "
            "style-src 'unsafe-inline'; connect-src 'self'; img-src data:; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        },
    )


ROUTES: list[BaseRoute] = [
    Route("/", dashboard),
    Route("/health", health),
    Route("/metrics", metrics),
    Route("/v1/chat/completions", chat_completions, methods=["POST"]),
    Route("/v1/completions", completions, methods=["POST"]),
    Route("/v1/embeddings", embeddings, methods=["POST"]),
    Route("/v1/models", list_models),
    Route("/v1/models/{name:path}", show_model),
    Route("/v1/adapters", list_adapters, methods=["GET"]),
    Route("/v1/adapters", create_adapter, methods=["POST"]),
    Route("/v1/adapters/{digest}", show_adapter, methods=["GET"]),
    Route("/v1/adapters/{digest}", delete_adapter, methods=["DELETE"]),
    Route("/v1/adapters/{digest}/download", download_adapter),
    Route("/v1/adapters/{digest}/merge", merge_adapter, methods=["POST"]),
    Route("/v1/load_lora_adapter", load_lora_adapter, methods=["POST"]),
    Route("/v1/unload_lora_adapter", unload_lora_adapter, methods=["POST"]),
    Route("/v1/feedback", feedback, methods=["POST"]),
    Route("/v1/cache", cache_stats),
]
