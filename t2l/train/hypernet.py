"""Train the gated hypernetwork: gates listen to descriptions while A and B learn to do the tasks.

Resumable: `state.pt` in the run folder holds weights, optimiser, step and the data stream's state. Warm-up, constant
learning rate, then a linear decay over the last `decay_share` of `steps`; a run may be resumed with more steps.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from adapters.errors import AdapterError
from adapters.lora import LoraAdapter, LoraDelta
from adapters.peft_file import read_peft, write_peft
from t2l import composer, listening
from t2l.embedder import TextEmbedder
from t2l.evaluate.data import DataError
from t2l.gated import (
    UNCONDITIONAL,
    GatedConfig,
    GateNetwork,
    check_unconditional,
    checkpoint_weights,
    load_gated,
    write_config,
)
from t2l.hypernetwork import CheckpointError
from t2l.train.base import GatedLora, adapted_shapes, answer_logits, load_base
from t2l.train.batches import Batch, bucketed, collate, tokenize
from t2l.train.data import Example, Mixture, dev_examples
from t2l.train.generated import CodeNetwork, GeneratedLora, adapted_only
from t2l.train.measure import means, steering

POOL_BATCHES = 8
"""Batches drawn and sorted by length together: less padding, at the price of more even batches."""
MEAN_OVER = 256
"""Descriptions over which gates are averaged for the unconditional adapter."""
MAY_CHANGE = ("steps", "decay_share", "eval_every", "eval_examples", "save_every", "replies")
"""Settings that a run may go on with when they are others. Of replies the contents count (`Mixture.digest`)."""


class ExampleSource(Protocol):
    """An endless stream of examples that can be taken up again. digest: sha256 (hex) of what they are drawn from."""

    @property
    def digest(self) -> str: ...
    def draw(self, count: int) -> list[Example]: ...
    def state(self) -> object: ...
    def restore(self, state) -> None: ...


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """Everything a run depends on besides its data; written into the run folder."""

    steps: int
    batch_tokens: int = 640
    rank: int = 16
    scaling: float = 2.0
    first_layer: int = 8
    code_width: int = 256
    lora_lr: float = 5e-4
    gate_lr: float = 1e-3
    warmup: int = 30
    decay_share: float = 0.2
    """Of the steps, the last, over which the learning rates fall to zero."""
    procedural_share: float = 0.5
    breadth: int = 0
    """Procedural operations of each kind of input, the plainest first; 0 = all."""
    replies: str = ""
    """File of the base model's own replies to mix in (replies.py)."""
    replies_share: float = 0.1
    lettered_share: float = 0.15
    """Real examples turned into multiple choice (lettered.py)."""
    served_share: float = 0.0
    """Examples that have the description as system text whatever else (data.py)."""
    family: Literal["gated", "plain", "generated"] = "gated"
    """plain: the multi-task LoRA, Z always the identity. generated: a Text-to-LoRA style generator (generated.py)."""
    seed: int = 0
    eval_every: int = 100
    """Steps between measurements on development sets; 0 = none."""
    eval_examples: int = 48
    save_every: int = 25


def learning_rate(step: int, settings: TrainSettings) -> float:
    """Factor on the learning rates at `step` (0-based)."""
    decay = max(1, int(settings.steps * settings.decay_share))
    return min(1.0, (step + 1) / settings.warmup, max(0.02, (settings.steps - step) / decay))


def answer_weights(batch: Batch) -> torch.Tensor:
    """(answer tokens,): one over the root of the answer's length, end token included.

    By the token, long answers drown the letters and labels in which a task shows; by the example, they are not learnt.
    """
    owner = batch.answer[:, 1:].nonzero()[:, 0]
    return owner.bincount()[owner].float().rsqrt()


