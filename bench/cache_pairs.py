"""How often would the cache serve one hint's adapter for another? False hits first, then hits, by kind of pair.

python -m bench.cache_pairs --data DIR [--threshold 0.9] [--json]

DIR holds `cache_pairs.jsonl`: rows with hints `a` and `b`, `same` (may one adapter serve both?) and `kind`. A hit needs
cosine >= threshold and the content gate's yes; both are also shown alone.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

from adapters.gate import same_content
from proxy.config import load_config
from t2l.embedder import english_words, open_embedder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--threshold", type=float, help="cosine; default: cache.semantic_threshold of config.toml")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    config = load_config(None)
    threshold = config.cache.semantic_threshold if args.threshold is None else args.threshold
    with (args.data / "cache_pairs.jsonl").open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    embedder = open_embedder(str(config.embedder.path or ""), config.embedder.threads)
    left, right = embedder.embed([row["a"] for row in rows]), embedder.embed([row["b"] for row in rows])
    cosines = (left * right).sum(dim=1).tolist()
    words = english_words()
    counts: dict[tuple[bool, str], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for row, cosine in zip(rows, cosines, strict=True):
        near, alike = cosine >= threshold, same_content(row["a"], row["b"], words)
        for kind in (row["kind"], "all"):
            tally = counts[row["same"], kind]
            for index, hit in enumerate((True, near, alike, near and alike)):
                tally[index] += hit
    if args.json:
        names = ("pairs", "near", "gate", "hit")
        print(json.dumps({f"{'same' if same else 'different'}/{kind}": dict(zip(names, tally, strict=True))
                          for (same, kind), tally in counts.items()} | {"threshold": threshold}))  # fmt: skip
        return
    print(f"threshold {threshold}; of the pairs: cosine alone / gate alone / both = served from the cache")
    for same in (False, True):
        print("\none adapter may NOT serve both (a hit is false)" if not same else "\none adapter may serve both")
        for (row_same, kind), (pairs, near, alike, hit) in sorted(counts.items(), key=lambda item: item[0][1] == "all"):
            if row_same == same:
                print(f"  {kind:14}{pairs:5}   {near / pairs:6.1%} {alike / pairs:6.1%} {hit / pairs:6.1%}")


if __name__ == "__main__":
    main()
