"""`et2l t2l check DIR`: does a Text-to-LoRA checkpoint generate the adapters it should?"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser("t2l", help="check SakanaAI Text-to-LoRA checkpoints")
    actions = parser.add_subparsers(dest="action", required=True)
    check = actions.add_parser(
        "check",
        help="compare generated adapters with expected.safetensors",
        description="Generate adapters from the embeddings in DIR/expected.safetensors and print the largest "
        "absolute difference from the adapters stored there. Exit status 1 if it is not below 1e-5.",
    )
    check.add_argument("dir", type=Path, help="a checkpoint folder, or a folder of checkpoint folders")
    check.add_argument("--device", default="cpu", help="torch device (default: cpu)")
    check.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    # torch takes seconds to import; `et2l --help` should not wait for it.
    from t2l.hypernetwork import CheckpointError
    from t2l.sakana_check import TOLERANCE, check_parity, find_checkpoints

    results = []
    try:
        folders = find_checkpoints(args.dir)
    except CheckpointError as exc:
        folders = []
        results.append({"path": str(args.dir), "ok": False, "max_abs_diff": None, "error": str(exc)})
    for folder in folders:
        try:
            parity = check_parity(folder, args.device)
        except CheckpointError as exc:
            results.append({"path": str(folder), "ok": False, "max_abs_diff": None, "error": str(exc)})
            continue
        results.append(
            {
                "path": str(folder),
                "ok": parity.ok,
                "max_abs_diff": parity.max_abs_diff,
                "worst": parity.worst,
                "adapters": parity.adapters,
                "tensors": parity.tensors,
            }
        )
    ok = all(result["ok"] for result in results)
    if args.json:
        differences = [result["max_abs_diff"] for result in results]
        largest = None if None in differences else max(differences)
        print(json.dumps({"ok": ok, "max_abs_diff": largest, "tolerance": TOLERANCE, "checkpoints": results}))
        return 0 if ok else 1
    for result in results:
        if "error" in result:
            print(f"{result['path']}: FAILED: {result['error']}", file=sys.stderr)
            continue
        print(
            f"{result['path']}: {'ok' if result['ok'] else 'FAILED'}: largest absolute difference "
            f"{result['max_abs_diff']:.3g} (want < {TOLERANCE:g}) in {result['worst']}, "
            f"{result['adapters']} adapters, {result['tensors']} tensors"
        )
    return 0 if ok else 1
