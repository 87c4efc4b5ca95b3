"""What a client is told when something goes wrong: our exceptions on one side, HTTP status and OpenAI's words
on the other. The only module that knows both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from adapters import errors as adapters
from proxy.engine import api as engine


class ProxyError(Exception):
    """Base of this package's errors. `param`: the request field at fault, if one is."""

    param: str | None = None


class BadRequest(ProxyError):
    """The request is not one we can answer as it stands. `code` is OpenAI's, where it has one."""

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.code = code


class Unauthorized(ProxyError):
    """API keys are configured and the request carries none of them."""


class HostRefused(ProxyError):
    """The Host header names a host this server does not answer for (DNS rebinding)."""


class BodyTooLarge(ProxyError):
    """The request body is over server.max_body_bytes."""


class RouteNotFound(ProxyError):
    """No such path."""


class MethodNotAllowed(ProxyError):
    """The path exists, not for this method."""


class ModelNotFound(ProxyError):
    """No model, alias or adapter of that name; the message names what exists."""

    param = "model"


class AdapterRequired(ProxyError):
    """on_miss = "require", and no adapter could be had; the message says why."""


class AdaptationBusy(ProxyError):
    """As many adapters wait to be made as may."""


class LoadRefused(ProxyError):
    """/v1/load_lora_adapter may not read that path."""


class NoSkillFound(ProxyError):
    """An adapter was asked for explicitly, and no skill fits the task."""


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """One row: HTTP status, OpenAI's error type, OpenAI's code (None where it has none)."""

    status: int
    type: str
    code: str | None = None


INVALID, LIMIT, SERVER = "invalid_request_error", "rate_limit_error", "server_error"
INTERNAL = ErrorReply(500, SERVER, "internal_error")

ERROR_REPLIES: dict[type[Exception], ErrorReply] = {
    ProxyError: INTERNAL,
    BadRequest: ErrorReply(400, INVALID),
    Unauthorized: ErrorReply(401, INVALID, "invalid_api_key"),
    HostRefused: ErrorReply(403, INVALID, "host_not_allowed"),
    LoadRefused: ErrorReply(403, INVALID, "path_not_allowed"),
    RouteNotFound: ErrorReply(404, INVALID, "unknown_url"),
    ModelNotFound: ErrorReply(404, INVALID, "model_not_found"),
    MethodNotAllowed: ErrorReply(405, INVALID, "method_not_supported"),
    BodyTooLarge: ErrorReply(413, INVALID, "request_too_large"),
    NoSkillFound: ErrorReply(422, INVALID, "no_skill_found"),
    AdaptationBusy: ErrorReply(429, LIMIT, "adaptation_busy"),
    AdapterRequired: ErrorReply(503, SERVER, "adapter_required"),
    # adapters/
    adapters.AdapterError: INTERNAL,
    adapters.AdapterNotFound: ErrorReply(404, INVALID, "adapter_not_found"),
    adapters.AdapterMismatch: ErrorReply(400, INVALID, "adapter_mismatch"),
    adapters.AdapterUnsupported: ErrorReply(400, INVALID, "adapter_unsupported"),
    adapters.AdapterCorrupt: ErrorReply(500, SERVER, "adapter_corrupt"),
    adapters.CacheUnavailable: ErrorReply(503, SERVER, "cache_unavailable"),
    adapters.CacheCorrupt: ErrorReply(500, SERVER, "cache_corrupt"),
    adapters.BaseModelCorrupt: ErrorReply(500, SERVER, "base_model_corrupt"),
    adapters.GgmlUnavailable: ErrorReply(500, SERVER, "ggml_unavailable"),
    adapters.BuildRefused: ErrorReply(422, INVALID, "build_refused"),
    adapters.BuildBusy: ErrorReply(409, INVALID, "build_busy"),
    adapters.BuildNotFound: ErrorReply(404, INVALID, "build_not_found"),
    adapters.DiskFull: ErrorReply(507, SERVER, "disk_full"),
    # proxy/engine/
    engine.EngineError: INTERNAL,
    engine.EngineBusy: ErrorReply(429, LIMIT, "rate_limit_exceeded"),
    engine.ContextTooLong: ErrorReply(400, INVALID, "context_length_exceeded"),
    engine.BadGrammar: ErrorReply(400, INVALID, "invalid_grammar"),
    engine.BadMessages: ErrorReply(400, INVALID, "invalid_messages"),
    engine.UnknownToken: ErrorReply(400, INVALID, "invalid_token"),
    engine.UnknownModel: INTERNAL,  # names reach the engine resolved: one it does not know is our fault
    engine.AdapterUnusable: ErrorReply(500, SERVER, "adapter_unusable"),
    engine.EngineFailed: ErrorReply(500, SERVER, "engine_failed"),
    engine.EngineClosed: ErrorReply(503, SERVER, "shutting_down"),
}
"""A row's message is the exception's own, except where a fault of ours (INTERNAL) may hold what is not the
client's.
"""


def reply_for(exc: BaseException) -> ErrorReply:
    """The row of the nearest class that has one; INTERNAL for a fault of ours."""
    for cls in type(exc).__mro__:
        if cls in ERROR_REPLIES:
            return ERROR_REPLIES[cls]
    return INTERNAL


def error_body(exc: BaseException) -> dict[str, Any]:
    """OpenAI's error object."""
    row = reply_for(exc)
    code = getattr(exc, "code", None) or row.code
    return {
        "error": {
            "message": message_of(exc),
            "type": row.type,
            "param": getattr(exc, "param", None),
            "code": code,
        }
    }


def message_of(exc: BaseException) -> str:
    if reply_for(exc) is INTERNAL:
        return f"The server had an error ({type(exc).__name__}); see its log."
    if isinstance(exc, engine.ContextTooLong):  # OpenAI's own wording, which clients look for
        return (
            f"This model's maximum context length is {exc.limit} tokens. However, your messages resulted in "
            f"{exc.prompt_tokens} tokens. Please reduce the length of the messages."
        )
    return str(exc)
