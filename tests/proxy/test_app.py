"""The whole server through HTTP, with a fake engine and a fake shelf behind it."""

import base64
import io
import json
import struct
import tempfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
from starlette.testclient import TestClient

from proxy.app import create_app, tenant_of
from proxy.bodies import ToolCall
from proxy.config import AdaptConfig, HintConfig, ServerConfig
from proxy.engine.api import AdapterUnusable, EngineBusy, EngineClosed, EngineFailed
from tests.proxy.conftest import BASE

TASK = {"role": "system", "content": "Task: write code\nBe kind."}
HI = {"role": "user", "content": "hi"}


def ask(client, headers=None, **fields):
    return client.post("/v1/chat/completions", json={"model": BASE, "messages": [HI], **fields}, headers=headers)


def events(reply):
    lines = [line for line in reply.text.split("\n\n") if line]
    assert all(line.startswith("data: ") for line in lines)
    return [line if line == "data: [DONE]" else json.loads(line.removeprefix("data: ")) for line in lines]


# --- answers ------------------------------------------------------------------------------------------------


def test_a_chat_completion_has_openais_shape(client):
    body = ask(client).json()
    assert body["object"] == "chat.completion" and body["id"].startswith("chatcmpl-")
    assert body["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0


def test_a_stream_begins_with_the_role_and_ends_with_done(client):
    reply = ask(client, stream=True)
    assert reply.headers["content-type"].startswith("text/event-stream")
    *chunks, done = events(reply)
    assert done == "data: [DONE]"
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert "".join(delta.get("content", "") for delta in deltas) == "Hello"
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[-2:]] == [None, "stop"]
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert not any("usage" in chunk for chunk in chunks)


def test_usage_is_streamed_where_asked_for(client):
    *chunks, last, _ = events(ask(client, stream=True, stream_options={"include_usage": True}))
    assert all(chunk["usage"] is None for chunk in chunks)
    assert last["choices"] == [] and last["usage"]["completion_tokens"] == 2


def test_n_answers_come_with_their_index(client):
    body = ask(client, n=3).json()
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2]
    streamed = events(ask(client, n=3, stream=True))[:-1]
    assert {chunk["choices"][0]["index"] for chunk in streamed} == {0, 1, 2}


def test_logprobs_have_openais_shape(client):
    content = ask(client, logprobs=True, top_logprobs=2).json()["choices"][0]["logprobs"]["content"]
    assert content[0]["token"] == "Hel" and content[0]["bytes"] == [72, 101, 108]
    assert [one["token"] for one in content[0]["top_logprobs"]] == ["a", "b"]
    chunks = events(ask(client, logprobs=True, stream=True))[:-1]
    told = [chunk["choices"][0]["logprobs"] for chunk in chunks if chunk["choices"][0]["logprobs"]]
    assert [one["content"][0]["token"] for one in told] == ["Hel", "lo"]


def test_the_request_reaches_the_engine(client, engine):
    ask(client, temperature=0.25, stop=["x"], max_tokens=9, seed=3)
    generation = engine.submitted[-1]
    assert (generation.sampling.temperature, generation.sampling.top_k, generation.sampling.seed) == (0.25, 11, 3)
    assert (generation.stop, generation.max_tokens, generation.incremental) == (("x",), 9, False)
    assert engine.prompt() == "user: hi\n"
    ask(client, response_format={"type": "json_object"})
    assert engine.submitted[-1].sampling.grammar == 'root ::= "any"'


def test_tool_calls_are_read_from_the_answer_streaming_or_not(client, engine):
    engine.pieces = ["Sure. ", "<tool_", 'call>\n{"name": "f", "argu', 'ments": {"x": 1}}\n</tool_call>']
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    choice = ask(client, tools=tools).json()["choices"][0]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("tool_calls", "Sure. ")
    call = choice["message"]["tool_calls"][0]
    assert (call["type"], call["function"]) == ("function", {"name": "f", "arguments": '{"x": 1}'})
    assert engine.prompt().startswith("tools: ['f']")
    deltas = [chunk["choices"][0] for chunk in events(ask(client, tools=tools, stream=True))[:-1]]
    streamed = [delta["delta"]["tool_calls"][0] for delta in deltas if "tool_calls" in delta["delta"]]
    assert [(one["index"], one["function"]["name"]) for one in streamed] == [(0, "f")]
    assert deltas[-1]["finish_reason"] == "tool_calls"


