"""The product as a user has it: `et2l serve` on the real default model, asked through OpenAI's own package."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import openai
import pytest

ROOT = Path(__file__).resolve().parent.parent
MODEL = "qwen2.5-coder-0.5b-instruct"
TASK = {"role": "system", "content": "Task: Write a Python function that checks whether a number is prime."}
PARAPHRASE = {"role": "system", "content": "Task: Write a Python function which checks if a number is prime."}
HI = {"role": "user", "content": "Please begin."}

pytestmark = pytest.mark.model


@dataclass(frozen=True)
class Server:
    process: subprocess.Popen[str]
    url: str
    log: Path
    ready_s: float


def start(folder: Path, model: Path, **environ: str) -> Server:
    """`et2l serve` on a free port, with cache and store in `folder`. Fails the test if it does not come up."""
    config = folder / "config.toml"
    config.write_text(
        f'[model]\npath = "{model}"\n[engine]\ncontext_tokens = 4096\nmax_sequences = 4\n'
        "threads = 1\n"  # threads that wait for each other on a busy machine take a hundred times as long
        "[adapt]\nbudget_ms = 60000\n"  # a busy machine is no reason to answer without the adapter
    )
    log = folder / "serve.log"
    started = time.monotonic()
    command = [sys.executable, "-m", "proxy.cli", "serve", "--port", "0", "--config", str(config)]
    with log.open("w") as file:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, text=True, env={**os.environ, **environ}
        )
    while time.monotonic() < started + 180:
        found = re.search(r"ready after .* s: (http://[\d.:]+)/v1", log.read_text())
        if found:
            return Server(process, found[1], log, time.monotonic() - started)
        if process.poll() is not None:
            break
        time.sleep(0.1)
    process.kill()
    pytest.fail(f"the server did not start:\n{log.read_text()}")


@pytest.fixture(scope="session")
def server(default_model_path, tmp_path_factory):
    server = start(tmp_path_factory.mktemp("served"), default_model_path)
    yield server
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(30) == 0, server.log.read_text()


@pytest.fixture(scope="session")
def client(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=300) as client:
        yield client


def ask(client, messages, model="et2l", max_tokens=4, **fields):
    """The completion and its headers."""
    raw = client.chat.completions.with_raw_response.create(
        model=model, messages=messages, max_tokens=max_tokens, temperature=0, **fields
    )
    return raw.parse(), raw.headers


@pytest.fixture(scope="session")
def generated(client):
    """The first request with a task, which makes its adapter; its headers."""
    completion, headers = ask(client, [TASK, HI])
    assert completion.choices[0].message.content
    return headers


def test_a_task_is_generated_then_exact_then_semantic_and_off_is_base(client, generated):
    assert generated["x-et2l-source"] == "generated"
    assert re.fullmatch("[0-9a-f]{16}", generated["x-et2l-adapter"])
    assert "code_generation=" in generated["x-et2l-skills"]
    again, headers = ask(client, [TASK, HI])
    assert (headers["x-et2l-source"], headers["x-et2l-adapter"]) == ("exact", generated["x-et2l-adapter"])
    assert again.system_fingerprint.endswith(generated["x-et2l-adapter"])
    _, headers = ask(client, [PARAPHRASE, HI])
    assert (headers["x-et2l-source"], headers["x-et2l-adapter"]) == ("semantic", generated["x-et2l-adapter"])
    assert float(headers["x-et2l-similarity"]) > 0.9
    _, headers = ask(client, [TASK, HI], model=f"{MODEL}@off")
    assert (headers["x-et2l-source"], headers["x-et2l-adapter"]) == ("base", "none")
    _, headers = ask(client, [HI], model=f"{MODEL}@{generated['x-et2l-adapter'][:8]}")
    assert headers["x-et2l-source"] == "pinned"


def test_the_adapter_shows_how_it_came_to_be(server, generated):
    card = httpx.get(f"{server.url}/v1/adapters/{generated['x-et2l-adapter']}").json()
    assert card["hint"] == TASK["content"].removeprefix("Task: ")
    assert "code_generation" in card["skills"] and sum(card["weights"].values()) == pytest.approx(1)
    assert card["enhanced"] and card["q_after"]["total"] >= card["q_before"]["total"]


def test_the_chinese_hint_finds_both_its_skills(client):
    _, headers = ask(client, [{"role": "system", "content": "编写一个 Python 函数来验证哥德巴赫猜想"}, HI])
    assert headers["x-et2l-source"] == "generated"
    assert "code_generation=" in headers["x-et2l-skills"] and "mathematical_reasoning=" in headers["x-et2l-skills"]


def test_streaming_says_what_not_streaming_says(client):
    messages = [{"role": "user", "content": "Count from one to five in words."}]
    whole, _ = ask(client, messages, max_tokens=20)
    with client.chat.completions.create(
        model="et2l",
        messages=messages,
        max_tokens=20,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    ) as stream:
        chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason


def test_the_async_client_gets_several_answers_at_once(server):
    async def several():
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
            waiting = [client.chat.completions.create(model="et2l", messages=[HI], max_tokens=3, n=2) for _ in range(3)]
            return await asyncio.gather(*waiting)

    for completion in asyncio.run(several()):
        assert [choice.index for choice in completion.choices] == [0, 1]


def test_models_list_and_retrieve_work(client, generated):
    names = [model.id for model in client.models.list()]
    assert {MODEL, f"{MODEL}@off", "et2l", f"{MODEL}@{generated['x-et2l-adapter']}"} <= set(names)
    assert client.models.retrieve("et2l").model_dump()["max_model_len"] == 4096


def test_errors_are_the_sdks_own_classes(client):
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        ask(client, [HI], model="gpt-none")
    with pytest.raises(openai.BadRequestError, match="maximum context length is 4096 tokens") as caught:
        ask(client, [{"role": "user", "content": "word " * 5000}])
    assert caught.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, [HI], top_p=7)
    assert caught.value.param == "top_p"


def test_json_schemas_are_held_to(client):
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 8}, "age": {"type": "integer"}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
    completion, _ = ask(
        client,
        [{"role": "user", "content": "Invent a person."}],
        max_tokens=30,
        response_format={"type": "json_schema", "json_schema": {"name": "person", "schema": schema}},
    )
    assert json.loads(completion.choices[0].message.content).keys() == {"name", "age"}


def test_a_tool_is_called(client):
    tool = {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather of a city",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
    completion, _ = ask(
        client, [{"role": "user", "content": "How is the weather in Paris?"}], max_tokens=60, tools=[tool]
    )
    choice = completion.choices[0]
    assert choice.finish_reason == "tool_calls"
    call = choice.message.tool_calls[0].function
    assert (call.name, json.loads(call.arguments)) == ("weather", {"city": "Paris"})


def test_a_prompt_is_scored_as_lm_eval_asks(client):
    completion = client.completions.create(
        model=f"{MODEL}@off",
        prompt="The capital of France is Paris",
        max_tokens=1,
        logprobs=1,
        echo=True,
        temperature=0,
    )
    scored = completion.choices[0].logprobs
    assert scored.tokens[:6] == ["The", " capital", " of", " France", " is", " Paris"] and len(scored.tokens) == 7
    assert scored.token_logprobs[0] is None and scored.token_logprobs[5] > -2
    assert all(logprob < 0 for logprob in scored.token_logprobs[1:])


def test_embeddings_are_unit_vectors_and_near_for_near_texts(client):
    rows = client.embeddings.create(model="all-MiniLM-L6-v2", input=["a cat", "a kitten", "tax law"]).data
    cat, kitten, tax = (row.embedding for row in rows)
    assert sum(x * x for x in cat) == pytest.approx(1, abs=1e-4)
    assert sum(x * y for x, y in zip(cat, kitten, strict=True)) > sum(x * y for x, y in zip(cat, tax, strict=True))


def test_a_client_that_leaves_frees_the_engine(server):
    # An answer that is long by its task, and whose two end tokens are banned besides.
    count = {"role": "user", "content": "Count from 1 to 1000, one number a line."}
    body = {"model": f"{MODEL}@off", "messages": [count], "max_tokens": 3000, "stream": True, "temperature": 0}
    body["logit_bias"] = {"151643": -100, "151645": -100}
    with httpx.stream("POST", f"{server.url}/v1/chat/completions", json=body, timeout=60) as reply:
        lines = reply.iter_lines()  # kept: a dropped generator closes the connection
        next(lines)
        assert httpx.get(f"{server.url}/health").json()["running"] == 1
    until = time.monotonic() + 20
    while httpx.get(f"{server.url}/health").json()["running"] and time.monotonic() < until:
        time.sleep(0.1)
    assert httpx.get(f"{server.url}/health").json()["running"] == 0


def test_an_adapter_can_be_taken_away_and_deleted(server, client, tmp_path):
    _, headers = ask(client, [{"role": "system", "content": "Task: Solve the equation and show every step."}, HI])
    digest = headers["x-et2l-adapter"]
    gguf = httpx.get(f"{server.url}/v1/adapters/{digest}/download?format=gguf").content
    assert gguf[:4] == b"GGUF"
    assert httpx.delete(f"{server.url}/v1/adapters/{digest}").json()["deleted"]
    assert httpx.get(f"{server.url}/v1/adapters/{digest}").status_code == 404


def test_the_command_line_shows_the_same_pipeline(default_model_path, tmp_path):
    (tmp_path / "config.toml").write_text(f'[model]\npath = "{default_model_path}"\n')
    environ = {**os.environ, "ET2L_CONFIG": str(tmp_path / "config.toml")}

    def et2l(*arguments):
        command = [sys.executable, "-m", "proxy.cli", *arguments]
        return json.loads(subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, check=True).stdout)

    report = et2l("adapt", "Write a Python function that adds numbers.", "--json")
    wanted = {"digest", "source", "skills", "weights", "enhanced", "q_before", "q_after", "timings_ms"}
    assert wanted <= report.keys() and report["source"] == "generated"
    assert et2l("adapters", "show", report["digest"], "--json")["weights"] == report["weights"]
    assert et2l("cache", "check", "--json")["ok"] is True


def test_a_conversation_in_the_terminal_is_adapted_and_can_be_changed(default_model_path, tmp_path):
    config = tmp_path / "config.toml"
    config.write_text(
        f'[model]\npath = "{default_model_path}"\n[engine]\ncontext_tokens = 1024\nthreads = 1\n'
        "[adapt]\nbudget_ms = 60000\n"
    )
    command = [sys.executable, "-m", "proxy.cli", "chat", "--max-tokens", "3", "--config", str(config)]
    lines = "/task Write Python functions.\nhi\n/model nope\nhi\n/model et2l@off\nhi\n/quit\n"
    ended = subprocess.run(command, cwd=ROOT, input=lines, capture_output=True, text=True, timeout=300, check=True)
    assert re.search(r"\[generated [0-9a-f]{16} .*code_generation=", ended.stderr)
    assert "The model `nope` does not exist" in ended.stderr
    assert "[base none ]" in ended.stderr


def test_ctrl_c_ends_a_running_answer_and_exits_cleanly(default_model_path, tmp_path):
    """The answer is told why it ends; the process ends with status 0 and leaves the port."""
    server = start(tmp_path, default_model_path, ET2L__SERVER__SHUTDOWN_GRACE_S="0.2")
    body = {"model": f"{MODEL}@off", "messages": [HI], "max_tokens": 3000, "stream": True}
    body["logit_bias"] = {"151645": -100}
    with httpx.stream("POST", f"{server.url}/v1/chat/completions", json=body, timeout=60) as reply:
        lines = reply.iter_lines()
        next(lines)
        server.process.send_signal(signal.SIGINT)
        *_, last = (line for line in lines if line)
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "shutting_down"
    assert server.process.wait(30) == 0
    assert "Traceback" not in server.log.read_text()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/health")
