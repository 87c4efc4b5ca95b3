"""Reading SakanaAI Text-to-LoRA checkpoints: `hypermod.pt`, `args.yaml`, `adapter_config.json`.

Owns what those files may say and every check on them; the forward pass is in `t2l/sakana.py`. The base
model is never needed: layer count, widths and module order all follow from the tensors.
Format: SakanaAI/text-to-lora (Charakorn et al. 2025, Text-to-LoRA, section 3).
"""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import yaml

from t2l.hypernetwork import CheckpointError

WEIGHTS, ARGS, ADAPTER = "hypermod.pt", "args.yaml", "adapter_config.json"
FILES = (WEIGHTS, ARGS, ADAPTER)

PARENTS = {
    **dict.fromkeys(("q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj", "dense", "out_proj"), "self_attn"),
    **dict.fromkeys(
        ("gate_proj", "up_proj", "down_proj", "gate_up_proj", "fc1", "fc2", "c_fc", "c_proj"), "mlp"
    ),
}
"""Where a linear layer of that name sits in a decoder layer of transformers' `model.layers.<i>`. A checkpoint
names only the leaf, and T2L itself reads models of this shape alone."""


@dataclass(frozen=True, slots=True)
class Module:
    """One adapted kind of linear layer, e.g. q_proj, of equal shape in every decoder layer."""

    name: str
    in_features: int
    out_features: int

    def path(self, layer: int) -> str:
        """Module path as transformers names it."""
        return f"model.layers.{layer}.{PARENTS[self.name]}.{self.name}"


@dataclass(frozen=True, slots=True)
class SakanaConfig:
    """What the three files agree on.

    modules: in the order of the `heads.*` keys, which is the order the type embedding was trained in. The
    reference loader enumerates a Python set instead, so its order can change from run to run.
    latent_size: width of the trunk is latent/2 (task) + latent/4 (depth) + latent/4 (type).
    head_bias: heads have no bias where an offset or z-scores already carry the mean.
    emb_model: the text encoder the task embeddings come from; "" = the base model's own last hidden state.
    """

    training_task: Literal["sft", "recon"]
    shared_ab_head: bool
    one_rank_at_a_time: bool
    learnable_positions: bool
    z_scored: bool
    factorized: bool
    delta_w_scaling: float
    head_bias: bool
    embedding_dim: int
    latent_size: int
    head_in_size: int
    layers: int
    rank: int
    scaling: float
    modules: tuple[Module, ...]
    emb_model: str
    one_hot_tasks: bool
    base_name: str

    @property
    def widths(self) -> tuple[int, int, int]:
        """Of the task, depth and type embeddings."""
        return self.latent_size // 2, self.latent_size // 4, self.latent_size // 4

    @property
    def trunk_width(self) -> int:
        return sum(self.widths)


@dataclass(frozen=True, slots=True, eq=False)
class SakanaFiles:
    """A checkpoint as read: configuration, float32 CPU tensors by state dict key, sha256 over the files."""

    config: SakanaConfig
    weights: Mapping[str, torch.Tensor]
    digest: str


def read_sakana(folder: Path) -> SakanaFiles:
    """Read and cross-check a checkpoint folder. Raises CheckpointError naming the file and the fault."""
    for name in FILES:
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder} has no {name}: a T2L checkpoint is {', '.join(FILES)}")
    weights = _read_weights(folder / WEIGHTS)
    config = _config(folder, weights, _read_args(folder / ARGS), _read_adapter(folder / ADAPTER))
    _check_tensors(folder / WEIGHTS, weights, expected_shapes(config), _unused(config))
    sha = hashlib.sha256()
    for name in FILES:
        sha.update((folder / name).read_bytes())
    return SakanaFiles(config, weights, sha.hexdigest())


def base_name(folder: Path) -> str:
    """What a checkpoint folder calls its base model, without reading the weights; "" where it does not say."""
    return _base_name(_read_args(folder / ARGS), _read_adapter(folder / ADAPTER))