def test_without_parallel_calls_the_answer_stops_after_one(client, engine):
    engine.pieces = ['<tool_call>\n{"name": "f", "arguments": {}}\n']  # what the stop string leaves
    tools = [{"type": "function", "function": {"name": "f"}}]
    choice = ask(client, tools=tools, parallel_tool_calls=False).json()["choices"][0]
    assert engine.submitted[-1].stop == ("</tool_call>",)
    assert choice["finish_reason"] == "tool_calls" and len(choice["message"]["tool_calls"]) == 1


def test_tools_with_choice_none_are_not_told_to_the_model(client, engine):
    engine.pieces = ['{"name": "f", "arguments": {}}']
    tools = [{"type": "function", "function": {"name": "f"}}]
    choice = ask(client, tools=tools, tool_choice="none").json()["choices"][0]
    assert "tools" not in engine.prompt() and choice["finish_reason"] == "stop"


def test_completions_echo_and_score_a_prompt_as_lm_eval_asks(client, engine):
    body = {"model": BASE, "prompt": [[97, 98, 99], [100]], "echo": True, "max_tokens": 1, "logprobs": 1}
    engine.pieces = ["z"]
    first, second = client.post("/v1/completions", json=body).json()["choices"]
    assert (first["index"], second["index"]) == (0, 1)
    assert first["text"] == "abcz" and first["logprobs"]["tokens"] == ["a", "b", "c", "z"]
    assert first["logprobs"]["token_logprobs"] == [None, -0.5, -0.5, -0.25]
    assert first["logprobs"]["text_offset"] == [0, 1, 2, 3]
    assert first["logprobs"]["top_logprobs"][0] is None
    assert first["logprobs"]["top_logprobs"][-1] == {"a": -1.0}
    assert second["text"] == "dz"
    scored = client.post("/v1/completions", json={**body, "max_tokens": 0}).json()["choices"][0]
    assert scored["text"] == "abc" and len(scored["logprobs"]["tokens"]) == 3


def test_completions_stream_every_prompt(client):
    body = {"model": BASE, "prompt": ["a", "b"], "n": 2, "stream": True, "echo": True}
    *chunks, done = events(client.post("/v1/completions", json=body))
    texts = {}
    for chunk in chunks:
        choice = chunk["choices"][0]
        texts[choice["index"]] = texts.get(choice["index"], "") + choice["text"]
    assert texts == {0: "aHello", 1: "aHello", 2: "bHello", 3: "bHello"} and done == "data: [DONE]"


