"""Merging an adapter into a GGUF file: ours against llama-export-lora + llama-quantize, and against copying the file.

    python -m bench.merge --runs 3                      # the default model, a random adapter of all linear layers
    python -m bench.merge --sizes 0.25 1 4              # peak memory by model size (GB), on made-up models

Every measurement is a process of its own, so wall time holds start-up and imports; `merge` is our time without
them, to the rename, fsync included. The comparison with the attached adapter, which `et2l merge` adds and the
peers do not have, is left out. Peers come from `make peers`; what they make is the cheapest there is, Q8_0
throughout.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import gguf
import numpy as np

from adapters.base_files import BaseFiles
from adapters.gguf_file import read_gguf, write_gguf
from adapters.lora import LoraAdapter, LoraDelta
from adapters.merge import cores, merge

ROOT = Path(__file__).parents[1]
WARM_BYTES = 1 << 30
COPY, BUILD_COPY, PEERS = "file copy (cp, sync)", "build copy (cp, sync)", "export-lora + quantize"
MODEL = ROOT / "models" / "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"


@dataclass(frozen=True, slots=True)
class Row:
    """Medians over the runs. cpu_s: user and system time, which other programs on the machine do not stretch."""

    what: str
    wall_s: float
    cpu_s: float
    merge_s: float | None
    peak_mib: float
    output_mb: float


@dataclass(frozen=True, slots=True)
class Run:
    wall_s: float
    cpu_s: float
    peak_mib: float
    output: str


WRAPPER = """
import json, resource, subprocess, sys, time
started = time.perf_counter()
code = subprocess.run(sys.argv[2:]).returncode
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
cpu = usage.ru_utime + usage.ru_stime
told = {"code": code, "wall": time.perf_counter() - started, "cpu": cpu, "peak": usage.ru_maxrss / 1024}
open(sys.argv[1], "w").write(json.dumps(told))
"""
"""Runs a command as the child of a small process: a child's peak memory counts from that of its parent."""


def measured(commands: Sequence[Sequence[str]]) -> Run:
    """Run one command after another; peak memory is the largest of them."""
    wall = cpu = peak = 0.0
    output = b""  # of the last command
    for command in commands:
        with tempfile.NamedTemporaryFile() as told:
            wrapped = [sys.executable, "-S", "-c", WRAPPER, told.name, *command]
            output = subprocess.run(
                wrapped, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
            ).stdout
            usage = json.loads(told.read())
        if usage["code"]:
            raise SystemExit(f"{command[0]} failed:\n{output.decode('utf-8', 'replace')[-2000:]}")
        wall, cpu, peak = wall + usage["wall"], cpu + usage["cpu"], max(peak, usage["peak"])
    return Run(wall, cpu, peak, output.decode("utf-8", "replace"))


