"""Tiny real models and adapters for llama.cpp, written by the tests themselves; and an engine over them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import gguf
import numpy as np
import pytest

from proxy.config import EngineConfig
from proxy.engine.api import AdapterFile
from proxy.engine.engine import Engine

HIDDEN, LAYERS, HEADS, FEED_FORWARD = 64, 2, 4, 96
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def byte_tokens() -> list[str]:
    """GPT-2's spelling of the 256 bytes: printable ones stand for themselves, the others for 256, 257, ..."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


def write_tiny_model(path: Path, seed: int = 0, context: int = 512) -> Path:
    """A random float32 qwen2 model over bytes (token id = byte value), with im_end as its end token."""
    random = np.random.default_rng(seed)
    tokens = [*byte_tokens(), "he", *SPECIAL]
    vocabulary = len(tokens)
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_name("tiny")
    writer.add_context_length(context)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS // 2)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.NORMAL] * (256 + 1) + [gguf.TokenType.CONTROL] * len(SPECIAL))
    writer.add_token_merges(["h e"])
    writer.add_eos_token_id(vocabulary - 1)
    writer.add_bos_token_id(vocabulary - 3)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)

    def tensor(name: str, *shape: int, scale: float = 0.3) -> None:
        writer.add_tensor(name, random.normal(0, scale, shape).astype(np.float32))

    tensor("token_embd.weight", vocabulary, HIDDEN, scale=1.0)
    writer.add_tensor("output_norm.weight", np.ones(HIDDEN, np.float32))
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        writer.add_tensor(block + "attn_norm.weight", np.ones(HIDDEN, np.float32))
        writer.add_tensor(block + "ffn_norm.weight", np.ones(HIDDEN, np.float32))
        for name, rows in (("q", HIDDEN), ("k", HIDDEN // 2), ("v", HIDDEN // 2)):
            tensor(f"{block}attn_{name}.weight", rows, HIDDEN)
            tensor(f"{block}attn_{name}.bias", rows)
        tensor(block + "attn_output.weight", HIDDEN, HIDDEN)
        tensor(block + "ffn_gate.weight", FEED_FORWARD, HIDDEN)
        tensor(block + "ffn_up.weight", FEED_FORWARD, HIDDEN)
        tensor(block + "ffn_down.weight", HIDDEN, FEED_FORWARD)
    tensor("output.weight", vocabulary, HIDDEN)
    _write(writer)
    return path


def write_adapter(
    path: Path,
    seed: int,
    *,
    layers: int = LAYERS,
    shapes: dict[str, tuple[int, int]] | None = None,
    scale: float = 0.3,
) -> AdapterFile:
    """A random LoRA of rank 4. shapes: module -> (out_features, in_features)."""
    random = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 4.0)
    for layer in range(layers):
        for name, (rows, columns) in (shapes or {"attn_q": (HIDDEN, HIDDEN), "attn_v": (HIDDEN // 2, HIDDEN)}).items():
            base = f"blk.{layer}.{name}.weight"
            writer.add_tensor(base + ".lora_a", random.normal(0, scale, (4, columns)).astype(np.float32))
            writer.add_tensor(base + ".lora_b", random.normal(0, scale, (rows, 4)).astype(np.float32))
    _write(writer)
    return AdapterFile(digest=f"{seed:016x}", path=path)


def _write(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="session")
def tiny_model() -> Callable[..., Path]:
    """`write_tiny_model`, for tests that want another than the usual one."""
    return write_tiny_model


@pytest.fixture(scope="session")
def random_adapter() -> Callable[..., AdapterFile]:
    """`write_adapter`, for tests that want other shapes."""
    return write_adapter


@pytest.fixture(scope="session")
def tiny_model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("tiny") / "tiny.gguf")


@pytest.fixture(scope="session")
def tiny_adapters(tmp_path_factory: pytest.TempPathFactory) -> list[AdapterFile]:
    """Three adapters for the tiny model, each strong enough to change its answers."""
    folder = tmp_path_factory.mktemp("adapters")
    return [write_adapter(folder / f"{seed}.gguf", seed) for seed in (1, 2, 3)]


@pytest.fixture
def make_engine(tiny_model_path: Path) -> Iterator[Callable[..., Engine]]:
    """make_engine(**engine_config) starts an engine over the tiny model; it is closed after the test."""
    engines: list[Engine] = []

    def make(**settings: int) -> Engine:
        defaults = {"context_tokens": 1024, "max_sequences": 4, "batch_tokens": 64, "threads": 1}
        engines.append(Engine(tiny_model_path, EngineConfig(**(defaults | settings))))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


@pytest.fixture
def engine(make_engine: Callable[..., Engine]) -> Engine:
    return make_engine()