def test_embeddings_come_as_floats_and_base64(client):
    floats = client.post("/v1/embeddings", json={"model": "mini", "input": ["ab", "c d"]}).json()
    assert [row["embedding"] for row in floats["data"]] == [[2, 0, 0, 1], [3, 0, 0, 1]]
    assert floats["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    body = {"model": "mini", "input": "ab", "encoding_format": "base64"}
    packed = client.post("/v1/embeddings", json=body).json()["data"][0]["embedding"]
    assert struct.unpack("<4f", base64.b64decode(packed)) == (2, 0, 0, 1)
    assert client.post("/v1/embeddings", json={"model": BASE, "input": "x"}).status_code == 404
    assert client.post("/v1/embeddings", json={"model": "mini", "input": [1]}).status_code == 400
    assert client.post("/v1/embeddings", json={**body, "dimensions": 5}).status_code == 400


# --- adaptation ---------------------------------------------------------------------------------------------


def test_the_headers_tell_where_the_adapter_came_from(client):
    first, again = ask(client, messages=[TASK, HI]), ask(client, messages=[TASK, HI])
    near = ask(client, messages=[{"role": "system", "content": "Task: write the same code"}, HI])
    off = ask(client, messages=[TASK, HI], model=f"{BASE}@off")
    pinned = ask(client, model=f"{BASE}@0000000000000001")
    told = [reply.headers["x-et2l-source"] for reply in (first, again, near, off, pinned, ask(client))]
    assert told == ["generated", "exact", "semantic", "base", "pinned", "base"]
    assert first.headers["x-et2l-adapter"] == pinned.headers["x-et2l-adapter"] == "0000000000000001"
    assert off.headers["x-et2l-adapter"] == "none"
    assert first.headers["x-et2l-skills"] == "code_generation=0.60,task=0.40"
    assert near.headers["x-et2l-similarity"] == "0.9500"
    assert float(first.headers["x-et2l-adapt-ms"]) >= 0
    assert first.json()["system_fingerprint"] == "fp_bbbbbbbbbbbb_0000000000000001"
    assert off.json()["system_fingerprint"] == "fp_bbbbbbbbbbbb_base"


def test_streams_carry_the_same_headers(client):
    reply = ask(client, messages=[TASK, HI], stream=True)
    assert reply.headers["x-et2l-source"] == "generated" and "x-request-id" in reply.headers


def test_the_adapter_is_attached_and_its_hint_leaves_the_prompt_where_asked(client, engine):
    strip = {"strip": True}
    ask(client, messages=[TASK, HI], et2l=strip)
    assert engine.submitted[-1].placement.adapter.digest == "0000000000000001"
    assert engine.prompt() == "system: Be kind.\nuser: hi\n"
    ask(client, messages=[{"role": "system", "content": "Task: write code"}, HI], et2l=strip)
    assert engine.prompt() == "system: \nuser: hi\n"  # an empty system prompt, not the template's own


@pytest.mark.parametrize("model, task", [(f"{BASE}@off", "Task: write code"), (BASE, "Task: nothing")])
def test_the_base_model_is_told_the_task(client, engine, model, task):
    ask(client, messages=[{"role": "system", "content": task}, HI], model=model, et2l={"strip": True})
    assert engine.submitted[-1].placement.adapter is None
    assert engine.prompt() == f"system: {task}\nuser: hi\n"


def test_the_request_can_set_task_strip_and_on_miss(client, engine, shelf):
    ask(client, messages=[TASK, HI], et2l={"task": "from the field"})
    assert shelf.made[-1].task == "from the field" and engine.prompt().startswith("system: Task: write code")
    ask(client, messages=[TASK, HI])
    assert engine.prompt().startswith("system: Task: write code")
    ask(client, headers={"x-et2l-task": "写代码".encode()})
    assert shelf.made[-1].task == "写代码"
    refused = ask(client, et2l={"task": "nothing", "on_miss": "require"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "no_skill_found")
    assert ask(client, et2l={"on_miss": "require"}).status_code == 422


def test_a_failing_pipeline_never_fails_the_answer(client, shelf):
    shelf.fails = RuntimeError("no memory")
    reply = ask(client, messages=[TASK, HI])
    assert (reply.status_code, reply.headers["x-et2l-source"]) == (200, "fallback")
    assert b"et2l_pipeline_failures_total 1.0" in client.get("/metrics").content
    assert ask(client, messages=[TASK, HI], et2l={"on_miss": "require"}).status_code == 503


@pytest.mark.parametrize("stream", [False, True])
def test_an_adapter_that_the_engine_refuses_is_answered_by_the_base_model(client, engine, stream):
    engine.refused = AdapterUnusable("0" * 16, "not GGUF")
    reply = ask(client, messages=[TASK, HI], stream=stream)
    assert (reply.status_code, reply.headers["x-et2l-source"]) == (200, "fallback")
    assert engine.prompt().startswith("system: Task: write code") and engine.streams[0].closed
    for insisting in ({"et2l": {"on_miss": "require"}}, {"model": f"{BASE}@0000000000000001"}):
        refused = ask(client, **{"messages": [TASK, HI], "stream": stream, **insisting})
        assert (refused.status_code, refused.json()["error"]["code"]) == (500, "adapter_unusable")


def test_the_configuration_decides_what_the_request_leaves_open(build, engine):
    services = build(adapt=AdaptConfig(on_miss="base"), hint=HintConfig(use_system_prompt=False, strip=True))
    with TestClient(create_app(services.config.server, lambda: services)) as client:
        assert (
            ask(client, messages=[{"role": "system", "content": "write code"}, HI]).headers["x-et2l-source"] == "base"
        )
        assert ask(client, messages=[TASK, HI]).headers["x-et2l-source"] == "base"
        services.adapters._worker.submit(lambda: None).result()
        assert ask(client, messages=[TASK, HI]).headers["x-et2l-source"] == "exact"
        assert engine.prompt().startswith("system: Be kind.")


def test_tool_results_go_back_to_the_template(client, engine):
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [HI, {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "1", "content": "42"}]
    assert ask(client, messages=messages).status_code == 200
    assert engine.prompt() == "user: hi\nassistant: \ntool: 42\n"
    assert ToolCall("1", "f", "{}").arguments == "{}"


# --- adapters, models, the server ---------------------------------------------------------------------------


def test_adapters_are_created_listed_shown_and_deleted(client):
    made = client.post("/v1/adapters", json={"task": "write code", "weights": {"a": 1}})
    assert made.status_code == 201
    card = made.json()
    assert (card["hint"], card["weights"], card["resolution"]["source"]) == ("write code", {"a": 1.0}, "generated")
    again = client.post("/v1/adapters", json={"task": "write code", "weights": {"a": 1}})
    assert (again.status_code, again.json()["resolution"]["source"]) == (200, "exact")
    assert [one["id"] for one in client.get("/v1/adapters").json()["data"]] == [card["id"]]
    assert client.get(f"/v1/adapters/{card['id']}").json()["hint"] == "write code"
    assert f"{BASE}@{card['id']}" in [one["id"] for one in client.get("/v1/models").json()["data"]]
    assert client.delete(f"/v1/adapters/{card['id']}").json()["deleted"] is True
    assert client.get(f"/v1/adapters/{card['id']}").status_code == 404
    assert client.post("/v1/adapters", json={"task": "nothing"}).status_code == 422


def test_requests_that_wait_for_an_adapter_leave_the_others_their_threads(client, shelf):
    shelf.may_finish.clear()
    with ThreadPoolExecutor(64) as pool:
        waiting = [pool.submit(ask, client, messages=[TASK, HI]) for _ in range(60)]  # anyio's own pool has 40
        try:
            time.sleep(0.3)
            assert client.get("/v1/adapters").status_code == 200
            assert not any(one.done() for one in waiting)
        finally:
            shelf.may_finish.set()
        assert {one.result().status_code for one in waiting} == {200}


def test_an_adapter_can_be_downloaded_and_nothing_stays_behind(client, tmp_path, monkeypatch):
    packing = tmp_path / "packing"
    packing.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(packing))
    digest = client.post("/v1/adapters", json={"task": "write code"}).json()["id"]
    (tmp_path / digest).mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors", "card.json", "adapter.gguf"):
        (tmp_path / digest / name).write_text(name)
    peft = client.get(f"/v1/adapters/{digest}/download")
    with zipfile.ZipFile(io.BytesIO(peft.content)) as packed:
        wanted = ["adapter_config.json", "adapter_model.safetensors", "card.json"]
        assert sorted(packed.namelist()) == [f"{digest}/{name}" for name in wanted]
        told = json.loads(packed.read(f"{digest}/card.json"))
        assert told["hint"] == "write code", "the asker's card, not the folder's, which may be another tenant's"
    assert not list(packing.iterdir())
    for wanted, status in (("bytes=0-9", 206), ("bytes=99999999-", 416), ("x", 400)):
        assert client.get(f"/v1/adapters/{digest}/download", headers={"range": wanted}).status_code == status
        assert not list(packing.iterdir())
    gguf = client.get(f"/v1/adapters/{digest}/download?format=gguf")
    assert (gguf.text, gguf.headers["content-disposition"]) == ("adapter.gguf", f'attachment; filename="{digest}.gguf"')
    assert client.get(f"/v1/adapters/{digest}/download?format=onnx").json()["error"]["param"] == "format"


def test_feedback_is_recorded(client, shelf):
    digest = client.post("/v1/adapters", json={"task": "write code"}).json()["id"]
    given = {"adapter": digest, "rating": 0.5, "skills": {"a": True}}
    assert client.post("/v1/feedback", json=given).json()["recorded"] is True
    assert shelf.ratings == [(digest, 0.5, {"a": True}, "local")]
    assert client.post("/v1/feedback", json={**given, "adapter": "0" * 16}).status_code == 404


def test_models_have_cards(client):
    cards = client.get("/v1/models").json()["data"]
    assert {"root", "parent", "max_model_len", "created", "id", "object", "owned_by"} == cards[0].keys()
    assert client.get("/v1/models/et2l").json()["parent"] == BASE
    assert client.get("/v1/models/none").json()["error"]["code"] == "model_not_found"


def test_health_metrics_cache_and_dashboard_answer(client):
    health = client.get("/health").json()
    assert (health["ready"], health["adaptation"], health["generated_tokens"]) == (True, "on", 7)
    ask(client, messages=[TASK, HI])
    text = client.get("/metrics").text
    assert 'et2l_http_requests_total{route="/v1/chat/completions",status="200"} 1.0' in text
    assert 'et2l_resolutions_total{source="generated"} 1.0' in text and "et2l_generated_tokens_total 7.0" in text
    assert client.get("/v1/cache").json() == {"adapters": 1, "misses": 1}
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "http://" not in page.text and "https://" not in page.text  # nothing from elsewhere


# --- errors and doors ---------------------------------------------------------------------------------------


def test_wrong_routes_methods_and_bodies_are_told_in_openais_shape(client):
    for reply, status, code in (
        (client.get("/v1/nothing"), 404, "unknown_url"),
        (client.get("/v1/chat/completions"), 405, "method_not_supported"),
        (client.post("/v1/chat/completions", content=b"{"), 400, None),
        (ask(client, model="other"), 404, "model_not_found"),
        (ask(client, messages=[{"role": "user", "content": "x" * 2000}]), 400, "context_length_exceeded"),
        (ask(client, temperature=9), 400, "invalid_value"),
    ):
        assert reply.status_code == status
        assert reply.json()["error"].keys() == {"message", "type", "param", "code"}
        assert reply.json()["error"]["code"] == code
        assert reply.headers["x-request-id"]


def test_a_body_over_the_limit_is_refused(build):
    services = build(ServerConfig(max_body_bytes=1024, allowed_hosts=("testserver",)))
    with TestClient(create_app(services.config.server, lambda: services)) as client:
        reply = client.post("/v1/chat/completions", content=b" " * 5000)
        assert (reply.status_code, reply.json()["error"]["code"]) == (413, "request_too_large")


@pytest.mark.parametrize("stream", [False, True])
def test_what_fails_before_the_first_token_is_told_by_the_status(client, engine, stream):
    engine.pieces, engine.error = [], EngineClosed("shutting down")
    reply = ask(client, stream=stream)
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")


def test_what_fails_later_is_an_event_and_then_the_end(client, engine):
    engine.error = EngineFailed("out of memory")
    *_, last = events(ask(client, stream=True))
    assert last["error"]["message"] == "out of memory" and last["error"]["type"] == "server_error"


def test_a_full_queue_asks_to_come_back(client, engine):
    def full(generation):
        raise EngineBusy(64, 64)

    engine.submit = full
    reply = ask(client)
    assert (reply.status_code, reply.headers["retry-after"]) == (429, "1")


def test_a_fault_of_ours_is_a_500_without_its_text(client, engine, caplog):
    def broken(generation):
        raise RuntimeError("secret")

    engine.submit = broken
    reply = ask(client)
    assert reply.status_code == 500 and "secret" not in reply.text and "secret" in caplog.text


def test_the_clients_request_id_comes_back_if_it_is_a_sane_one(client):
    assert client.get("/health", headers={"x-request-id": "abc-1"}).headers["x-request-id"] == "abc-1"
    for odd in ("a b", "x" * 200, "ü"):
        reply = client.get("/health", headers={"x-request-id": odd.encode()})
        assert reply.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "testserver.evil.example:80"])
