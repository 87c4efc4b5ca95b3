"""The configuration: config.toml, overridden by ET2L__SECTION__KEY, as nested frozen values.

Read once, in the entry point. A key that does not exist, has the wrong type or an impossible value is a
ConfigError with the key's full name and what was expected. config.toml explains every key; its values are the
defaults here (a test compares them). Relative paths are relative to the file, or to the working directory
when there is no file.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

FILE_NAME = "config.toml"
ENV_FILE = "ET2L_CONFIG"
ENV_PREFIX = "ET2L__"


class ConfigError(Exception):
    """The configuration cannot be used; the message names the key and what was expected."""


def number(default: float, low: float, high: float = float("inf")) -> Any:
    """A field whose value must lie in [low, high]."""
    return field(default=default, metadata={"low": low, "high": high})


@dataclass(frozen=True, slots=True)
class ServerConfig:
    host: str = "127.0.0.1"
    port: int = number(8000, 0, 65535)
    api_keys: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]")
    max_body_bytes: int = number(4_194_304, 1024)
    shutdown_grace_s: float = number(5.0, 0)
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    def __post_init__(self) -> None:
        if not self.api_keys and not is_loopback(self.host):
            raise ConfigError(
                f"server.api_keys: want at least one key when server.host is {self.host!r} (not loopback)"
            )
        if not all(self.api_keys):
            raise ConfigError("server.api_keys: want non-empty keys, got an empty one")


@dataclass(frozen=True, slots=True)
class ModelConfig:
    name: str = "qwen2.5-coder-0.5b-instruct"
    path: Path = Path("models/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf")
    aliases: tuple[str, ...] = ("et2l",)

    def __post_init__(self) -> None:
        for key, name in (("model.name", self.name), *(("model.aliases", alias) for alias in self.aliases)):
            if not name or "@" in name or not name.isprintable():
                raise ConfigError(f"{key}: want a printable name without '@', got {name!r}")


@dataclass(frozen=True, slots=True)
class EngineConfig:
    context_tokens: int = number(32_768, 256)
    max_sequences: int = number(8, 1, 256)
    batch_tokens: int = number(512, 16)
    threads: int = number(0, 0)
    gpu_layers: int = number(0, -1)
    queue_limit: int = number(64, 0)
    adapter_pool_bytes: int = number(1_073_741_824, 0)
    prefix_cache_bytes: int = number(1_073_741_824, 0)
    max_wait_steps: int = number(8, 1)


@dataclass(frozen=True, slots=True)
class SamplingConfig:
    temperature: float = number(0.7, 0, 2)
    top_p: float = number(0.8, 0, 1)
    top_k: int = number(20, 0)
    min_p: float = number(0.0, 0, 1)
    repeat_penalty: float = number(1.0, 0.01, 10)


@dataclass(frozen=True, slots=True)
class HintConfig:
    use_system_prompt: bool = True
    max_words: int = number(200, 1)
    strip: bool = False


@dataclass(frozen=True, slots=True)
class AdaptConfig:
    on_miss: Literal["wait", "base", "require"] = "wait"
    budget_ms: int = number(5000, 0)
    device: Literal["auto", "cpu", "cuda"] = "auto"


@dataclass(frozen=True, slots=True)
class EmbedderConfig:
    path: Path | None = None
    threads: int = number(1, 1)
    trust_remote_code: bool = False


@dataclass(frozen=True, slots=True)
class EnhancerConfig:
    llm: str = "off"
    llm_timeout_s: float = number(10.0, 0.1)


@dataclass(frozen=True, slots=True)
class DecomposerConfig:
    alpha: float = number(0.4, 0, 1)
    skills: Path | None = None


@dataclass(frozen=True, slots=True)
class HypernetworkConfig:
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class ComposerConfig:
    mode: Literal["learned", "equal", "hierarchical"] = "learned"


@dataclass(frozen=True, slots=True)
class CacheConfig:
    path: Path = Path("cache.db")
    index_path: Path = Path("cache.usearch")
    store_path: Path = Path("adapters/store")
    semantic_threshold: float = number(0.50, -1, 1)
    max_bytes: int = number(10_737_418_240, 0)


@dataclass(frozen=True, slots=True)
class BuildsConfig:
    path: Path = Path("models/builds")
    promote: bool = False
    promote_after_hits: int = number(20, 1)
    promote_after_tokens: int = number(20_000, 0)
    max_loaded: int = number(1, 1)
    max_bytes: int = number(4_294_967_296, 0)
    store: Literal["q8_0", "same", "f16", "auto"] = "q8_0"


@dataclass(frozen=True, slots=True)
class LoraConfig:
    allowed_root: Path | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration. Each part is given its own section."""

    server: ServerConfig = field(default_factory=ServerConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    hint: HintConfig = field(default_factory=HintConfig)
    adapt: AdaptConfig = field(default_factory=AdaptConfig)
    embedder: EmbedderConfig = field(default_factory=EmbedderConfig)
    enhancer: EnhancerConfig = field(default_factory=EnhancerConfig)
    decomposer: DecomposerConfig = field(default_factory=DecomposerConfig)
    hypernetwork: HypernetworkConfig = field(default_factory=HypernetworkConfig)
    composer: ComposerConfig = field(default_factory=ComposerConfig)
    cache: CacheConfig = field(default_factory=CacheConfig)
    builds: BuildsConfig = field(default_factory=BuildsConfig)
    lora: LoraConfig = field(default_factory=LoraConfig)


def load_config(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Config:
    """The configuration from `path`, else $ET2L_CONFIG, else ./config.toml, else the defaults; then the
    overrides.

    Raises ConfigError.
    """
    file = find_file(path, environ)
    tables = read_file(file) if file else {}
    root = (file.parent if file else Path()).absolute()
    for (section, key), text in overrides(environ).items():
        tables.setdefault(section, {})[key] = text
    sections = get_type_hints(Config)
    for section in tables:
        if section not in sections:
            raise ConfigError(f"{section}: no such section; there are {', '.join(sections)}")
    return Config(**{name: make_section(name, kind, tables.get(name, {}), root) for name, kind in sections.items()})


def find_file(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    named = path or (Path(environ[ENV_FILE]) if environ.get(ENV_FILE) else None)
    if named is not None:
        if not named.is_file():
            raise ConfigError(f"{named}: no such configuration file")
        return named
    return Path(FILE_NAME) if Path(FILE_NAME).is_file() else None


def read_file(file: Path) -> dict[str, dict[str, Any]]:
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{file}: not TOML: {exc}") from exc
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise ConfigError(f"{name}: want a section ([{name}]), got {table!r}")
    return tables


def overrides(environ: Mapping[str, str]) -> dict[tuple[str, str], FromEnv]:
    """ET2L__SECTION__KEY=value of the environment, by (section, key) in lower case."""
    found = {}
    for name, text in environ.items():
        if name.startswith(ENV_PREFIX):
            section, _, key = name.removeprefix(ENV_PREFIX).lower().partition("__")
            found[section, key] = FromEnv(text)
    return found


class FromEnv(str):
    """A value given as text by the environment; it is read as its key's type asks."""


def make_section(section: str, kind: type, table: Mapping[str, Any], root: Path) -> Any:
    known = {item.name: item for item in fields(kind)}
    for key in table:
        if key not in known:
            raise ConfigError(f"{section}.{key}: no such key; [{section}] has {', '.join(known)}")
    types = get_type_hints(kind)
    values = {}
    for key, item in known.items():
        value = convert(f"{section}.{key}", types[key], table.get(key, item.default))
        check_range(f"{section}.{key}", item, value)
        values[key] = (root / value.expanduser()) if isinstance(value, Path) else value
    return kind(**values)


def convert(name: str, kind: Any, given: Any) -> Any:
    """`given` as a value of `kind`, or ConfigError."""
    value = read_text(name, kind, given) if isinstance(given, FromEnv) else given
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise ConfigError(f"{name}: want one of {', '.join(get_args(kind))}, got {value!r}")
        return value
    if kind is float and type(value) in (int, float):
        return float(value)
    if kind in (bool, int, str) and type(value) is kind:
        return value
    if get_origin(kind) is tuple and isinstance(value, list | tuple) and all(type(one) is str for one in value):
        return tuple(value)
    if kind is Path and isinstance(value, str | Path) and str(value):
        return Path(value)
    if kind == Path | None and (value is None or isinstance(value, str)):
        return Path(value) if value else None
    raise ConfigError(f"{name}: want {describe(kind)}, got {given!r}")


def read_text(name: str, kind: Any, text: str) -> Any:
    """An environment value: text as it stands, or JSON for numbers, true/false and lists (lists also as
    a,b,c).
    """
    if kind in (str, Path) or kind == Path | None or get_origin(kind) is Literal:
        return str(text)
    if get_origin(kind) is tuple and not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        return json.loads(text)
    except ValueError as exc:
        raise ConfigError(f"{name}: want {describe(kind)}, got {str(text)!r}") from exc


def check_range(name: str, item: Field[Any], value: Any) -> None:
    if "low" in item.metadata and not item.metadata["low"] <= value <= item.metadata["high"]:
        bounds = f"at least {item.metadata['low']}"
        if item.metadata["high"] != float("inf"):
            bounds += f" and at most {item.metadata['high']}"
        raise ConfigError(f"{name}: want {bounds}, got {value!r}")


def describe(kind: Any) -> str:
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a string", Path: "a path"}
    if kind == Path | None:
        return 'a path or ""'
    return names.get(kind, "a list of strings")


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