def warm(path: Path) -> None:
    """Write and remove a file. On a virtual machine the first use of memory can take ten times as long as the copying
    into it: whoever comes first would pay for the others.
    """
    piece = bytes(1 << 24)
    with path.open("wb") as file:
        for _ in range(WARM_BYTES // len(piece)):
            file.write(piece)
    path.unlink()


def child(base: Path, adapter: Path, out: Path, store: str, threads: int) -> None:
    """Our merge, in a process of its own; prints its seconds."""
    files = BaseFiles.read(base)
    report = merge(files, read_gguf(adapter, files.model), out, store=store, threads=threads)
    print(json.dumps({"seconds": report.seconds}))


def random_adapter(base: BaseFiles, rank: int, layers: range) -> LoraAdapter:
    """Every linear layer of these layers, weak enough to be typical; speed does not depend on the values."""
    random = np.random.default_rng(0)
    deltas = {}
    for path, info in base.model.linear_layers().items():
        if int(path.split(".")[2]) in layers:
            rows, columns = info.shape
            a, b = (random.standard_normal(shape, dtype=np.float32) for shape in ((rank, columns), (rows, rank)))
            deltas[path] = LoraDelta(a, b, 0.0005 / rank**0.5)
    return LoraAdapter(base.model.digest, deltas)


def compare(args: argparse.Namespace, folder: Path) -> list[Row]:
    base, adapter = args.base, args.adapter
    if adapter is None:
        files, adapter = BaseFiles.read(base), folder / "adapter.gguf"
        write_gguf(random_adapter(files, args.rank, range(8, 24)), adapter, files.model)
    ours, copy, half, final = (folder / name for name in ("ours.gguf", "copy.gguf", "f16.gguf", "q8_0.gguf"))
    me = [sys.executable, "-m", "bench.merge", "--threads", str(args.threads), "--base", str(base)]
    threads = str(args.threads)
    export = [str(args.peers / "llama-export-lora"), "-m", str(base), "--lora", str(adapter), "-o", str(half)]
    quantize = [str(args.peers / "llama-quantize"), "--allow-requantize", str(half), str(final), "Q8_0", threads]
    plan = {
        "file copy (cp)": ([["cp", str(base), str(copy)]], copy),
        COPY: ([["cp", str(base), str(copy)], ["sync", str(copy)]], copy),
        PEERS: ([[*export, "-t", threads], quantize], final),
        "export-lora alone": ([[*export, "-t", threads]], half),
    }
    for store in args.stores:
        job = ["--child", str(adapter), str(ours), store]
        plan[f"et2l merge --store {store}"] = ([[*me, *job]], ours)
    plan[BUILD_COPY] = ([["cp", str(ours), str(copy)], ["sync", str(copy)]], copy)  # of the last store's build
    runs: dict[str, list[Run]] = {name: [] for name in plan}
    sizes = {}
    for _ in range(args.runs):  # interleaved, so that a busy minute falls on all of them
        for name, (commands, out) in plan.items():
            warm(folder / "warm")
            runs[name].append(measured(commands))
            sizes[name] = out.stat().st_size
            for path in (copy, half, final) if name.startswith("et2l") else (ours, copy, half, final):
                path.unlink(missing_ok=True)
    return [row(name, own, sizes[name]) for name, own in runs.items()]


def row(name: str, runs: Sequence[Run], size: int) -> Row:
    own = [json.loads(run.output.splitlines()[-1])["seconds"] for run in runs if name.startswith("et2l")]
    return Row(
        what=name,
        wall_s=statistics.median(run.wall_s for run in runs),
        cpu_s=statistics.median(run.cpu_s for run in runs),
        merge_s=statistics.median(own) if own else None,
        peak_mib=statistics.median(run.peak_mib for run in runs),
        output_mb=size / 1e6,
    )


def by_size(args: argparse.Namespace, folder: Path) -> list[Row]:
    """Made-up models of several sizes; the larger ones have more layers and larger ones."""
    rows = []
    for size in args.sizes:
        hidden = 1024 if size < 2 else 4096
        per_layer = 12 * hidden * hidden * 18 // 32
        layers = max(1, round(size * 1e9 / per_layer))
        base = write_made_up(folder / "base.gguf", hidden, layers)
        adapter = folder / "adapter.gguf"
        write_gguf(random_adapter(base, args.rank, range(layers)), adapter, base.model)
        me = [sys.executable, "-m", "bench.merge", "--threads", str(args.threads), "--base", str(base.model.path)]
        run = measured([[*me, "--child", str(adapter), str(folder / "ours.gguf"), "q8_0"]])
        written = (folder / "ours.gguf").stat().st_size
        rows.append(row(f"et2l merge, {base.model.path.stat().st_size / 1e9:.2f} GB base", [run], written))
        (folder / "ours.gguf").unlink()
    return rows


def write_made_up(path: Path, hidden: int, layers: int) -> BaseFiles:
    """Seven Q4_0 matrices a layer, the same random blocks in each."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("made up")
    writer.add_head_count(hidden // 64)
    random = np.random.default_rng(0)
    shapes = {name: (hidden, hidden) for name in ("attn_q", "attn_k", "attn_v", "attn_output")}
    shapes |= {"ffn_gate": (2 * hidden, hidden), "ffn_up": (2 * hidden, hidden), "ffn_down": (hidden, 4 * hidden)}
    blocks = {}
    for name, (rows, columns) in shapes.items():
        values = random.standard_normal((rows, columns), dtype=np.float32) / hidden**0.5
        blocks[name] = gguf.quants.quantize(values, gguf.GGMLQuantizationType.Q4_0)
    for layer in range(layers):
        for name, data in blocks.items():
            writer.add_tensor(f"blk.{layer}.{name}.weight", data, raw_dtype=gguf.GGMLQuantizationType.Q4_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return BaseFiles.read(path)


def text(rows: Sequence[Row]) -> str:
    lines = ["| | wall s | CPU s | merge s | peak MiB | output MB |", "|---|---|---|---|---|---|"]
    for r in rows:
        own = "" if r.merge_s is None else f"{r.merge_s:.2f}"
        lines.append(f"| {r.what} | {r.wall_s:.2f} | {r.cpu_s:.2f} | {own} | {r.peak_mib:.0f} | {r.output_mb:.0f} |")
    return "\n".join([*lines, *ratios({r.what: r for r in rows})])


def ratios(rows: Mapping[str, Row]) -> list[str]:
    """The two aims: a third of the peers' time as a whole process, and twice a copy's time for the merge itself."""
    peers, copy, build = rows.get(PEERS), rows.get(COPY), rows.get(BUILD_COPY)
    ours = [r for r in rows.values() if r.merge_s is not None]
    if peers is None or copy is None or build is None:
        return []
    return ["", *(
        f"{r.what}: {peers.wall_s / r.wall_s:.1f} times as fast as {PEERS} (aim: 3); "
        f"without starting Python {r.merge_s / copy.wall_s:.2f} times a {COPY}, "
        f"{r.merge_s / build.wall_s:.2f} times a {BUILD_COPY} (aim: 2)"
        for r in ours
    )]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, default=MODEL)
    parser.add_argument("--adapter", type=Path, help="GGUF LoRA (default: a random one of layers 8-23)")
    parser.add_argument("--peers", type=Path, default=ROOT / "peers")
    parser.add_argument("--rank", type=int, default=24)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--stores", nargs="+", default=["q8_0", "auto"])
    parser.add_argument("--sizes", nargs="+", type=float, help="GB: measure peak memory by size instead")
    parser.add_argument("--folder", type=Path, default=ROOT / "runs", help="where the files go (and are removed)")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", nargs=3, metavar=("ADAPTER", "OUT", "STORE"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        adapter, out, store = args.child
        child(args.base, Path(adapter), Path(out), store, args.threads)
        return
    args.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=args.folder, prefix="merge-") as folder:
        rows = by_size(args, Path(folder)) if args.sizes else compare(args, Path(folder))
    print(json.dumps([asdict(one) for one in rows]) if args.json else text(rows))


if __name__ == "__main__":
    main()