class Trainer:
    """One run: the frozen base, the trained parts, the data stream and the run folder. Single-threaded."""

    def __init__(
        self, settings: TrainSettings, gguf: Path, base_name: str, base_digest: str, data: Path, run: Path,
        embedder: TextEmbedder, device: str = "cpu", source: ExampleSource | None = None,
    ) -> None:  # fmt: skip
        """source: where examples come from; None = the mixture of the data folder that the settings describe."""
        self.settings, self.run, self.device = settings, run, device
        self._embedder, self._data = embedder, data
        run.mkdir(parents=True, exist_ok=True)
        generator = torch.Generator().manual_seed(settings.seed)
        torch.manual_seed(settings.seed)
        self.model, self.tokenizer = load_base(gguf, device)
        self.shapes = adapted_shapes(self.model, settings.first_layer)
        if settings.family == "generated":
            self.shapes = adapted_only(self.shapes)
            self.lora = GeneratedLora(self.shapes, settings.rank, settings.scaling, settings.code_width, generator)
            self.gates = CodeNetwork(embedder.dim, settings.code_width, len(self.shapes))
        else:
            self.lora = GatedLora(self.shapes, settings.rank, settings.scaling, generator)
            self.gates = GateNetwork(embedder.dim, settings.code_width, len(self.shapes), settings.rank)
        self.lora.to(device).attach(self.model)
        self.gates.to(device)
        self.optimizer = torch.optim.AdamW(
            [{"params": self.lora.parameters(), "lr": settings.lora_lr},
             {"params": self.gates.parameters(), "lr": settings.gate_lr}], betas=(0.9, 0.98), weight_decay=0.0,
            fused=True,
        )  # fmt: skip
        self._base_rates = [group["lr"] for group in self.optimizer.param_groups]
        self.mixture = source or Mixture(
            data, settings.seed, settings.procedural_share, settings.breadth,
            Path(settings.replies) if settings.replies else None, settings.replies_share,
            settings.lettered_share, settings.served_share,
        )  # fmt: skip
        self._order = random.Random(settings.seed + 1)
        self.step, self.examples_seen, self.tokens_seen, self.seconds = 0, 0, 0, 0.0
        self._base_name, self._base_digest = base_name, base_digest
        self._start = ""

    def fit(self, on_step: Callable[[dict], None] | None = None) -> dict:
        """Train to `settings.steps`, saving as it goes; returns the last step's record. Ctrl-C saves first."""
        self.resume()
        record = _last(self.run / "log.jsonl") if self.step == self.settings.steps else {}
        dev: dict[str, list[Example]] = {}
        if self.settings.eval_every:
            dev = dev_examples(self._data, self.settings.eval_examples, seed=1234, breadth=self.settings.breadth)
        bar = tqdm(total=self.settings.steps, initial=self.step, unit="step", mininterval=5.0)
        pending: list = []
        try:
            while self.step < self.settings.steps:
                if not pending:
                    pending = self._pool()
                record = self._train_step(pending.pop())
                bar.update()
                bar.set_postfix(loss=f"{record['loss']:.2f}", tok_s=f"{self.tokens_seen / self.seconds:.0f}")
                every = self.settings.eval_every
                if every and (self.step % every == 0 or self.step == self.settings.steps):
                    record |= {"dev": self.evaluate(dev)}
                self._log(record)
                if on_step:
                    on_step(record)
                if self.step % self.settings.save_every == 0:
                    self.save()
        finally:
            bar.close()
            self.save()
        return record

    def _pool(self) -> list:
        count = max(1, POOL_BATCHES * self.settings.batch_tokens // 55)  # an example is about 55 tokens
        rows = [tokenize(self.tokenizer, example) for example in self.mixture.draw(count)]
        shortest = min(len(row.ids) for row in rows)
        rows = [row for row in rows if len(row.ids) <= self.settings.batch_tokens]
        if not rows:
            limit = self.settings.batch_tokens
            raise DataError(f"of {count} examples none fits --batch-tokens {limit}, the shortest has {shortest}")
        return bucketed(rows, self.settings.batch_tokens, self._order)

    def _train_step(self, rows: list) -> dict:
        start = time.monotonic()
        factor = learning_rate(self.step, self.settings)
        for group, rate in zip(self.optimizer.param_groups, self._base_rates, strict=True):
            group["lr"] = rate * factor
        batch = collate(rows, self.device)
        self.lora.gates = self._gates([example.description for example in batch.examples])
        logits = answer_logits(self.model, batch.ids, batch.mask, batch.answer)
        weights = answer_weights(batch)
        losses = torch.nn.functional.cross_entropy(logits, batch.ids[:, 1:][batch.answer[:, 1:]], reduction="none")
        loss = (losses * weights).sum() / weights.sum()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_([*self.lora.parameters(), *self.gates.parameters()], 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        self.examples_seen += len(rows)
        self.tokens_seen += int(batch.mask.sum())
        self.seconds += time.monotonic() - start
        return {
            "step": self.step, "loss": loss.item(), "norm": float(norm), "examples": self.examples_seen,
            "tokens": self.tokens_seen, "seconds": round(self.seconds, 1),
        }  # fmt: skip

    def _gates(self, descriptions: Sequence[str]) -> torch.Tensor:
        """(batch, modules, rank, rank); codes (batch, modules, code_width) of a generated family."""
        if self.settings.family == "plain":
            same = torch.eye(self.settings.rank, device=self.device)
            return same.expand(len(descriptions), len(self.shapes), -1, -1)
        if self.settings.family == "generated":
            return self.gates(self._embedder.embed(list(descriptions)).to(self.device))
        return self.gates([states.to(self.device) for states in self._embedder.read(list(descriptions)).tokens])

    def evaluate(self, dev: dict[str, list[Example]]) -> dict:
        """The means of `steering`."""
        batch_tokens = 4 * self.settings.batch_tokens
        return means(steering(self.model, self.tokenizer, self.lora, self._gates, dev, batch_tokens, self.device))

    def _log(self, record: dict) -> None:
        with (self.run / "log.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")

    def save(self) -> None:
        state = {
            "lora": self.lora.state_dict(), "gates": self.gates.state_dict(), "optimizer": self.optimizer.state_dict(),
            "step": self.step, "examples": self.examples_seen, "tokens": self.tokens_seen, "seconds": self.seconds,
            "mixture": self.mixture.state(), "order": self._order.getstate(), "made_of": self._made_of(),
        }  # fmt: skip
        temporary = self.run / "state.pt.tmp"
        torch.save(state, temporary)
        os.replace(temporary, self.run / "state.pt")
        (self.run / "settings.json").write_text(json.dumps(asdict(self.settings), indent=1))

    def _made_of(self) -> dict:
        """What must be the same for a run to go on: its export vouches for all of it."""
        fixed = {name: value for name, value in asdict(self.settings).items() if name not in MAY_CHANGE}
        other = {"base model": self._base_digest, "embedder": self._embedder.digest, "data": self.mixture.digest}
        return fixed | other | {"start": self._start}

    def resume(self) -> None:
        """Continue from `state.pt` if the run folder has one. Raises CheckpointError if it is of another training."""
        path = self.run / "state.pt"
        if not path.exists():
            return
        # Our own file, and the random states in it are plain tuples: no code is read.
        state = torch.load(path, map_location=self.device, weights_only=True)
        if (before := state.get("made_of")) is None:
            raise CheckpointError(f"{path} does not say what it was trained with (an earlier version wrote it): name "
                                  "another run folder with --run")  # fmt: skip
        now = self._made_of()
        if other := [name for name in now.keys() | before.keys() if now.get(name) != before.get(name)]:
            told = (f"{name} {str(before.get(name))[:12]}, now {str(now.get(name))[:12]}" for name in sorted(other))
            raise CheckpointError(f"{path} was trained with {'; '.join(told)}: give what it was trained with, or name "
                                  "another run folder with --run")  # fmt: skip
        if state["step"] > self.settings.steps:
            raise CheckpointError(f"{path} has done {state['step']} steps already: give as many with --steps, or name "
                                  "another run folder with --run")  # fmt: skip
        self.lora.load_state_dict(state["lora"])
        self.gates.load_state_dict(state["gates"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.examples_seen = state["step"], state["examples"]
        self.tokens_seen, self.seconds = state["tokens"], state["seconds"]
        self.mixture.restore(state["mixture"])
        self._order.setstate(state["order"])

    def start_from(self, folder: Path) -> None:
        """Begin at an exported checkpoint's weights instead of at random ones; a run's own `state.pt` goes first.

        A plain multi-task LoRA begins at the checkpoint's unconditional adapter. Raises CheckpointError.
        """
        if self.settings.family == "generated":
            raise CheckpointError("a Text-to-LoRA style run starts from nothing")
        checkpoint = load_gated(folder, str(self.device))
        plain, own = self.settings.family == "plain", checkpoint.config.rank
        begin = slice(own, checkpoint.stacked_rank) if plain else slice(0, own)
        if checkpoint.config.shapes != self.shapes or begin.stop - begin.start != self.settings.rank:
            rank, first = begin.stop - begin.start, min(int(path.split(".")[2]) for path in checkpoint.config.shapes)
            raise CheckpointError(f"{folder} has rank {rank} and layers from {first} on: --rank {rank} --first-layer "
                                  f"{first} begins there")  # fmt: skip
        self._start = checkpoint_weights(folder)
        if not plain:
            self.gates.load_state_dict(checkpoint.network.state_dict())
        with torch.no_grad():
            for index, path in enumerate(self.lora.paths):
                a, b = checkpoint.stacked(path)
                self.lora.a[index].copy_(a[begin])
                self.lora.b[index].copy_(b[:, begin] * (checkpoint.config.scaling / self.settings.scaling))

    @torch.no_grad()
    def mean_adapter(self) -> LoraAdapter:
        """The adapter of the gates' mean over the mixture's next descriptions."""
        mean = self._gates([example.description for example in self.mixture.draw(MEAN_OVER)]).mean(dim=0)
        parts = zip(self.lora.paths, self.lora.a, self.lora.b, mean, strict=True)
        deltas = {path: LoraDelta(a.half().cpu().numpy(), (b @ gates).half().cpu().numpy(), self.settings.scaling)
                  for path, a, b, gates in parts}  # fmt: skip
        return LoraAdapter(self._base_digest, deltas)

    def export(self, folder: Path, notes: dict, unconditional: LoraAdapter | None = None) -> bool:
        """Write the checkpoint that `t2l.gated.load_gated` reads: all float16.

        unconditional: what strange texts get; None = `mean_adapter`. False where the folder has these weights already,
        and the unconditional adapter if one is given: it stays as it is, with what was calibrated since. Raises
        CheckpointError for an unconditional adapter of other layers, and for a generated family, which is there to be
        compared with and not served.
        """
        if self.settings.family == "generated":
            raise CheckpointError("a Text-to-LoRA style run is measured (log.jsonl), not exported")
        if unconditional:
            check_unconditional(unconditional, self.shapes, Path(UNCONDITIONAL))
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {}
        for module, a, b in zip(self.lora.paths, self.lora.a, self.lora.b, strict=True):
            tensors[f"lora.{module}.lora_a"] = a.detach().half().cpu()
            tensors[f"lora.{module}.lora_b"] = b.detach().half().cpu()
        tensors |= {name: tensor.detach().half().cpu() for name, tensor in self.gates.state_dict().items()}
        path, beside = folder / "model.safetensors", folder / UNCONDITIONAL
        same = _holds(path, tensors) and (unconditional is None or _is(beside, unconditional))
        if (folder / "config.json").exists() and same:
            return False
        config = GatedConfig(
            self._base_name, self._base_digest, self._embedder.digest, self._embedder.dim, self.settings.rank,
            self.settings.scaling, self.settings.code_width, self.shapes,
            training={"settings": asdict(self.settings) | {"replies": Path(self.settings.replies).name},
                      "examples": self.examples_seen, "tokens": self.tokens_seen,
                      "hours": round(self.seconds / 3600, 2), **notes},
        )  # fmt: skip
        # Another network's, never to stand beside these weights.
        for other in ("config.json", composer.FILE_NAME, listening.FILE_NAME):
            (folder / other).unlink(missing_ok=True)
        save_file(tensors, folder / "model.safetensors.tmp")
        os.replace(folder / "model.safetensors.tmp", path)
        beside.mkdir(exist_ok=True)
        write_peft(unconditional or self.mean_adapter(), beside, self._base_name)
        write_config(folder, {"family": "gated"} | asdict(config))
        return True


def _holds(path: Path, tensors: Mapping[str, torch.Tensor]) -> bool:
    """Whether a checkpoint's file has these weights."""
    try:
        stored = load_file(path)
    except (OSError, SafetensorError):
        return False
    same = stored.keys() == tensors.keys()
    return same and all(torch.equal(stored[name], tensor) for name, tensor in tensors.items())


def _last(log: Path) -> dict:
    """The last record of a log; {} where there is none."""
    lines = log.read_text().splitlines() if log.exists() else []
    return json.loads(lines[-1]) if lines else {}


def _is(folder: Path, adapter: LoraAdapter) -> bool:
    """Whether a PEFT folder holds this adapter."""
    try:
        return read_peft(folder, adapter.base_digest).digest == adapter.digest
    except AdapterError:
        return False
