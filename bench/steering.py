"""Held-out loss and exact match of the bare model, a multi-task LoRA and the hypernetwork, description by description.

python -m bench.steering --data DIR [--checkpoint DIR] [--mt-lora DIR] [--examples 96] [--breadth N] [--json]

Three sets: procedural operation-format pairs never trained on, operations never trained on, real tasks never trained on
(their dev rows), the instruction in the description alone. --mt-lora: a checkpoint of `et2l train mt-lora`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from proxy.config import load_config
from t2l.embedder import open_embedder
from t2l.gated import GatedHypernetwork, load_gated
from t2l.train.base import GatedLora, load_base
from t2l.train.data import dev_examples
from t2l.train.measure import steering

BATCH_TOKENS = 2048


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--checkpoint", type=Path, metavar="DIR", help="default: the shipped one of model.name")
    parser.add_argument("--mt-lora", type=Path, metavar="DIR")
    parser.add_argument("--examples", type=int, default=96, help="of each set (default: %(default)s)")
    parser.add_argument("--breadth", type=int, default=0, help="as the checkpoint was trained; for the pairs")
    parser.add_argument("--seed", type=int, default=1234)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    config = load_config(None)
    folder = args.checkpoint or Path("t2l/checkpoints") / config.model.name
    embedder = open_embedder(str(config.embedder.path or ""), config.embedder.threads)
    sets = dev_examples(args.data, args.examples, args.seed, args.breadth)
    report = measure(config.model.path, load_gated(folder), embedder, sets)
    if args.mt_lora:
        # An ungated checkpoint answers alike whatever it is told: one arm says it all.
        plain = measure(config.model.path, load_gated(args.mt_lora), embedder, sets, gated=False)
        for name, arms in report.items():
            arms["mt-lora"] = plain[name]["own"]
    if args.json:
        print(json.dumps({"checkpoint": str(folder), "examples": args.examples, "sets": report}))
        return
    for name, arms in report.items():
        print(f"\n{name.replace('_', ' ')}  (n = {args.examples})\n  {'arm':12}{'loss':>8}{'exact':>8}")
        for arm, scores in arms.items():
            print(f"  {arm:12}{scores['loss']:8.3f}{scores['exact']:8.1%}")


def measure(gguf: Path, network: GatedHypernetwork, embedder, sets, gated: bool = True):
    """See `steering`; gates from the network, or all 1."""
    model, tokenizer = load_base(gguf)
    config = network.config
    lora = GatedLora.of(network)
    lora.attach(model)

    def gates_of(descriptions):
        if not gated:
            return torch.ones(len(descriptions), len(config.shapes), config.rank)
        return network.network(embedder.embed(list(descriptions)))

    return steering(model, tokenizer, lora, gates_of, sets, BATCH_TOKENS)


if __name__ == "__main__":
    main()
