import ast
import dataclasses
import tomllib
from pathlib import Path

import pytest

from proxy.config import Config, ConfigError, ServerConfig, load_config

ROOT = Path(__file__).parents[2]


def written(tmp_path, text):
    path = tmp_path / "config.toml"
    path.write_text(text)
    return path


def plain(value):
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else "" if value is None else value


def test_config_toml_says_every_key_with_its_default():
    tables = tomllib.loads((ROOT / "config.toml").read_text())
    defaults = {
        section.name: {
            key.name: plain(getattr(getattr(Config(), section.name), key.name))
            for key in dataclasses.fields(getattr(Config(), section.name))
        }
        for section in dataclasses.fields(Config)
    }
    assert tables == defaults


def test_every_key_is_read_somewhere():
    read = set()
    for folder in ("proxy", "adapters", "t2l"):
        for file in (ROOT / folder).rglob("*.py"):
            if file != ROOT / "proxy" / "config.py":
                tree = ast.parse(file.read_text())
                read |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for section in dataclasses.fields(Config):
        keys = {key.name for key in dataclasses.fields(getattr(Config(), section.name))}
        assert section.name in read and keys <= read, f"[{section.name}]: {keys - read} is read nowhere"


def test_without_a_file_the_defaults_hold(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load_config(environ={})
    assert config.server == ServerConfig()
    assert config.model.path == tmp_path / "models/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"


def test_the_file_is_found_by_option_environment_and_working_directory(tmp_path, monkeypatch):
    for name, port in (("a", 1001), ("b", 1002), ("c", 1003)):
        (tmp_path / name).mkdir()
        written(tmp_path / name, f"[server]\nport = {port}\n")
    monkeypatch.chdir(tmp_path / "c")
    environ = {"ET2L_CONFIG": str(tmp_path / "b" / "config.toml")}
    assert load_config(tmp_path / "a" / "config.toml", environ).server.port == 1001
    assert load_config(environ=environ).server.port == 1002
    assert load_config(environ={}).server.port == 1003
    with pytest.raises(ConfigError, match="no such configuration file"):
        load_config(tmp_path / "missing.toml", {})


def test_paths_are_relative_to_the_file(tmp_path):
    config = load_config(written(tmp_path, '[cache]\npath = "x/c.db"\nstore_path = "/abs"\n'), {})
    assert config.cache.path == tmp_path / "x/c.db"
    assert config.cache.store_path == Path("/abs")
    assert config.lora.allowed_root is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[server]\nprt = 1", r"server\.prt: no such key; \[server\] has host, port"),
        ("[srv]\nport = 1", r"srv: no such section; there are server, model"),
        ("port = 1", r"port: want a section"),
        ('[server]\nport = "80"', r"server\.port: want a whole number, got '80'"),
        ("[server]\nport = true", r"server\.port: want a whole number, got True"),
        ("[server]\nport = 70000", r"server\.port: want at least 0 and at most 65535, got 70000"),
        ("[decomposer]\nalpha = 1.5", r"decomposer\.alpha: want at least 0 and at most 1, got 1\.5"),
        ("[decomposer]\nalpha = nan", r"decomposer\.alpha: want at least 0"),
        ('[adapt]\non_miss = "maybe"', r"adapt\.on_miss: want one of wait, base, require, got 'maybe'"),
        ("[server]\napi_keys = [1]", r"server\.api_keys: want a list of strings, got \[1\]"),
        ('[server]\napi_keys = [""]', r"server\.api_keys: want non-empty keys"),
        ('[server]\nhost = "0.0.0.0"', r"server\.api_keys: want at least one key when server\.host is '0\.0\.0\.0'"),
        ('[model]\nname = "a@b"', r"model\.name: want a printable name without '@'"),
        ('[cache]\npath = ""', r"cache\.path: want a path, got ''"),
        ("[server", r"not TOML"),
    ],
)
def test_what_cannot_be_used_stops_with_the_keys_full_name(tmp_path, text, told):
    with pytest.raises(ConfigError, match=told):
        load_config(written(tmp_path, text), {})


def test_the_environment_overrides_the_file(tmp_path):
    file = written(tmp_path, "[server]\nport = 1\nhost = '127.0.0.1'\n")
    environ = {
        "ET2L__SERVER__PORT": "9000",
        "ET2L__SERVER__API_KEYS": "one, two",
        "ET2L__MODEL__ALIASES": '["x"]',
        "ET2L__HINT__STRIP": "true",
        "ET2L__DECOMPOSER__ALPHA": "1",
        "ET2L__ENHANCER__LLM": "local",
        "ET2L__LORA__ALLOWED_ROOT": "loras",
    }
    config = load_config(file, environ)
    assert (config.server.port, config.server.api_keys) == (9000, ("one", "two"))
    assert (config.model.aliases, config.hint.strip, config.decomposer.alpha) == (("x",), True, 1.0)
    assert (config.enhancer.llm, config.lora.allowed_root) == ("local", tmp_path / "loras")
    with pytest.raises(ConfigError, match=r"server\.nope: no such key"):
        load_config(file, {"ET2L__SERVER__NOPE": "1"})
    with pytest.raises(ConfigError, match=r"server\.port: want a whole number, got 'many'"):
        load_config(file, {"ET2L__SERVER__PORT": "many"})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]", "127.9.9.9"])
def test_loopback_needs_no_key(host):
    assert ServerConfig(host=host).api_keys == ()