def test_another_host_is_refused(client, host):
    reply = client.get("/health", headers={"host": host})
    assert (reply.status_code, reply.json()["error"]["code"]) == (403, "host_not_allowed")


def test_allowed_hosts_may_carry_a_port_and_the_star_allows_all(client, build):
    assert client.get("/health", headers={"host": "127.0.0.1:8000"}).status_code == 200
    services = build(ServerConfig(allowed_hosts=("*",)))
    with TestClient(create_app(services.config.server, lambda: services)) as open_client:
        assert open_client.get("/health", headers={"host": "any.example"}).status_code == 200


def test_web_pages_of_other_sites_are_refused(client):
    for origin in ("http://evil.example", "https://evil.example:8000", "null"):
        assert client.get("/health", headers={"origin": origin}).status_code == 403
    for origin in ("http://testserver", "vscode-webview://abc", "chrome-extension://abc"):
        assert client.get("/health", headers={"origin": origin}).status_code == 200


def test_keys_are_asked_for_and_name_the_tenant(build, shelf):
    services = build(ServerConfig(api_keys=("one", "zwei-ü"), allowed_hosts=("testserver",)))
    with TestClient(create_app(services.config.server, lambda: services)) as client:
        for headers in (
            {},
            {"authorization": "Bearer wrong"},
            {"authorization": "Basic one"},
            {"authorization": "one"},
        ):
            refused = ask(client, headers=headers)
            assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
            assert client.get("/metrics", headers=headers).status_code == 401
        assert client.get("/health").status_code == 200 and client.get("/").status_code == 200
        one = {"authorization": "Bearer one"}
        two = {"authorization": "Bearer zwei-ü".encode()}
        assert ask(client, headers=one, messages=[TASK, HI]).headers["x-et2l-source"] == "generated"
        assert ask(client, headers=two, messages=[TASK, HI]).headers["x-et2l-source"] == "generated"
        assert [wanted.tenant for wanted in shelf.made] == [tenant_of("one"), tenant_of("zwei-ü")]
        assert [one["id"] for one in client.get("/v1/adapters", headers=one).json()["data"]] == ["0000000000000001"]
        assert client.get("/v1/adapters/0000000000000002", headers=one).status_code == 404
        assert ask(client, headers=one, model=f"{BASE}@0000000000000002").status_code == 404


def test_the_server_closes_its_parts(build, engine):
    services = build()
    with TestClient(create_app(services.config.server, lambda: services)):
        assert not engine.closed
    assert engine.closed


@pytest.mark.parametrize("prompt", ["", ["a", ""]])
def test_an_empty_prompt_is_a_bad_request(client, prompt):
    reply = client.post("/v1/completions", json={"model": BASE, "prompt": prompt})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "prompt")


def test_a_name_cut_within_an_emoji_is_not_found(client):
    body = b'{"model": "m\\ud83d", "messages": [{"role": "user", "content": "hi"}]}'
    reply = client.post("/v1/chat/completions", content=body)
    assert reply.status_code == 404 and "\ufffd" in reply.json()["error"]["message"]
