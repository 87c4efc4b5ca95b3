"""One request's decisions, in order: model and adapter name, task hint, adapter, prompt, engine. Plain
Python.

The same method answers a streamed request, a plain one, the command line and the tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from proxy.adaptation import Adapters, Resolution
from proxy.bodies import AdaptOptions, AnswerOptions, ChatRequest, CompletionRequest, Message
from proxy.config import HintConfig
from proxy.engine.api import AdapterFile, AdapterUnusable, EngineApi, Generation, Placement, Sampling, Stream
from proxy.errors import BadRequest, NoSkillFound
from proxy.hint import Hinted, read_hint
from proxy.loaded import LoadedAdapters
from proxy.models import BaseChoice, ModelChoice, ModelNames, PinnedChoice
from proxy.replies import ChatReply, CompletionReply, Prompt, Reply, ReplyHead, new_id
from proxy.tools import ToolCallReader, call_grammar, template_message, template_tools

LOCAL_TENANT = "local"
"""Owner of what is made without API keys: the command line, and a server that asks for none."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. task: the X-ET2L-Task header, if there was one."""

    tenant: str = LOCAL_TENANT
    task: str | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """Where an answer is computed and what the client is told of it."""

    messages: tuple[Message, ...]
    placement: Placement
    head: ReplyHead
    headers: Mapping[str, str]


