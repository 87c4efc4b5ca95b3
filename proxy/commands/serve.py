"""`et2l serve`: the server, from configuration to Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import logging
import signal
import socket
import sys
import time
from pathlib import Path

from proxy.config import Config, ConfigError, ServerConfig, load_config

CUT_AFTER_S = 3.0
"""Time to send the last events after server.shutdown_grace_s."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "serve",
        help="start the OpenAI-compatible server",
        description="Load the model and the parts that make adapters, then answer OpenAI requests until Ctrl-C.",
        epilog="Point any OpenAI client at http://HOST:PORT/v1 and write the task into the system prompt; "
        "docs/clients.md has examples. A model name ending in @off is the bare base model.",
    )
    parser.add_argument("--host", help="address to listen on (default: server.host, 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on (default: server.port, 8000; 0 = any free one)")
    parser.add_argument("--config", type=Path, help="configuration file (default: $ET2L_CONFIG, ./config.toml)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    started = time.perf_counter()
    try:
        config = with_address(load_config(args.config), args.host, args.port)
        listener = bind(config.server)
    except (ConfigError, OSError) as exc:
        return fail(str(exc))
    set_up_logging(config.server.log_level)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with listener:
            return serve(config, listener, started)
    except KeyboardInterrupt:  # after the server has finished its work
        return 0


def serve(config: Config, listener: socket.socket, started: float) -> int:
    import uvicorn

    from proxy.app import create_app
    from proxy.wiring import StartFailed, open_services

    try:
        services = open_services(config, say)
    except (StartFailed, ConfigError) as exc:
        return fail(str(exc))
    grace_s = config.server.shutdown_grace_s

    class Server(uvicorn.Server):
        """Says when it listens; at the end the engine finishes what it can in its time and ends the rest."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            announce(config, listener, time.perf_counter() - started)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            say("stopping; running answers are finished or ended")
            closing = asyncio.ensure_future(asyncio.to_thread(services.engine.close, grace_s))
            await super().shutdown(sockets)
            await closing

    server = Server(
        uvicorn.Config(
            create_app(config.server, lambda: services),
            http="h11",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=grace_s + CUT_AFTER_S,  # type: ignore[arg-type]  # any number will do
        )
    )
    server.run(sockets=[listener])
    return 0


def with_address(config: Config, host: str | None, port: int | None) -> Config:
    """The configuration with --host and --port put in; checked like the rest."""
    if port is not None and not 0 <= port <= 65535:
        raise ConfigError(f"--port: want 0 to 65535, got {port}")
    changes = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    return dataclasses.replace(config, server=dataclasses.replace(config.server, **changes))


def bind(config: ServerConfig) -> socket.socket:
    """Takes the port before anything is loaded. Raises OSError with a message that says what to do."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((config.host.strip("[]"), config.port))
    except OSError as exc:
        listener.close()
        raise OSError(
            f"cannot listen on {config.host}:{config.port}: {exc.strerror}; choose another with --port"
        ) from exc
    return listener


def announce(config: Config, listener: socket.socket, seconds: float) -> None:
    host, port = listener.getsockname()[:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    key = ' -H "Authorization: Bearer $KEY"' if config.server.api_keys else ""
    body = '{"model": "et2l", "messages": [{"role": "system", "content": "Task: Write a short poem."}, '
    say(f"ready after {seconds:.1f} s: {url}/v1  (dashboard: {url}/)  Ctrl-C stops")
    say(f"try: curl {url}/v1/chat/completions -H 'content-type: application/json'{key} -d '{body}")
    say('       {"role": "user", "content": "A cache of letters."}]}\'')


def say(text: str) -> None:
    print(f"et2l: {text}", file=sys.stderr, flush=True)


def fail(problem: str) -> int:
    say(problem)
    return 1


def set_up_logging(level: str) -> None:
    logging.basicConfig(
        level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    for noisy in ("httpx", "LiteLLM", "uvicorn", "gguf", "llama.cpp"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLogger().level))
