"""Measures the decomposer and the enhancer on labelled hints: `python -m bench.prompts skills|enhance --data DIR`.

DIR holds `skills.jsonl` (text, skills, alt, lang, style) and `enhance.jsonl` (text, must_keep, negated). Prints one
JSON object; `--errors` adds the rows that went wrong.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from t2l.decomposer import Decomposer, SkillScore, select
from t2l.embedder import open_embedder
from t2l.enhancer import Enhancer
from t2l.exemplars import Exemplars
from t2l.language import plain, refusals
from t2l.skills import load_skills

Row = dict[str, Any]
TAUS = [round(0.25 + 0.025 * i, 3) for i in range(13)]
FOLDS = 10


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.prompts", description=__doc__)
    parser.add_argument("what", choices=["skills", "enhance"])
    parser.add_argument("--data", type=Path, required=True, help="folder of skills.jsonl and enhance.jsonl")
    parser.add_argument("--alpha", type=float, default=0.4, help="KeyMatch's share of the score")
    parser.add_argument("--errors", action="store_true", help="list the rows that went wrong")
    options = parser.parse_args(arguments)
    lines = (options.data / f"{options.what}.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines if line.strip()]
    report = measure_skills(rows, options.alpha) if options.what == "skills" else measure_enhance(rows)
    if not options.errors:
        report.pop("errors")
    json.dump(report, sys.stdout, ensure_ascii=False, indent=1)
    print()
    return 0


def measure_skills(rows: Sequence[Row], alpha: float) -> Row:
    """Exact-set accuracy (`alt` counts as right), micro and macro F1 against the nearest label, by slice.

    `cross_validated`: the same with one tau for all skills chosen on nine tenths and applied to the last; what
    the keywords owe to having been written with these rows in sight, it cannot show.
    """
    skills, embedder = load_skills(), open_embedder()
    decomposer = Decomposer(skills, embedder, Exemplars(skills, embedder), alpha)
    scores = [decomposer.score(row["text"]) for row in rows]
    predicted = [{s.skill.name for s in select(row)} for row in scores]
    golds = [[set(row["skills"]), *map(set, row.get("alt", []))] for row in rows]
    right = [guess in gold for guess, gold in zip(predicted, golds, strict=True)]
    slices: dict[str, list[bool]] = defaultdict(list)
    for row, hit in zip(rows, right, strict=True):
        language = "zh mixed" if row.get("mixed") else row.get("lang", "?")
        for name in (language, row.get("style", "?"), f"{len(row['skills'])} skills"):
            slices[name].append(hit)
    micro, by_skill = _f1(predicted, golds, skills.names)
    return {
        "rows": len(rows),
        "alpha": alpha,
        "exact": _share(right),
        "cross_validated": _cross_validated(scores, golds),
        "micro_f1": micro,
        "macro_f1": round(sum(by_skill.values()) / len(by_skill), 3),
        "f1": by_skill,
        "exact_by_slice": {name: [_share(hits), len(hits)] for name, hits in sorted(slices.items())},
        "errors": [
            {
                "text": row["text"],
                "gold": sorted(row["skills"]),
                "predicted": sorted(guess),
                "scores": {s.skill.name: [round(s.key_match, 2), s.sem_sim and round(s.sem_sim, 2)] for s in score},
            }
            for row, guess, score, hit in zip(rows, predicted, scores, right, strict=True)
            if not hit
        ],
    }


def measure_enhance(rows: Sequence[Row]) -> Row:
    """Shares of must-keep tokens and of negated pairs kept, of hints whose Q rose, and of texts unchanged."""
    enhancer = Enhancer(load_skills())
    results = [enhancer.enhance(row["text"]) for row in rows]
    kept = [_kept(token, r.text) for row, r in zip(rows, results, strict=True) for token in row["must_keep"]]
    pairs = [(pair, r.text) for row, r in zip(rows, results, strict=True) for pair in row.get("negated", [])]
    governed = [_governed(what, text) for (_, what), text in pairs]
    words = [len(r.text.split()) for r in results]
    return {
        "rows": len(rows),
        "must_keep_kept": _share(kept),
        "negated_kept": _share(governed),
        "q_raised": _share(r.q_after.total > r.q_before.total for r in results),
        "q_mean": [round(sum(q) / len(rows), 3) for q in _quality_totals(results)],
        "longest_words": max(words),
        "errors": [
            {"text": row["text"], "enhanced": r.text, "lost": lost}
            for row, r in zip(rows, results, strict=True)
            if (lost := _lost(row, r.text)) or r.q_after.total <= r.q_before.total
        ],
    }


def _cross_validated(scores: Sequence[tuple[SkillScore, ...]], golds: Sequence[list[set[str]]]) -> float:
    def hit(row: int, tau: float) -> bool:
        moved = [replace(s, skill=replace(s.skill, tau=tau)) for s in scores[row]]
        return {s.skill.name for s in select(moved)} in golds[row]

    hits = []
    for fold in range(FOLDS):
        train = [row for row in range(len(scores)) if row % FOLDS != fold]
        tau = max(TAUS, key=lambda tau: sum(hit(row, tau) for row in train))
        hits += [hit(row, tau) for row in range(fold, len(scores), FOLDS)]
    return _share(hits)


def _f1(
    predicted: Sequence[set[str]], golds: Sequence[list[set[str]]], names: Iterable[str]
) -> tuple[float, dict[str, float]]:
    """Micro F1 and F1 by skill; each row is held against the label set that agrees best with it."""
    counts = {name: [0, 0, 0] for name in names}  # true positives, false positives, false negatives
    for guess, sets in zip(predicted, golds, strict=True):
        gold = min(sets, key=lambda gold: len(gold ^ guess))
        for name, count in counts.items():
            if name in guess or name in gold:
                count[0 if name in guess and name in gold else 1 if name in guess else 2] += 1
    total = [sum(count[i] for count in counts.values()) for i in range(3)]
    return _f1_of(*total), {name: _f1_of(*count) for name, count in counts.items()}


def _f1_of(true: int, false: int, missed: int) -> float:
    return round(2 * true / (2 * true + false + missed), 3) if true else 0.0


def _share(hits: Iterable[bool]) -> float:
    hits = list(hits)
    return round(sum(hits) / len(hits), 4) if hits else 1.0


def _quality_totals(results: Sequence[Any]) -> Iterable[Iterable[float]]:
    return zip(*((r.q_before.total, r.q_after.total) for r in results), strict=True)


def _kept(token: str, text: str) -> bool:
    """Latin tokens as whole words without regard to case, Chinese ones anywhere; a refusal word by its class."""
    folded, wanted = plain(text), plain(token)
    if re.search(r"[\u3400-\u9fff]", wanted):
        return wanted in folded
    exact = f"(?<![a-z0-9]){re.escape(wanted)}(?![a-z0-9])"
    if len(token) == 1 and token.isalpha():
        return bool(re.search(exact.replace(wanted, re.escape(token)), text))
    return bool(re.search(exact, folded)) or any(wanted == plain(r.cue) for r in refusals(folded))


def _governed(what: str, text: str) -> bool:
    return any(plain(what) in refusal.what for refusal in refusals(plain(text)))


def _lost(row: Row, text: str) -> list[str]:
    lost = [token for token in row["must_keep"] if not _kept(token, text)]
    return lost + [f"not {what}" for _, what in row.get("negated", []) if not _governed(what, text)]


if __name__ == "__main__":
    sys.exit(main())
