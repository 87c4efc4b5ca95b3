"""Opening a hypernetwork checkpoint folder of either family, and the text embedder that goes with it."""

from __future__ import annotations

from pathlib import Path

from t2l.embedder import TextEmbedder, open_embedder
from t2l.gated import GatedHypernetwork, load_gated
from t2l.hypernetwork import CheckpointError, Hypernetwork
from t2l.sakana import SakanaHypernetwork, load_sakana
from t2l.sakana_context import CheckpointEmbedder, chat_template
from t2l.sakana_files import WEIGHTS as SAKANA_WEIGHTS


def open_hypernetwork(
    folder: Path, base_digest: str, device: str = "cpu"
) -> GatedHypernetwork | SakanaHypernetwork:
    """The checkpoint in a folder. Raises CheckpointError.

    base_digest: of the base model file served. SakanaAI's checkpoints name a model, not a file, and take the caller's
    word for it; ours know their file, and it is the caller who compares (`base_digest` of the result).
    """
    if not folder.is_dir():
        raise CheckpointError(f"there is no checkpoint folder {folder}")
    if (folder / SAKANA_WEIGHTS).exists():
        return load_sakana(folder, base_digest, device)
    return load_gated(folder, device)


def require_base(network: Hypernetwork, base_digest: str, folder: Path) -> None:
    """Raises CheckpointError for a network that was trained for another base model file than that of `base_digest`."""
    if network.base_digest not in ("", base_digest):
        raise CheckpointError(
            f"the hypernetwork in {folder} was trained for another model file (sha256 {network.base_digest[:12]}..., "
            f"the one configured has {base_digest[:12]}...): name another checkpoint, or set model.path"
        )


def trained_template(folder: Path) -> str | None:
    """The chat template a checkpoint was trained with, where it is not the served model's own (SakanaAI's).

    Raises CheckpointError.
    """
    return chat_template(folder) if (folder / SAKANA_WEIGHTS).exists() else None


def open_text_embedder(
    network: GatedHypernetwork | SakanaHypernetwork,
    path: str,
    threads: int,
    device: str = "cpu",
    trust_remote_code: bool = False,
) -> TextEmbedder:
    """The embedder whose vectors a hypernetwork was trained on.

    path: its folder, "" = the packaged one, or the encoder a SakanaAI checkpoint names. trust_remote_code: run the
    Python that such an encoder brings along. Raises CheckpointError or EmbedderError.
    """
    if isinstance(network, SakanaHypernetwork):
        return CheckpointEmbedder(network.config, path, device, trust_remote_code)
    embedder = open_embedder(path, threads)
    wanted = network.config.embedder_digest
    if embedder.digest != wanted:
        raise CheckpointError(
            f"the checkpoint was trained with another embedder ({wanted[:16]}...) than the one at hand "
            f"({embedder.digest[:16]}...): set embedder.path to that one, or clear it where it is set"
        )
    return embedder