def expected_shapes(config: SakanaConfig) -> dict[str, tuple[int, ...]]:
    """Every key of the state dict and its shape."""
    task, depth, kind = config.widths
    width, rank, layers = config.trunk_width, config.rank, config.layers
    shapes: dict[str, tuple[int, ...]] = {}
    for group in ("AB_offset", "mean_recon_target", "std_recon_target"):
        for module in config.modules:
            shapes[f"{group}.A.{module.name}"] = (layers, rank, module.in_features)
            shapes[f"{group}.B.{module.name}"] = (layers, module.out_features, rank)
    shapes |= _linear("task_encoder.mlp.0", config.embedding_dim, task) | _norm("task_encoder.mlp.1", task)
    shapes |= {"layer_depth_encoder.0.weight": (layers, depth)} | _norm("layer_depth_encoder.1", depth)
    shapes |= {"layer_type_encoder.0.weight": (len(config.modules), kind)} | _norm(
        "layer_type_encoder.1", kind
    )
    shapes |= _linear("mixer.1", width, 4 * width) | _linear("mixer.4", 4 * width, width)
    for block, prefix, out in (
        ("mlp1", ".mlp", width),
        ("mlp2", ".mlp", width),
        ("mlp3", "", config.head_in_size),
    ):
        shapes |= _norm(f"{block}{prefix}.0", width)
        shapes |= _linear(f"{block}{prefix}.1", width, 4 * width) | _linear(
            f"{block}{prefix}.4", 4 * width, out
        )
    if config.one_rank_at_a_time and config.learnable_positions:
        shapes |= {"pos_emb.0.weight": (rank, width)} | _norm("pos_emb.1", width)
    if config.shared_ab_head:
        shapes |= {f"out_emb.{module.name}.{half}": (width,) for module in config.modules for half in "AB"}
        shapes |= _norm("out_emb_norm", width)
    for module in config.modules:
        sides = (module.in_features, module.out_features)
        out = max(sides) if config.shared_ab_head else sum(sides)
        out *= 1 if config.one_rank_at_a_time else rank
        shapes |= _linear(f"heads.{module.name}", config.head_in_size, out, bias=config.head_bias)
    return shapes


def _linear(name: str, in_features: int, out_features: int, bias: bool = True) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {f"{name}.weight": (out_features, in_features)}
    return shapes | {f"{name}.bias": (out_features,)} if bias else shapes


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _unused(config: SakanaConfig) -> frozenset[str]:
    """Keys a file may lack together: target statistics, which only z-scored checkpoints read."""
    if config.z_scored:
        return frozenset()
    return frozenset(key for key in expected_shapes(config) if key.split(".")[0].endswith("_recon_target"))


def _read_weights(path: Path) -> dict[str, torch.Tensor]:
    try:
        raw = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as exc:
        raise CheckpointError(f"{path} cannot be read as a plain state dict: {exc}") from exc
    if (
        not isinstance(raw, dict)
        or not raw
        or not all(isinstance(value, torch.Tensor) for value in raw.values())
    ):
        raise CheckpointError(f"{path} is no state dict: want names and tensors only")
    weights = {key: tensor.detach().float() for key, tensor in raw.items()}
    for key, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise CheckpointError(f"{path}: {key} has values that are not finite")
    return weights


def _read_args(path: Path) -> dict[str, Any]:
    try:
        args = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise CheckpointError(f"{path} is no readable YAML: {exc}") from exc
    if not isinstance(args, dict):
        raise CheckpointError(f"{path} must be a mapping of options, not {type(args).__name__}")
    return args


def _read_adapter(path: Path) -> dict[str, Any]:
    try:
        adapter = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise CheckpointError(f"{path} is no readable JSON: {exc}") from exc
    if not isinstance(adapter, dict) or adapter.get("peft_type") != "LORA":
        kind = adapter.get("peft_type") if isinstance(adapter, dict) else type(adapter).__name__
        raise CheckpointError(f"{path}: peft_type is {kind!r}; only 'LORA' can be generated")
    # Each would change what lora_A and lora_B mean; T2L never sets them.
    for key in (
        "use_dora",
        "rank_pattern",
        "alpha_pattern",
        "layers_to_transform",
        "modules_to_save",
        "lora_bias",
    ):
        if adapter.get(key):
            raise CheckpointError(f"{path}: {key} = {adapter[key]!r} is not supported")
    if not isinstance(adapter.get("r"), int) or adapter["r"] < 1:
        raise CheckpointError(f"{path}: r is {adapter.get('r')!r}, want a positive integer")
    if not isinstance(adapter.get("lora_alpha"), (int, float)):
        raise CheckpointError(f"{path}: lora_alpha is {adapter.get('lora_alpha')!r}, want a number")
    return adapter


def _config(
    folder: Path, weights: Mapping[str, torch.Tensor], args: Mapping[str, Any], adapter: Mapping[str, Any]
) -> SakanaConfig:
    task = _option(folder, args, "training_task", str)
    if task not in ("sft", "recon"):
        raise CheckpointError(f"{folder / ARGS}: training_task is {task!r}, want 'sft' or 'recon'")
    z_scored = task == "recon" and _option(folder, args, "pred_z_score", bool, default=False)
    factorized = _option(folder, args, "factorized", bool, default=False)
    if z_scored and not factorized:
        raise CheckpointError(
            f"{folder / ARGS}: pred_z_score needs factorized: true, z-scores are of A and B"
        )
    delta_w_scaling = float(_option(folder, args, "delta_w_scaling", (int, float), default=10000))
    if delta_w_scaling <= 0:
        raise CheckpointError(
            f"{folder / ARGS}: delta_w_scaling is {delta_w_scaling}, want a positive number"
        )
    offset_trained = bool(args.get("mt_lora_path"))
    rank = adapter["r"]
    layers, embedding_dim = _trunk_sizes(folder, weights)
    return SakanaConfig(
        training_task=task,
        shared_ab_head=_option(folder, args, "shared_AB_head", bool, default=False),
        one_rank_at_a_time=_option(folder, args, "autoreg_gen", bool, default=False),
        learnable_positions=_option(folder, args, "learnable_pos_emb", bool, default=False),
        z_scored=z_scored,
        factorized=factorized,
        delta_w_scaling=delta_w_scaling,
        head_bias=not offset_trained if task == "sft" else not z_scored,
        embedding_dim=embedding_dim,
        latent_size=_option(folder, args, "hypernet_latent_size", int),
        head_in_size=_option(folder, args, "head_in_size", int),
        layers=layers,
        rank=rank,
        scaling=adapter["lora_alpha"] / (rank**0.5 if adapter.get("use_rslora") else rank),
        modules=_modules(folder, weights, args, adapter),
        emb_model=_option(folder, args, "emb_model", str, default=""),
        one_hot_tasks=_option(folder, args, "use_one_hot_task_emb", bool, default=False),
        base_name=_base_name(args, adapter),
    )


