# ruff: noqa: E501  (wordings stay on one line, where they can be read and searched)
"""From an operation and a format to the words a person would use: registers, order, language."""

import random
import re

from t2l.train.families.core import Format, Kind, Operation, vary

_CHINESE_SHARE = 0.2  # of the draws, for the operations that have a Chinese wording
_STRAY_SPACE = re.compile(r" +(?=[,.;?](?: |$)| )")
_FEWEST_WORDS, _MOST_WORDS = 4, 40

# {do} operation, imperative; {form} format, imperative; {short} format, noun phrase; {noun} the input; {Do}, {Form}: capital.
_REGISTERS = (
    "{Do}. {Form}.",
    "{Do}, (and|then) {form}.",
    "{Form}. (What to do|The task|Your task): {do}.",
    "(Please|Kindly) {do}. {Form}(.|, please.|.)",
    "(Could|Can|Would) you {do}? {Form}.",
    "You (are|act as) (an assistant|a careful assistant|a helper|a tool) that gets {noun}. {Do}. {Form}.",
    "You are a (text|data|precise) (processor|tool|assistant). (For each input|For every message|Each time), {do}. {Form}.",
    "The user (sends|gives you|will send) {noun}. {Do}. {Form}.",
    "(Given|From) {noun}, {do}; {form}.",
    "(Your job is to|Your task is to|I want you to|I need you to|You must) {do}. {Form}.",
    "(Task|Goal|Do): {do}(. |; |\n)(Output|Format|Output format): {short}.",
    "{do} -> {short}",
    "{do}; (output|format|result): {short}",
    "(When I send|Whenever you receive|Every time I send you) {noun}, {do} and {form}.",
    "{Form}. {Do}.",
    "(Input|You get): {noun}. (Output|You return): {short}. (Rule|Task): {do}.",
    "I (will|am going to) (send|paste|give you) {noun}. {Do}, (please|thanks). {Form}.",
)
_QUESTIONS = (
    "{What}(, please|)? {Form}.",
    "{what}, {short}",
    "(Reply with|Extract|Just) {what}. {Form}.",
    "(I need|I want|I am looking for) {what}. {Form}.",
    "{short}: {what}",
)
_WHAT_IS = ("(What is|What's) {what}? {Form}.", "You get {noun}. What is {what}? {Form}.")
_CLAUSES = (
    "how ",
    "who ",
    "what ",
    "when ",
    "where ",
    "which ",
    "whose ",
)  # "What is how many ..." is no English
_CHINESE = (
    "{do}，{form}。",
    "请{do}。{form}。",
    "你是一个助手，(任务是|负责){do}。{form}。",
    "(收到输入后|对每条输入)，{do}，{form}。",
    "{form}。任务：{do}。",
)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def describe(kind: Kind, operation: Operation, form: Format, rng: random.Random) -> str:
    """One of many descriptions of the same task; says both what to do and how to write the answer."""
    if operation.zh and rng.random() < _CHINESE_SHARE:
        return vary(rng.choice(_CHINESE), rng).format(do=vary(operation.zh, rng), form=vary(form.zh, rng))
    for _ in range(8):
        text = _english(kind, operation, form, rng)
        if _FEWEST_WORDS <= len(text.split()) <= _MOST_WORDS:
            break
    return text


def _english(kind: Kind, operation: Operation, form: Format, rng: random.Random) -> str:
    do, written = operation.imperative(rng), vary(form.do, rng)
    what = vary(operation.what, rng)
    if what and rng.random() < 0.35:
        registers = _QUESTIONS if what.startswith(_CLAUSES) else _QUESTIONS + _WHAT_IS
    else:
        registers = _REGISTERS
    text = vary(rng.choice(registers), rng).format(
        do=do,
        Do=_capital(do),
        what=what,
        What=_capital(what),
        form=written,
        Form=_capital(written),
        short=vary(form.short, rng),
        noun=vary(kind.noun, rng),
    )
    text = text.replace(".'.", ".'").replace("。.", "。")
    return _STRAY_SPACE.sub("", text)  # left where an optional part was not taken
