"""Teaches a checkpoint which texts it is to follow, and chooses from where on, with tasks never trained on.

Gates of descriptions like those of the training are worth following; those of strange ones are noise, and the
unconditional adapter does better. Known are procedural descriptions, for what gates learn of real tasks does not carry
over to others (docs/results-attempts.md). Strange are descriptions of real tasks, system prompts, and procedural
operations that the checkpoint was not trained on, however like the others they sound. A classifier learns to tell them
apart. From which of its logits on a text is followed is chosen by loss, on procedural pairs told by the description
alone and on development rows of real tasks as they are served, the hint in the system text too; and so that system
prompts that name no operation are not followed.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from tqdm import tqdm

from t2l.gated import GatedHypernetwork
from t2l.listening import Classifier, Listening, followed
from t2l.skills import load_skills
from t2l.train.base import GatedLora, load_base
from t2l.train.data import Example, Mixture, dev_examples, piped
from t2l.train.hints import hints
from t2l.train.measure import example_scores

KNOWN_TEXTS = 6000
REAL_TEXTS, PROMPT_TEXTS, UNTRAINED_TEXTS, PLAIN_TEXTS = 2000, 5000, 4000, 400
"""Texts to learn from; the latter four are strange (`Mixture.strange_descriptions`)."""
EPOCHS, BATCH, RATE, WEIGHT_DECAY = 80, 512, 3e-3, 0.1
NOISE = 0.5
"""Mean length of what is added to each sentence vector, of length 1, each time it is seen."""
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
BATCH_TOKENS = 2048
PAIRS, TASKS = "unseen_pair", "unseen_task"
WIDTH = 1.0
"""In logits, over which listening rises from nothing to all."""
NEVER = 1e4
LOWS = (-4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, NEVER)
"""Logits at which it may begin."""
PROMPTS, MOST_FOLLOWED = 300, 0.01
"""System prompts kept for measuring, and the mean share to which they may be followed, bare or as piped."""


def learn(known: torch.Tensor, strange: torch.Tensor, seed: int) -> Classifier:
    """Tells sentence vectors of known texts, (k, E), from those of strange ones, (s, E)."""
    vectors = torch.cat([known, strange])
    wanted = torch.cat([torch.ones(len(known)), torch.zeros(len(strange))])
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        classifier = Classifier(vectors.shape[1])
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=RATE, weight_decay=WEIGHT_DECAY)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(vectors), generator=generator).split(BATCH):
            noise = torch.randn(len(rows), vectors.shape[1], generator=generator) * NOISE / vectors.shape[1] ** 0.5
            binary_cross_entropy_with_logits(classifier(vectors[rows] + noise), wanted[rows]).backward()
            optimizer.step()
            optimizer.zero_grad()
    return classifier.requires_grad_(False).eval()


def learn_from(folder: Path, embedder, breadth: int, seed: int) -> Classifier:
    """breadth: as the checkpoint was trained. Raises DataError."""
    mixture = Mixture(folder, seed, 1.0, breadth)
    strange = mixture.strange_descriptions(REAL_TEXTS, PROMPT_TEXTS, UNTRAINED_TEXTS, PLAIN_TEXTS)
    texts = mixture.known_descriptions(KNOWN_TEXTS), strange
    return learn(*(_vectors(embedder, some) for some in texts), seed)


def _vectors(embedder, texts: Sequence[str], batch: int = 64) -> torch.Tensor:
    """(n, E), by the length of the texts: less padding."""
    texts = sorted(texts, key=len)
    parts = tqdm(range(0, len(texts), batch), unit="batch", desc="reading", mininterval=2.0)
    return torch.cat([embedder.embed(texts[start : start + batch]) for start in parts])


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """losses: by set, (SHARES, examples), nats per answer token; logits: by set, (examples,); prompts: logits of system
    prompts, (n,).
    """

    losses: Mapping[str, torch.Tensor]
    logits: Mapping[str, torch.Tensor]
    prompts: torch.Tensor

    def at_share(self, name: str) -> tuple[float, ...]:
        """A set's mean loss at each of SHARES."""
        return tuple(round(loss, 4) for loss in self.losses[name].mean(1).tolist())

    def at_low(self, name: str) -> tuple[float, ...]:
        """A set's mean loss with listening from each of LOWS on, between SHARES interpolated."""
        found = []
        for low in LOWS:
            place = followed(self.logits[name], low, low + WIDTH) * (len(SHARES) - 1)
            below = place.floor().long().clamp(max=len(SHARES) - 2)
            left, right = (self.losses[name].gather(0, (below + step)[None])[0] for step in (0, 1))
            found.append(round(torch.lerp(left, right, place - below).mean().item(), 4))
        return tuple(found)

    def prompts_followed(self) -> tuple[float, ...]:
        """The mean share to which system prompts are followed, from each of LOWS on."""
        return tuple(round(followed(self.prompts, low, low + WIDTH).mean().item(), 4) for low in LOWS)

    @property
    def chosen(self) -> float:
        """Of LOWS from which on prompts are not followed, the one with the least loss, each set counting the same."""
        sums = [sum(at) for at in zip(*(self.at_low(name) for name in self.losses), strict=True)]
        quiet = [at for at, share in enumerate(self.prompts_followed()) if share <= MOST_FOLLOWED]
        return LOWS[min(quiet, key=lambda at: sums[at])]


