"""The ggml door, against gguf's own numpy dequantiser and plain arithmetic."""

import subprocess
import sys

import gguf
import numpy as np
import pytest

from adapters import ggml
from adapters.errors import GgmlUnavailable

ROWS, COLUMNS = 6, 512
SLOW_TABLES = {"iq1_m", "iq2_s"}  # ggml computes for 10-20 s before it writes the first block of these
STORABLE = [k.name for k in ggml.types().values() if not k.needs_imatrix and k.name not in SLOW_TABLES]
NOT_IN_GGUF = {"q1_0"}  # gguf.quants has no reader for it


def weights(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((ROWS, COLUMNS), dtype=np.float32)


def stored(values: np.ndarray, kind: ggml.GgmlType) -> np.ndarray:
    out = np.empty(ROWS * kind.row_bytes(COLUMNS), np.uint8)
    ggml.quantize(values, kind, out)
    return out


def read_back(blocks: np.ndarray, kind: ggml.GgmlType) -> np.ndarray:
    out = np.empty((ROWS, COLUMNS), np.float32)
    ggml.dequantize(blocks, kind, out)
    return out


def test_the_types_a_model_file_uses_are_all_there():
    names = {kind.name for kind in ggml.types().values()}
    assert {"f32", "f16", "bf16", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0"} <= names
    assert {"q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "iq4_nl", "iq4_xs"} <= names


@pytest.mark.parametrize("name", [name for name in STORABLE if name not in NOT_IN_GGUF])
def test_dequantising_agrees_with_gguf(name):
    kind = ggml.type_by_name(name)
    blocks = stored(weights(), kind)
    plain = {"f32": np.float32, "f16": np.float16}  # gguf wants these as numbers, the rest as bytes
    data = blocks.view(plain[name]) if name in plain else blocks.reshape(ROWS, -1)
    expected = gguf.quants.dequantize(data, gguf.GGMLQuantizationType(kind.id))
    np.testing.assert_allclose(read_back(blocks, kind), expected.reshape(ROWS, COLUMNS), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", STORABLE)
def test_block_sizes_agree_with_gguf(name):
    kind = ggml.type_by_name(name)
    assert gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(kind.id)] == (kind.block, kind.block_bytes)


LOSS_LIMITS = {"f32": 0, "f16": 0.001, "bf16": 0.01, "q8_0": 0.01, "q6_k": 0.03, "q5_0": 0.06, "q4_k": 0.1}


@pytest.mark.parametrize(("name", "loss_limit"), LOSS_LIMITS.items())
def test_a_round_trip_costs_no_more_than_the_type_should(name, loss_limit):
    kind, values = ggml.type_by_name(name), weights()
    loss = read_back(stored(values, kind), kind) - values
    assert np.linalg.norm(loss) <= loss_limit * np.linalg.norm(values)


def test_q8_0_is_its_formula():
    """One scale per 32 elements, d = max|x| / 127 in half precision, codes round(x / d)."""
    values, kind = weights(3), ggml.type_by_name("q8_0")
    blocks = values.reshape(-1, 32)
    scale = np.abs(blocks).max(axis=1, keepdims=True) / 127
    expected = (np.rint(blocks / scale) * scale.astype(np.float16)).reshape(ROWS, COLUMNS)
    np.testing.assert_allclose(read_back(stored(values, kind), kind), expected, rtol=1e-3, atol=1e-4)


def test_a_row_that_is_no_whole_number_of_blocks_is_refused():
    kind = ggml.type_by_name("q6_k")
    assert not kind.fits(896)
    with pytest.raises(ValueError, match="896 elements"):
        kind.row_bytes(896)


def test_buffers_of_the_wrong_size_or_layout_are_refused_before_ggml_sees_them():
    kind = ggml.type_by_name("q8_0")
    with pytest.raises(ValueError, match="do not hold"):
        ggml.dequantize(np.zeros(34, np.uint8), kind, np.zeros(64, np.float32))
    with pytest.raises(ValueError, match="do not take"):
        ggml.quantize(np.zeros((2, 32), np.float32), kind, np.zeros(34, np.uint8))
    with pytest.raises(ValueError, match="contiguous"):
        ggml.quantize(np.zeros((32, 4), np.float32).T, kind, np.zeros(4 * 34, np.uint8))
    with pytest.raises(ValueError, match="float32"):
        ggml.quantize(np.zeros((1, 32)), kind, np.zeros(34, np.uint8))


def test_a_type_that_needs_an_importance_matrix_is_refused():
    kind = ggml.type_by_name("iq2_xxs")
    with pytest.raises(GgmlUnavailable, match="importance matrix"):
        ggml.quantize(weights(), kind, np.empty(ROWS * kind.row_bytes(COLUMNS), np.uint8))


def test_an_unknown_type_is_refused_by_name():
    with pytest.raises(GgmlUnavailable, match="q9_9"):
        ggml.type_by_name("q9_9")
    with pytest.raises(GgmlUnavailable, match="4"):
        ggml.type_by_id(4)  # Q4_2, support removed long ago


def test_the_library_loads_without_importing_llama_cpp():
    code = "import sys; from adapters import ggml; ggml.types(); sys.exit('llama_cpp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
