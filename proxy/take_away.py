"""An adapter as a folder for other programs: PEFT, GGUF LoRA or merged GGUF, each with a README that says what it
is, what it was made of, and how to run it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from adapters.base_files import BaseFiles
from adapters.build_report import MergeReport, table
from adapters.compose import pad, recompress
from adapters.gguf_file import write_gguf
from adapters.lora import LoraAdapter
from adapters.peft_file import write_peft
from proxy.adapter_source import NamedAdapter
from proxy.model_files import MODELS

Format = Literal["peft", "gguf", "merged"]

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM's --max-lora-rank takes (MaxLoRARanks in vllm/config/lora.py); an adapter of such a rank wastes nothing."""

Merge = Callable[[LoraAdapter, Path], MergeReport]
"""Merges an adapter into a file; see proxy/commands/merge.py."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written. retained_energy: of the change, after recompression to a lower rank; 1 otherwise."""

    folder: Path
    format: Format
    rank: int
    retained_energy: float
    files: tuple[str, ...]


def export(
    named: NamedAdapter, base: BaseFiles, folder: Path, form: Format, rank: int | None, merge: Merge
) -> Exported:
    """Write the folder under a temporary name and rename it: it is there as a whole or not at all.

    rank: recompress or pad to exactly this one. None: for PEFT the next of RANKS, else the adapter's own.
    Raises FileExistsError if the folder is there, and what `merge` raises.
    """
    if folder.exists():
        raise FileExistsError(f"{folder} exists already")
    wanted = serving_rank(named.adapter.rank) if form == "peft" else named.adapter.rank
    wanted = wanted if rank is None else rank
    adapter, energy = of_rank(named.adapter, wanted)
    partial = folder.with_name(folder.name + ".partial")
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    try:
        usage = WRITERS[form](adapter, base, partial, folder, merge)
        if named.card is not None:
            (partial / "card.json").write_text(named.card.to_text(), encoding="utf-8")
        readme = describe(named, adapter, base, energy, usage, form)
        (partial / "README.md").write_text(readme, encoding="utf-8")
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    files = tuple(sorted(path.name for path in folder.iterdir()))
    return Exported(folder, form, adapter.rank, energy, files)


def serving_rank(rank: int) -> int:
    """The smallest of RANKS that holds it, or the largest."""
    return next((allowed for allowed in RANKS if allowed >= rank), RANKS[-1])


def of_rank(adapter: LoraAdapter, rank: int) -> tuple[LoraAdapter, float]:
    """The adapter at exactly that rank in every layer, and the share of its energy that is left."""
    if rank < 1:
        raise ValueError(f"--rank is {rank}, want at least 1")
    if adapter.rank <= rank:
        return pad(adapter, rank), 1.0
    small = recompress(adapter, rank)
    return pad(small.adapter, rank), small.retained_energy


def write_peft_folder(adapter: LoraAdapter, base: BaseFiles, partial: Path, folder: Path, merge: Merge) -> str:
    write_peft(adapter, partial, base.model.name)
    gguf = base.model.path.name
    return f"""With peft, on the weights it was made for (those of `{gguf}`, dequantised):

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained("FOLDER_OF_THE_MODEL", gguf_file="{gguf}")
model.save_pretrained("base")  # for vLLM; the tokenizer comes from the same file
model = PeftModel.from_pretrained(model, "{folder.name}")
```

With vLLM:

```
vllm serve base --enable-lora --max-lora-rank {serving_rank(adapter.rank)} --lora-modules {folder.name}={folder.name}
```

Quantisation methods that fold scales into the weights (AWQ, GPTQ with reordering) make a GGUF file's weights other
than those of the original safetensors of the same name. On those this adapter does not do what it was made for."""


def write_gguf_folder(adapter: LoraAdapter, base: BaseFiles, partial: Path, folder: Path, merge: Merge) -> str:
    write_gguf(adapter, partial / "adapter.gguf", base.model)
    gguf = base.model.path.name
    (partial / "Modelfile").write_text(f"FROM ./{gguf}\nADAPTER ./adapter.gguf\n", encoding="utf-8")
    return f"""```
llama-server -m {gguf} --lora adapter.gguf
```

Ollama: put `{gguf}` beside the Modelfile, then `ollama create {folder.name} -f Modelfile`."""


def write_merged_folder(adapter: LoraAdapter, base: BaseFiles, partial: Path, folder: Path, merge: Merge) -> str:
    report = merge(adapter, partial / "model.gguf")
    (partial / "Modelfile").write_text("FROM ./model.gguf\n", encoding="utf-8")
    return f"""```
llama-server -m model.gguf
ollama create {folder.name} -f Modelfile
```

The adapter is part of the weights; nothing has to be attached. Each changed tensor was dequantised, changed and
stored again; gain is the share of the change that is in the file:

```
{table(report.tensors)}
```

Against the base model with the adapter attached, on a probe text: KL {report.probe.kl:.4f} nats per token, same most
likely token {report.probe.top1:.1%} of {report.probe.tokens}."""


WRITERS = {"peft": write_peft_folder, "gguf": write_gguf_folder, "merged": write_merged_folder}
"""Each writes its files into the partial folder and returns how to run them, in Markdown."""


def describe(
    named: NamedAdapter, adapter: LoraAdapter, base: BaseFiles, energy: float, usage: str, form: Format
) -> str:
    """The README: a model card whose front matter the hub and peft understand."""
    model, card = base.model, named.card
    known = next((known for known in MODELS.values() if known.sha256 == model.digest), None)
    terms = known.license if known else model.header.metadata.get("general.license")
    tag = "apache-2.0" if str(terms).lower() == "apache-2.0" else "other"
    library = {"peft": "peft", "gguf": "gguf", "merged": "gguf"}[form]
    front = ["---", f"base_model: {known.hub_repo if known else model.name}", f"library_name: {library}"]
    front += [f"license: {tag}", "tags: [lora, text-to-lora, et2l]", "---"]
    lines = [*front, "", f"# {named.name}", ""]
    if card is not None and card.hint:
        lines += [f"Specialises {model.name} to this task:", "", *(f"> {line}" for line in card.hint.splitlines()), ""]
        if card.enhanced and card.enhanced != card.hint:
            lines += ["as the adapter's generator read it:", "", *(f"> {x}" for x in card.enhanced.splitlines()), ""]
    lines += ["| | |", "|---|---|", f"| adapter | `{named.digest}` |"]
    lines += [f"| rank | {adapter.rank}{'' if energy == 1.0 else f', {energy:.1%} of the change kept'} |"]
    lines += [f"| layers changed | {len(adapter.deltas)} linear layers |"]
    if card is not None:
        skills = ", ".join(f"{name} {share:.2f}" for name, share in sorted(card.weights.items(), key=lambda x: -x[1]))
        lines += [f"| skills and weights | {skills or 'none'} |"]
        lines += [f"| parents | {', '.join(f'`{digest}`' for digest in card.parents) or 'none'} |"]
        lines += [f"| {name} | `{value[:16]}` |" for name, value in sorted(card.versions.items())]
    lines += [f"| base model | {model.name} ({model.architecture}), `{model.path.name}`, sha256 `{model.digest}` |"]
    lines += [f"| licence of the base model | {terms or 'not stated in its file: see where you got it'} |"]
    return "\n".join([*lines, "", "## Use", "", usage, ""])
