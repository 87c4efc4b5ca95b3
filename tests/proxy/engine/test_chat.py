"""proxy/engine/chat.py: templates are run as the model's makers meant, and no further."""

import pytest

from proxy.engine.api import BadMessages
from proxy.engine.chat import ChatTemplate

SIMPLE = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content | trim }}[/]{% endfor %}"
    "{% if add_generation_prompt %}[a]{% endif %}"
)


def make(source: str | None = SIMPLE) -> ChatTemplate:
    return ChatTemplate(source, bos="<s>", eos="</s>")


def test_messages_are_rendered_with_a_place_for_the_answer():
    assert make().render([{"role": "user", "content": "hi"}]) == "[user]hi[/][a]"


def test_a_final_message_is_left_open_to_be_continued_with_its_last_spaces():
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "Once upon a "}]
    assert make().render(messages, continue_final_message=True) == "[user]hi[/][assistant]Once upon a "


def test_tools_and_further_arguments_reach_the_template_unescaped():
    template = make("{{ tools | tojson }} {{ thinking }} {{ bos_token }}{{ eos_token }}")
    tools = [{"type": "function", "function": {"name": "f<g>"}}]
    text = template.render([], tools=tools, arguments={"thinking": "on"})
    assert text == '[{"type": "function", "function": {"name": "f<g>"}}] on <s></s>'


def test_a_template_refuses_in_its_own_words():
    template = make("{{ raise_exception('roles must alternate') }}")
    with pytest.raises(BadMessages, match="roles must alternate"):
        template.render([{"role": "user", "content": "hi"}])


@pytest.mark.parametrize(
    "attack",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ raise_exception.__globals__['os'] }}",
    ],
)
def test_a_template_cannot_leave_its_sandbox(attack):
    with pytest.raises(BadMessages):
        make(attack).render([{"role": "user", "content": "hi"}])


def test_messages_the_template_cannot_use_are_the_clients_fault():
    with pytest.raises(BadMessages):
        make("{{ messages[0].content + 'x' }}").render([{"role": "user", "content": None}])


def test_a_broken_template_is_named():
    with pytest.raises(BadMessages, match="template"):
        make("{% for %}")


def test_a_model_without_a_template_gets_roles_in_words():
    text = make(None).render([{"role": "user", "content": "hi"}])
    assert text == "user: hi\n\nassistant:"
