import os
import time

import numpy as np
import pytest
from starlette.testclient import TestClient

from adapters.errors import AdapterNotFound
from adapters.lora import LoraAdapter, LoraDelta
from adapters.peft_file import write_peft
from proxy.app import create_app
from proxy.config import LoraConfig
from proxy.errors import BadRequest, LoadRefused
from proxy.loaded import KEPT_S, LoadedAdapters


def small_adapter(base, seed):
    a, b = (np.random.default_rng(seed).standard_normal(shape, dtype=np.float32) for shape in ((2, 8), (8, 2)))
    return LoraAdapter(base.digest, {"model.layers.0.self_attn.q_proj": LoraDelta(a, b, 1.0)})


@pytest.fixture
def root(tmp_path, base):
    """A folder with an adapter in it, one beside it, and links."""
    adapter = small_adapter(base, 0)
    for folder in ("allowed/mine", "outside"):
        (tmp_path / folder).mkdir(parents=True)
        write_peft(adapter, tmp_path / folder, "base")
    (tmp_path / "allowed/link").symlink_to(tmp_path / "outside")
    (tmp_path / "allowed/linked-files").mkdir()
    for file in (tmp_path / "outside").iterdir():
        (tmp_path / "allowed/linked-files" / file.name).symlink_to(file)
    (tmp_path / "allowed-too").mkdir()
    return tmp_path / "allowed"


@pytest.fixture
def loaded(root, base):
    loaded = LoadedAdapters(LoraConfig(root), {"et2l"}.__contains__, base, "base")
    yield loaded
    loaded.close()


def test_a_peft_folder_is_loaded_by_name_and_unloaded(loaded, root):
    loaded.load("mine", str(root / "mine"), "me")
    (one,) = loaded.list("me")
    assert (one.name, one.root, one.stored.card.source) == ("mine", root / "mine", "loaded")
    assert one.stored.gguf_path.is_file() and loaded.get(one.stored.digest, "me") == one.stored
    assert loaded.list("you") == [] and loaded.get(one.stored.digest, "you") is None
    loaded.load("relative", "mine", "me")
    loaded.unload("mine", "me")
    with pytest.raises(AdapterNotFound):
        loaded.unload("mine", "me")


def test_the_files_of_an_unloaded_adapter_go_once_no_queued_answer_can_want_them(loaded, root, base, monkeypatch):
    (root / "other").mkdir()
    write_peft(small_adapter(base, 1), root / "other", "base")
    for name in ("first", "second"):
        loaded.load(name, "mine", "me")
    files = loaded.list("me")[0].stored.folder
    loaded.unload("first", "me")
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + KEPT_S + 1)
    loaded.load("third", "other", "me")
    assert files.is_dir()  # "second" leads to it
    loaded.unload("second", "me")
    loaded.load("fourth", "other", "me")
    assert files.is_dir()  # just unloaded
    monkeypatch.setattr(time, "monotonic", lambda: now + 2 * KEPT_S + 3)
    loaded.load("fifth", "other", "me")
    assert not files.exists()
    loaded.load("again", "mine", "me")
    assert files.is_dir()


def test_a_name_in_use_is_refused(loaded):
    loaded.load("mine", "mine", "me")
    for name in ("mine", "et2l"):
        with pytest.raises(BadRequest, match="already been loaded"):
            loaded.load(name, "mine", "me")


@pytest.mark.parametrize(
    "path",
    ["../outside", "mine/../../outside", "link", "linked-files", "/etc", "nothing", "../allowed-too", "mine/card"],
)
def test_nothing_outside_the_allowed_root_is_read(loaded, root, path):
    with pytest.raises(LoadRefused, match="no folder under"):
        loaded.load("x", path, "me")
    with pytest.raises(LoadRefused):
        loaded.load("x", os.fspath(root.parent / "outside"), "me")


def test_loading_is_off_without_an_allowed_root(base):
    with pytest.raises(LoadRefused, match=r"set lora\.allowed_root"):
        LoadedAdapters(LoraConfig(), {"et2l"}.__contains__, base, "base").load("x", "mine", "me")


def test_the_routes_keep_vllms_contract(build, base, root):
    services = build(lora=LoraConfig(root))
    services.loaded.base = base
    with TestClient(create_app(services.config.server, lambda: services)) as client:
        body = {"lora_name": "mine", "lora_path": str(root / "mine")}
        reply = client.post("/v1/load_lora_adapter", json=body)
        assert (reply.status_code, reply.text) == (200, "Success: LoRA adapter 'mine' added successfully.")
        assert client.post("/v1/load_lora_adapter", json=body).status_code == 400
        escape = client.post("/v1/load_lora_adapter", json={"lora_name": "x", "lora_path": "../outside"})
        assert (escape.status_code, escape.json()["error"]["code"]) == (403, "path_not_allowed")
        unloaded = client.post("/v1/unload_lora_adapter", json={"lora_name": "mine"})
        assert (unloaded.status_code, unloaded.text) == (200, "Success: LoRA adapter 'mine' removed successfully.")
        assert client.post("/v1/unload_lora_adapter", json={"lora_name": "mine"}).status_code == 404
