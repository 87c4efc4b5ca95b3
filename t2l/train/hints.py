# ruff: noqa: E501  (wordings stay on one line, where they can be read and searched)
"""System prompts as people write them for chats, coding assistants and agents: they name a form, a role or a field, and no
operation on the input.

Near as some are to descriptions of procedural tasks ("Answer with a JSON object only."), gates have nothing to say to
them. So listening is learnt and calibrated on them, too (listening.py).
"""

from __future__ import annotations

import random
import re
import zlib

from t2l.train.families.core import vary

HELD_OUT_SHARE = 8

_REPLY = "(Answer|Reply|Respond|Write|Output|Give your answer)"
_ONLY = "(|only |strictly |always |just )"
_FORM = (
    "(JSON|valid JSON|a JSON object|JSON and nothing else|YAML|XML|CSV|Markdown|a Markdown table|HTML|plain text|a numbered list|bullet points"
    "|one sentence|a single sentence|two sentences|one word|a single word|a short phrase|a paragraph|a table|code|a code block|a number"
    "|a list|lower case|capital letters|upper case|full sentences|simple words|the final answer|yes or no|true or false)"
)
_LANGUAGE = "(English|French|German|Spanish|Italian|Portuguese|Dutch|Polish|Russian|Japanese|Korean|Chinese|Arabic|Turkish|Hindi)"
_TONE = (
    "(friendly|helpful|polite|honest|concise|brief|short|precise|careful|cheerful|patient|formal|informal|professional|witty|humble|kind|clear"
    "|to the point|accurate|neutral|warm)"
)
_ROLE = (
    "(assistant|AI assistant|chat assistant|chatbot|AI|language model|virtual assistant|support agent|tutor|teacher|coach|librarian|expert"
    "|consultant|editor|writer|poet|pirate|butler|travel guide|chef|doctor|nurse|lawyer|accountant|recruiter|historian|scientist|philosopher"
    "|mathematician|statistician|data scientist|software engineer|Python developer|web developer|database administrator|security engineer"
    "|system administrator|code reviewer|pair programmer|product manager|journalist|translator|storyteller|game master|salesperson|therapist)"
)
_FIELD = (
    "(science|physics|chemistry|biology|medicine|history|geography|law|finance|taxes|cooking|travel|sports|music|films|literature|grammar"
    "|mathematics|statistics|algebra|geometry|programming|Python|JavaScript|TypeScript|Rust|Go|Java|C++|SQL|shell scripts|Linux|networking"
    "|Kubernetes|Excel|our product|our shop|orders and returns|insurance|health|nutrition|gardening|cars|pets|education|careers|marketing)"
)
_WORK = (
    "(answer questions|answer the user's questions|answer questions about {field}|explain {field}|give advice on {field}|help the user|help with {field}"
    "|chat with the user|write code|write clean code|review code|fix bugs|write tests|write documentation|explain code|complete the code"
    "|write emails|write stories|write poems|draft blog posts|edit texts|brainstorm ideas|solve problems|solve problems in {field}"
    "|solve word problems|plan trips|recommend books|write product descriptions|prepare lessons|answer support requests)"
)

_TEMPLATES = (
    f"{_REPLY} {_ONLY}(in|with|as) {_FORM}( only|)(.||, please.)",
    f"{_REPLY} in {_FORM}. (No explanation|Do not explain|Nothing else|No extra text|No comments|Do not add anything).",
    f"(Use|Return|Output|Produce|Give) {_ONLY}{_FORM}( only|)(.|)",
    f"(The|Your) (answer|reply|output|response) (must be|should be|has to be|is) {_FORM}.",
    f"(Always|Only|Please|) (answer|reply|respond|speak|write) in {_LANGUAGE}(.| only.|, please.)",
    f"(Be|Stay|Always be) {_TONE}(.| and {_TONE}.|, {_TONE} and {_TONE}.)",
    f"You are a {_TONE} {_ROLE}.",
    f"You are a {_ROLE}( who is {_TONE}| for {{field}}| with deep knowledge of {{field}}|).",
    f"You are a {_ROLE}. {_REPLY} in {_FORM}.",
    f"You are a {_TONE} {_ROLE}. (Be|Stay) {_TONE}.",
    f"You are a {_ROLE}. (You|Your job is to|Please) {_WORK}.",
    f"(Act as|Behave like|Talk like|Pretend to be) a {_ROLE}.",
    f"(Please |){_WORK}.",
    f"{_WORK}. {_REPLY} in {_FORM}.",
    f"{_WORK} in {_LANGUAGE}.",
    f"(Your task is to|Your job is to|I want you to) {_WORK}( and be {_TONE}|).",
    "(Assistant|Chatbot|Helper|Bot) for {field}(.| questions.)",
    "You are (Qwen|Max|Ada|Robo|an AI|ChatGPT|the assistant of a company), (created by|made by|working for) (a company|a team|a shop|Alibaba Cloud).( You are a helpful assistant.|)",
    f"(Answer|Think) step by step(.| and then give {_FORM}.| before you answer.)",
    "(Explain|Show) your (reasoning|steps|work|thinking)(.| before the final answer.| in detail.)",
    "(Do not|Never|Don't) (explain|apologise|make things up|use emoji|repeat the question|mention these instructions|use Markdown|write code|guess).",
    "(If you do not know|If you are not sure|When in doubt), (say so|ask|answer that you do not know).",
    "(Keep (it|answers|your answers)|Make it) (short|brief|simple|under 50 words|under 100 words|to one line|concise).",
    "You (have access to|can use|can call) (tools|functions|a search engine|a calculator|the file system|a terminal). (Use them when needed|Call them when it helps|Prefer them over guessing).",
    "(Complete|Continue) the (code|text|story|sentence|function)(.| without any explanation.| and output only the continuation.)",
    f"(Explain|Describe) (it|things|everything) (to a child|in simple words|for beginners|for experts|to a five-year-old)(.|. {_REPLY} in {_LANGUAGE}.)",
    f"(Rules|Style|Format|Tone): {_TONE}, {_TONE}.",
    f"(Format|Output format|Language|Response format): ({_FORM}|{_LANGUAGE}).",
    "Use the (following|given) (context|document|information) to answer( the question|). (If it is not there, say so.|Quote the source.|)",
    "You are (an IDE|a coding|a terminal) assistant. (The user is editing|The project uses|You see a file of) {field}.( Answer with code.| Be brief.|)",
)  # fmt: skip


def hint(rng: random.Random) -> str:
    """One system prompt."""
    text = vary(rng.choice(_TEMPLATES), rng)
    while "{field}" in text:
        text = text.replace("{field}", vary(_FIELD, rng), 1)
    text = re.sub(r"\b([Aa])n?(?= [aeiouAEIOU])", r"\1n", re.sub(r"\b([Aa])n(?= [^aeiouAEIOU])", r"\1", text))
    text = text.strip()
    return text[:1].upper() + text[1:]


def hints(count: int, seed: int, held_out: bool = False) -> list[str]:
    """`count` different ones: those to learn from, or the eighth, by their hash, that is kept for measuring."""
    rng, found = random.Random(seed), dict[str, None]()
    while len(found) < count:
        text = hint(rng)
        if (zlib.crc32(text.encode()) % HELD_OUT_SHARE == 0) == held_out:
            found[text] = None
    return list(found)
