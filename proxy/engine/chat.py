"""Chat messages to prompt text, by the Jinja template that comes with the model.

The template is somebody else's program: it runs in jinja2's sandbox, and sees only what is passed to it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from jinja2 import Template, TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from proxy.engine.api import BadMessages

PLAIN_TEMPLATE = """\
{%- for message in messages -%}
{{ message['role'] }}: {{ message['content'] }}

{% endfor -%}
{%- if add_generation_prompt -%}assistant:{%- endif -%}"""
"""For models that come without a template (base models): roles in words."""

_OPEN_END = "\ue000open-end\ue000"
"""Stands at the end of a message to be continued, to find where the template closes it (private-use
characters).
"""


class ChatTemplate:
    """One model's template."""

    def __init__(self, source: str | None, *, bos: str, eos: str) -> None:
        """source: Jinja text; None uses PLAIN_TEMPLATE. Raises BadMessages for a text that is no template."""
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
        try:
            self._template: Template = environment.from_string(PLAIN_TEMPLATE if source is None else source)
        except TemplateError as exc:
            raise BadMessages(f"the model's chat template is broken: {exc}") from exc
        self._bos = bos
        self._eos = eos

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        arguments: Mapping[str, Any] | None = None,
    ) -> str:
        """The prompt text. Raises BadMessages with the template's own words."""
        if continue_final_message:
            messages = _left_open(messages)
            add_generation_prompt = False
        try:
            text = self._template.render(
                **(arguments or {}),
                messages=messages,
                tools=tools,
                add_generation_prompt=add_generation_prompt,
                bos_token=self._bos,
                eos_token=self._eos,
            )
        except TemplateError as exc:
            raise BadMessages(str(exc)) from exc
        except (TypeError, KeyError, ValueError, AttributeError) as exc:  # it met a value it did not expect
            raise BadMessages(f"the chat template cannot use these messages: {exc}") from exc
        if continue_final_message:
            text, found, _ = text.rpartition(_OPEN_END)
            if not found:
                raise BadMessages("the final message was to be continued, but the template does not show it")
        return text


def _left_open(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    if not messages or not isinstance(messages[-1].get("content"), str):
        raise BadMessages("the final message, which was to be continued, has no text")
    *before, last = messages
    # Templates often strip a message; what it ends with belongs to the prompt all the same.
    return [*before, {**last, "content": last["content"] + _OPEN_END}]


def _to_json(value: Any, indent: int | None = None, **options: Any) -> str:
    """Jinja's own filter escapes <, > and & for HTML, which a prompt must not."""
    return json.dumps(value, ensure_ascii=False, indent=indent, **options)


def _refuse(message: str) -> None:
    raise TemplateError(message)
