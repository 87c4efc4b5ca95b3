"""Which descriptions does a checkpoint follow, and which get its unconditional adapter?

    python -m bench.followed --data DIR [--checkpoint DIR] [--breadth N] [--examples 150] [--seed 1234]

The mean share (`t2l/gated.py: followed`) of procedural pairs and operations never trained on, real tasks held out, the
tasks marked for evaluation, and the labelled hints in DIR/prompts/skills.jsonl; bare, and in two skills' templates
each, as the pipeline words its candidates. Beside it the share by likeness to known texts alone, as if nothing were
strange. No language model is involved.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import torch

from proxy.config import load_config
from t2l.embedder import open_embedder
from t2l.evaluate.data import EvalData
from t2l.gated import followed, load_gated
from t2l.skills import load_skills
from t2l.train.data import dev_examples

TEMPLATES = 2
"""Skills' templates each text is put into."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--checkpoint", type=Path, metavar="DIR", help="(default: the one that is served)")
    parser.add_argument("--breadth", type=int, default=4, help="as the checkpoint was trained (default: %(default)s)")
    parser.add_argument("--examples", type=int, default=150, help="a set (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1234)
    args = parser.parse_args()
    network = load_gated(args.checkpoint or Path("t2l/checkpoints") / load_config(None).model.name)
    if network.config.listening is None:
        parser.error("this checkpoint follows every text: calibrate it first (et2l train listening)")
    embedder, rng, skills = open_embedder(), random.Random(args.seed), load_skills(None).skills
    print(f"mean share followed, listening {network.config.listening}")
    print(f"{'':22}{'n':>5}{'bare':>8}{'likeness alone':>16}{'in templates':>14}{'likeness alone':>16}")
    for name, texts in sets(args.data, args.examples, args.seed, args.breadth).items():
        worded = [skill.candidate(text) for text in texts for skill in rng.sample(skills, TEMPLATES)]
        shares = []
        for wording in (texts, worded):
            known, strange = network.nearest(embedder.embed(wording))
            for near in (strange, torch.zeros_like(strange)):
                shares.append(followed(known, near, network.config.listening).mean().item())
        served, alone, template, template_alone = shares
        print(f"{name:22}{len(texts):5}{served:8.2f}{alone:16.2f}{template:14.2f}{template_alone:16.2f}")


def sets(folder: Path, count: int, seed: int, breadth: int) -> dict[str, list[str]]:
    """Descriptions by set. Raises DataError."""
    data, examples = EvalData(folder), dev_examples(folder, count, seed, breadth)
    found = {name.replace("_", " "): [one.description for one in given] for name, given in examples.items()}
    marked = [info for info in data.infos.values() if not info.for_training]
    found["marked for evaluation"] = [text for info in marked for text in info.descriptions[:1]]
    hints = folder / "prompts" / "skills.jsonl"
    if hints.exists():
        found["labelled hints"] = [json.loads(line)["text"] for line in hints.read_text().splitlines()]
    return {name: texts for name, texts in found.items() if texts}


if __name__ == "__main__":
    main()