class Pipeline:
    """From a typed request to an answer under way. Given its parts; keeps no state of its own, any thread may
    call.
    """

    def __init__(
        self,
        engine: EngineApi,
        adapters: Adapters,
        loaded: LoadedAdapters,
        names: ModelNames,
        hint: HintConfig,
    ) -> None:
        self.engine = engine
        self.adapters = adapters
        self.loaded = loaded
        self.names = names
        self.hint = hint

    def answer(
        self,
        request: ChatRequest | CompletionRequest,
        caller: Caller,
        unusable: AdapterUnusable | None = None,
    ) -> Reply:
        """Decides all that can be decided before the first token and starts the answer.

        unusable: what the engine said of the adapter when this was asked before; the base model answers now, unless
        the request insists on an adapter. Raises what proxy/errors.py lists. The caller closes the reply.
        """
        if isinstance(request, ChatRequest):
            return self.chat(request, caller, unusable)
        return self.complete(request, caller, unusable)

    def chat(self, request: ChatRequest, caller: Caller, unusable: AdapterUnusable | None) -> Reply:
        options = request.options
        placed = self.place(options, request.messages, caller, "chatcmpl", unusable)
        tools = template_tools(request.tool_use)
        prompt = self.engine.chat_tokens([template_message(message) for message in placed.messages], tools=tools)
        names = frozenset(tool.name for tool in request.tool_use.tools)
        stop = options.stop
        if tools and not request.tool_use.parallel:
            stop = (*stop, "</tool_call>")
        stream = self.start(options, placed, prompt, sampling=self.constrained(request), stop=stop)
        return ChatReply(
            placed.head,
            stream,
            placed.headers,
            n=options.n,
            new_reader=(lambda: ToolCallReader(names, request.tool_use.parallel)) if tools else None,
            logprobs=options.logprobs is not None,
        )

    def complete(self, request: CompletionRequest, caller: Caller, unusable: AdapterUnusable | None) -> Reply:
        options = request.options
        placed = self.place(options, (), caller, "cmpl", unusable)
        tokens = [self.engine.tokenize(prompt) if isinstance(prompt, str) else prompt for prompt in request.prompts]
        if not all(tokens):
            raise BadRequest("prompt: empty, and this model needs at least one token to go on from", param="prompt")
        streams: list[Stream] = []
        try:
            for prompt in tokens:
                streams.append(self.start(options, placed, prompt, prompt_logprobs=request.echo))
        except BaseException:
            for stream in streams:
                stream.close()
            raise
        return CompletionReply(
            placed.head,
            tuple(streams),
            placed.headers,
            prompts=tuple(map(self.echoed, request.prompts, tokens))
            if request.echo
            else (Prompt("", ""),) * len(tokens),
            n=options.n,
            echo=request.echo,
            logprobs=options.logprobs is not None,
        )

    # Adapter.

    def place(
        self,
        options: AnswerOptions,
        messages: Sequence[Message],
        caller: Caller,
        id_prefix: str,
        unusable: AdapterUnusable | None,
    ) -> Placed:
        """Model name, hint and adapter of a request.

        The hint leaves the prompt only where an adapter stands in for it: the base model needs to be told.
        """
        choice = self.names.choose(options.model, caller.tenant)
        hinted = self.hinted(options.adapt, messages, caller)
        if unusable:
            resolution = self.adapters.given_up(unusable, options.adapt.on_miss, isinstance(choice, PinnedChoice))
        else:
            resolution = self.resolution(choice, hinted.task, options.adapt, caller.tenant)
        stored = resolution.stored
        placement = Placement(adapter=AdapterFile(stored.digest, stored.gguf_path)) if stored else Placement()
        fingerprint = f"fp_{self.names.base_digest[:12]}_{stored.digest if stored else 'base'}"
        head = ReplyHead(new_id(id_prefix), options.model, fingerprint, options.include_usage)
        return Placed(hinted.messages if stored else tuple(messages), placement, head, resolution_headers(resolution))

    def resolution(self, choice: ModelChoice, task: str | None, adapt: AdaptOptions, tenant: str) -> Resolution:
        if isinstance(choice, PinnedChoice):
            given = self.loaded.get(choice.digest, tenant)
            return Resolution("pinned", given) if given else self.adapters.pinned(choice.digest, tenant)
        if task is not None and not isinstance(choice, BaseChoice):
            return self.adapters.resolve(task, tenant, adapt.on_miss, adapt.budget_ms)
        if adapt.on_miss == "require":
            raise NoSkillFound("the request requires an adapter, and its model name or missing hint leads to none")
        return Resolution("base")

    def hinted(self, adapt: AdaptOptions, messages: Sequence[Message], caller: Caller) -> Hinted:
        strip = self.hint.strip if adapt.strip is None else adapt.strip
        return read_hint(messages, field=adapt.task, header=caller.task, strip=strip, config=self.hint)

    # Engine.

    def constrained(self, request: ChatRequest) -> Sampling:
        """The request's sampling, with the grammar its response_format or tools ask for."""
        sampling = request.options.sampling
        answer = self.engine.json_grammar(request.json_answer.schema) if request.json_answer else None
        grammar = call_grammar(request.tool_use, self.engine.json_grammar, answer)
        return replace(sampling, grammar=grammar) if grammar else sampling

    def start(
        self,
        options: AnswerOptions,
        placed: Placed,
        prompt: tuple[int, ...],
        *,
        sampling: Sampling | None = None,
        stop: tuple[str, ...] | None = None,
        prompt_logprobs: bool = False,
    ) -> Stream:
        return self.engine.submit(
            Generation(
                prompt=prompt,
                placement=placed.placement,
                max_tokens=options.max_tokens,
                stop=options.stop if stop is None else stop,
                sampling=sampling or options.sampling,
                n=options.n,
                top_logprobs=options.logprobs,
                prompt_logprobs=prompt_logprobs,
                incremental=options.stream,
            )
        )

    def echoed(self, prompt: str | tuple[int, ...], tokens: tuple[int, ...]) -> Prompt:
        text = prompt if isinstance(prompt, str) else self.engine.detokenize(tokens, special=True)
        return Prompt(text, self.engine.detokenize(tokens[:1], special=True))


def resolution_headers(resolution: Resolution) -> dict[str, str]:
    """The x-et2l-* headers, plain ASCII."""
    headers = {
        "x-et2l-adapter": resolution.stored.digest if resolution.stored else "none",
        "x-et2l-source": resolution.source,
        "x-et2l-adapt-ms": f"{resolution.adapt_ms:.1f}",
    }
    if resolution.similarity is not None:
        headers["x-et2l-similarity"] = f"{resolution.similarity:.4f}"
    if resolution.weights:
        shares = sorted(resolution.weights.items(), key=lambda item: -item[1])
        text = ",".join(f"{name}={share:.2f}" for name, share in shares)
        headers["x-et2l-skills"] = text.encode("ascii", errors="replace").decode("ascii")
    return headers
