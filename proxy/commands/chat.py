"""`et2l chat`: a conversation in the terminal, answered by the same pipeline as the server's requests."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from proxy.config import ConfigError, load_config

if TYPE_CHECKING:
    from proxy.bodies import Message
    from proxy.wiring import Services

HELP = """\
/task TEXT   adapt to this task from now on      /task   forget it
/system TEXT the system prompt                   /new    begin a new conversation
/model NAME  e.g. et2l@off for the bare model    /quit   or Ctrl-D"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "chat",
        help="talk to the adapted model in the terminal",
        description="Loads the model here, without a server. Commands in the conversation:\n" + HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--task", help="what the model should be good at")
    parser.add_argument("--system", default="", help="the system prompt")
    parser.add_argument("--model", help="model name, e.g. et2l@off (default: the base model, adapted)")
    parser.add_argument("--max-tokens", type=int, help="longest answer")
    parser.add_argument("--config", type=Path, help="configuration file (default: $ET2L_CONFIG, ./config.toml)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    try:
        config = load_config(args.config)
    except ConfigError as exc:
        print(f"et2l chat: {exc}", file=sys.stderr)
        return 1
    from proxy.wiring import StartFailed, open_services

    try:
        services = open_services(config, lambda text: print(f"et2l: {text}", file=sys.stderr))
    except (StartFailed, ConfigError) as exc:
        print(f"et2l chat: {exc}", file=sys.stderr)
        return 1
    try:
        print(HELP, file=sys.stderr)
        conversation = Conversation(services, args.task, args.system, args.model or config.model.name, args.max_tokens)
        while conversation.turn():
            pass
    finally:
        services.close()
    return 0


class Conversation:
    """The turns so far and what is set for the next one."""

    def __init__(self, services: Services, task: str | None, system: str, model: str, max_tokens: int | None) -> None:
        self.services = services
        self.task = task
        self.system = system
        self.model = model
        self.max_tokens = max_tokens
        self.turns: list[Message] = []

    def turn(self) -> bool:
        """One line of the user's and what follows of it; False at the end."""
        try:
            line = input("\n> ").strip()
        except EOFError:
            return False
        if line.startswith("/"):
            return self.command(line)
        if line:
            self.answer(line)
        return True

    def command(self, line: str) -> bool:
        name, _, rest = line.partition(" ")
        rest = rest.strip()
        if name == "/task":
            self.task = rest or None
        elif name == "/system":
            self.system = rest
        elif name == "/model":
            self.model = rest or self.model
        elif name == "/new":
            self.turns = []
        elif name == "/quit":
            return False
        else:
            print(HELP, file=sys.stderr)
        return True

    def answer(self, line: str) -> None:
        """Streams the answer; Ctrl-C ends it early. What failed is said, and the turn is forgotten."""
        from adapters.errors import AdapterError
        from proxy.bodies import AdaptOptions, AnswerOptions, ChatRequest, Message
        from proxy.engine.api import EngineError
        from proxy.errors import ProxyError, message_of
        from proxy.pipeline import Caller

        asked = [*self.turns, Message("user", line)]
        options = AnswerOptions(
            model=self.model,
            sampling=self.services.sampling,
            max_tokens=self.max_tokens,
            n=1,
            stop=(),
            logprobs=None,
            stream=True,
            include_usage=False,
            adapt=AdaptOptions(),
        )
        system = f"Task: {self.task}\n{self.system}" if self.task else self.system  # as a client would write it
        request = ChatRequest(options, (Message("system", system), *asked) if system else tuple(asked))
        said = ""
        try:
            reply = self.services.pipeline.answer(request, Caller())
        except (ProxyError, AdapterError, EngineError) as exc:
            print(f"et2l: {message_of(exc)}", file=sys.stderr)
            return
        try:
            for part, stream in enumerate(reply.streams):
                for chunk in stream:
                    for event in reply.feed(part, chunk):
                        text = event["choices"][0]["delta"].get("content") or ""
                        said += text
                        print(text, end="", flush=True)
        except KeyboardInterrupt:
            pass
        except EngineError as exc:
            print(f"\net2l: {message_of(exc)}", file=sys.stderr)
            return
        finally:
            reply.close()
        source, skills = reply.headers["x-et2l-source"], reply.headers.get("x-et2l-skills", "")
        print(f"\n[{source} {reply.headers['x-et2l-adapter']} {skills}]", file=sys.stderr)
        self.turns = [*asked, Message("assistant", said)]