def _option(
    folder: Path, args: Mapping[str, Any], key: str, kind: type | tuple[type, ...], default: Any = None
) -> Any:
    """One option of args.yaml; null and absent are the default, where there is one."""
    value = args.get(key)
    value = default if value is None else value
    wrong = not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)
    if wrong:
        wanted = " or ".join(one.__name__ for one in (kind if isinstance(kind, tuple) else (kind,)))
        raise CheckpointError(f"{folder / ARGS}: {key} is {value!r}, want {wanted}")
    return value


def _base_name(args: Mapping[str, Any], adapter: Mapping[str, Any]) -> str:
    return str(adapter.get("base_model_name_or_path") or args.get("model_dir") or "")


def _trunk_sizes(folder: Path, weights: Mapping[str, torch.Tensor]) -> tuple[int, int]:
    """Number of decoder layers and embedding width, from the tensors that alone know them."""
    keys = ("layer_depth_encoder.0.weight", "task_encoder.mlp.0.weight")
    for key in keys:
        if key not in weights or weights[key].ndim != 2:
            raise CheckpointError(
                f"{folder / WEIGHTS}: no matrix {key}; only the linear task encoder is supported"
            )
    return weights[keys[0]].shape[0], weights[keys[1]].shape[1]


def _modules(
    folder: Path, weights: Mapping[str, torch.Tensor], args: Mapping[str, Any], adapter: Mapping[str, Any]
) -> tuple[Module, ...]:
    """Module kinds in the order of the heads; their widths from the offsets, which every checkpoint
    carries."""
    names = list(dict.fromkeys(key.split(".")[1] for key in weights if key.startswith("heads.")))
    if not names:
        raise CheckpointError(f"{folder / WEIGHTS}: no heads.* keys")
    listed = adapter.get("target_modules")
    if listed != names:
        raise CheckpointError(
            f"{folder}: {WEIGHTS} has its heads in the order {names}, {ADAPTER} lists target_modules "
            f"{listed}. The order decides which type embedding a module gets, so the two files must agree: "
            "is one of them from another training run?"
        )
    if args.get("target_modules") is not None and set(args["target_modules"]) != set(names):
        raise CheckpointError(
            f"{folder}: heads are {names}, {ARGS} has target_modules {args['target_modules']}"
        )
    unknown = [name for name in names if name not in PARENTS]
    if unknown:
        raise CheckpointError(f"{folder}: unknown target modules {unknown}; known are {sorted(PARENTS)}")
    modules = []
    for name in names:
        a, b = weights.get(f"AB_offset.A.{name}"), weights.get(f"AB_offset.B.{name}")
        if a is None or b is None or a.ndim != 3 or b.ndim != 3:
            raise CheckpointError(f"{folder / WEIGHTS}: no AB_offset for {name}, which alone tells its width")
        modules.append(Module(name, in_features=a.shape[2], out_features=b.shape[1]))
    return tuple(modules)


def _check_tensors(
    path: Path,
    weights: Mapping[str, torch.Tensor],
    expected: Mapping[str, tuple[int, ...]],
    optional: frozenset[str],
) -> None:
    """Strict: every key there, no other key, every shape right. All faults in one message."""
    faults = []
    missing = expected.keys() - weights.keys()
    if missing == optional:  # all of them or none: half a set is a damaged file
        missing = set()
    if missing:
        faults.append(f"missing {_some(missing)}")
    if unexpected := weights.keys() - expected.keys():
        faults.append(f"unexpected {_some(unexpected)}")
    wrong = [
        f"{key} is {tuple(weights[key].shape)}, want {shape}"
        for key, shape in expected.items()
        if key in weights and tuple(weights[key].shape) != shape
    ]
    if wrong:
        faults.append("; ".join(wrong[:4]) + (f" and {len(wrong) - 4} more" if len(wrong) > 4 else ""))
    if faults:
        raise CheckpointError(f"{path} does not fit {ARGS} and {ADAPTER}: {'; '.join(faults)}")


def _some(keys: set[str]) -> str:
    shown = sorted(keys)[:6]
    return ", ".join(shown) + (f" and {len(keys) - 6} more" if len(keys) > 6 else "")
