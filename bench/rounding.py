"""Can a merged build keep a tensor's own 4- or 5-bit type? Three roundings onto the base's grid, against Q8_0 and F16.

    python -m bench.rounding [adapters/store/<digest>]

The adapter's tensors of the types bench/_on_grid.py knows are merged and stored in place, the others left out of
the adapter, so that every row answers the same question. KL is against the base with that adapter attached, on the
probe text of `et2l merge`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import statistics
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from adapters import ggml
from adapters.base_files import BaseFiles
from adapters.compose import concat
from adapters.gguf_file import read_gguf, write_gguf
from adapters.lora import LoraAdapter
from adapters.merge import merge
from adapters.peft_file import read_peft
from bench import _on_grid
from bench._on_grid import Rounding
from bench.merge import MODEL, ROOT
from proxy.config import load_config
from proxy.probe import probe
from t2l.embedder import open_embedder
from t2l.gated import load_gated

TASK = "Translate product descriptions from German to English."
ROUNDINGS: dict[str, Rounding] = {
    "own type, nearest": _on_grid.nearest,
    "own type, stochastic": _on_grid.stochastic,
    "own type, error feedback": _on_grid.error_feedback,
}


@dataclass(frozen=True, slots=True)
class Row:
    """gain, cosine, noise (|E - dW| / |W|): means over tensors. base_kl: of leaving the adapter out."""

    what: str
    gain: float
    cosine: float
    noise: float
    kl: float
    top1: float
    base_kl: float
    mb: float


def in_place(base: BaseFiles, adapter: LoraAdapter, out: Path, rounding: Rounding) -> tuple[float, float, float]:
    """A copy of the base with the adapter's tensors re-coded; mean gain, cosine and noise."""
    shutil.copyfile(base.model.path, out)
    generator = np.random.default_rng(0)
    found = []
    with open(out, "r+b") as file:
        for path, delta in adapter.deltas.items():
            info = base.model.tensor(path)
            kind = ggml.type_by_name(info.type.lower())
            blocks = np.frombuffer(os.pread(file.fileno(), info.size_bytes, info.offset), np.uint8)
            weight, stored = np.empty(info.shape, np.float32), np.empty(info.shape, np.float32)
            ggml.dequantize(blocks, kind, weight)
            change = base.model.rows_to_gguf(path, delta.weight())
            again = _on_grid.store(blocks, kind.name, weight + change, rounding, generator)
            os.pwrite(file.fileno(), again.tobytes(), info.offset)
            ggml.dequantize(again, kind, stored)
            e = (stored - weight).reshape(-1)
            d, w = change.reshape(-1), weight.reshape(-1)
            e_d, d_d, e_e = float(e @ d), float(d @ d), float(e @ e)
            noise = math.sqrt(max(e_e - 2 * e_d + d_d, 0) / float(w @ w))
            found.append((e_d / d_d, e_d / math.sqrt(e_e * d_d) if e_e else 0.0, noise))  # 0: nothing of it is left
    gain, cosine, noise = (statistics.fmean(column) for column in zip(*found, strict=True))
    return gain, cosine, noise


def read_adapter(path: Path | None, base: BaseFiles) -> LoraAdapter:
    """A PEFT folder, a GGUF file, or for None what the shipped hypernetwork makes of TASK."""
    if path is None:
        network = load_gated(ROOT / "t2l" / "checkpoints" / load_config(None).model.name)
        (adapter,) = network.generate(open_embedder().read([TASK]))
        return adapter
    return read_peft(path, base.model.digest) if path.is_dir() else read_gguf(path, base.model)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "adapter", type=Path, nargs="?", help=f"PEFT folder or GGUF LoRA (default: the shipped network's for {TASK!r})"
    )
    parser.add_argument("--base", type=Path, default=MODEL)
    parser.add_argument("--scale", type=float, default=1.0, help="of the adapter: smaller changes are harder to keep")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    base = BaseFiles.read(args.base)
    whole = read_adapter(args.adapter, base)
    known = {path: d for path, d in whole.deltas.items() if base.model.tensor(path).type.lower() in _on_grid.RANGES}
    adapter = concat([LoraAdapter(base.model.digest, known)], [args.scale])
    rows = []
    (ROOT / "runs").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "runs", prefix="rounding-") as folder:
        attached, out = Path(folder) / "adapter.gguf", Path(folder) / "out.gguf"
        write_gguf(adapter, attached, base.model)

        def add(name: str, gain: float, cosine: float, noise: float) -> None:
            seen = probe(base.model.path, attached, out)
            size = out.stat().st_size / 1e6
            rows.append(Row(name, gain, cosine, noise, seen.kl, seen.top1, seen.base_kl, size))
            print(rows[-1] if not args.json else json.dumps(asdict(rows[-1])), flush=True)

        for store in ("f16", "q8_0"):
            tensors = merge(base, adapter, out, store=store).tensors
            columns = ([getattr(t, name) for t in tensors] for name in ("gain", "cosine", "noise_ratio"))
            add(store, *(statistics.fmean(column) for column in columns))
        for name, rounding in ROUNDINGS.items():
            add(name, *in_place(base, adapter, out, rounding))


if __name__ == "__main__":
    main()