def listening_sets(folder: Path, count: int, seed: int, breadth: int) -> dict[str, list[Example]]:
    """Up to `count` examples of both sorts; without tasks held out, of one. Raises DataError."""
    found = dev_examples(folder, count, seed, breadth)
    sets = {PAIRS: found[PAIRS]}
    if TASKS in found:
        sets[TASKS] = [replace(one, system=one.description) for one in found[TASKS]]
    return sets


def measure(
    network: GatedHypernetwork, classifier: Classifier, gguf: Path, embedder, sets: Mapping[str, Sequence[Example]],
    seed: int, device: str = "cpu",
) -> Found:  # fmt: skip
    """Loss of the sets' examples under their own descriptions' adapters, at each share; seed: of the prompts."""
    model, tokenizer = load_base(gguf, device)
    lora = GatedLora.of(network).to(device)
    lora.attach(model)

    def gates_of(share: float, texts: Sequence[str]) -> torch.Tensor:
        return network.gates(embedder.read(list(texts)), share)

    losses, logits = {}, {}
    with tqdm(total=sum(map(len, sets.values())) * len(SHARES), unit="item", mininterval=2.0) as bar:
        for name, examples in sets.items():
            logits[name] = classifier(embedder.embed([example.description for example in examples]))
            rows = []
            for share in SHARES:
                gates = partial(gates_of, share)
                found, _ = example_scores(model, tokenizer, lora, gates, examples, BATCH_TOKENS, device)
                rows.append(found)
                bar.update(len(examples))
            losses[name] = torch.stack(rows)
    return Found(losses, logits, classifier(embedder.embed(system_prompts(PROMPTS, seed))))


def system_prompts(count: int, seed: int) -> list[str]:
    """`count` system prompts kept for measuring, bare and in the pipeline's two wordings."""
    skills, rng = load_skills(None), random.Random(seed)
    bare = hints(count, seed, held_out=True)
    return bare + [text for prompt in bare for text in piped(prompt, skills, rng)]


def calibrated(classifier: Classifier, found: Found) -> Listening:
    """The classifier with its range, and what that was chosen by."""
    told: dict[str, object] = {
        name: {
            "examples": found.losses[name].shape[1],
            "loss_at_share": dict(zip(SHARES, found.at_share(name), strict=True)),
            "loss_from_logit": dict(zip(LOWS, found.at_low(name), strict=True)),
        }
        for name in found.losses
    }
    told["prompts_followed"] = dict(zip(LOWS, found.prompts_followed(), strict=True))
    return Listening(classifier, found.chosen, found.chosen + WIDTH, told)
