"""Which descriptions does a checkpoint follow, and which get its unconditional adapter?

    python -m bench.followed --data DIR [--checkpoint DIR] [--breadth N] [--examples 150] [--seed 1234]

The mean share (`t2l/listening.py`) of procedural pairs and operations never trained on, real tasks held out, the tasks
marked for evaluation, the labelled hints in DIR/prompts/skills.jsonl and system prompts kept for measuring; bare,
after the enhancer's rules, and then in a skill's template, as the pipeline words its candidates. No language model is
involved.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

from proxy.config import load_config
from t2l.embedder import open_embedder
from t2l.evaluate.data import EvalData
from t2l.gated import load_gated
from t2l.skills import load_skills
from t2l.train.data import dev_examples, piped
from t2l.train.hints import hints


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--checkpoint", type=Path, metavar="DIR", help="(default: the one that is served)")
    parser.add_argument("--breadth", type=int, default=4, help="as the checkpoint was trained (default: %(default)s)")
    parser.add_argument("--examples", type=int, default=150, help="a set (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1234)
    args = parser.parse_args()
    network = load_gated(args.checkpoint or Path("t2l/checkpoints") / load_config(None).model.name)
    if network.listening is None:
        parser.error("this checkpoint follows every text: calibrate it first (et2l train listening)")
    embedder, rng, skills = open_embedder(), random.Random(args.seed), load_skills(None)
    print(f"mean share followed, listening from a logit of {network.listening.low}")
    print(f"{'':22}{'n':>5}{'bare':>8}{'enhanced':>10}{'in templates':>14}")
    for name, texts in sets(args.data, args.examples, args.seed, args.breadth).items():
        enhanced, templates = zip(*(piped(text, skills, rng) for text in texts), strict=True)
        shares = [network.shares(embedder.embed(list(some))).mean().item() for some in (texts, enhanced, templates)]
        print(f"{name:22}{len(texts):5}{shares[0]:8.2f}{shares[1]:10.2f}{shares[2]:14.2f}")


def sets(folder: Path, count: int, seed: int, breadth: int) -> dict[str, list[str]]:
    """Descriptions by set. Raises DataError."""
    data, examples = EvalData(folder), dev_examples(folder, count, seed, breadth)
    found = {name.replace("_", " "): [one.description for one in given] for name, given in examples.items()}
    marked = [info for info in data.infos.values() if not info.for_training]
    found["marked for evaluation"] = [text for info in marked for text in info.descriptions[:1]]
    labelled = folder / "prompts" / "skills.jsonl"
    if labelled.exists():
        found["labelled hints"] = [json.loads(line)["text"] for line in labelled.read_text().splitlines()]
    found["system prompts"] = hints(2 * count, seed, held_out=True)
    return {name: texts for name, texts in found.items() if texts}


if __name__ == "__main__":
    main()
