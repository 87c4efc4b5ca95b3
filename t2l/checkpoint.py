"""Opening a hypernetwork checkpoint folder of either family, and the text embedder that goes with it."""

from __future__ import annotations

from pathlib import Path

from t2l.embedder import TextEmbedder, open_embedder
from t2l.gated import GatedHypernetwork, load_gated
from t2l.hypernetwork import CheckpointError
from t2l.sakana import SakanaHypernetwork, load_sakana
from t2l.sakana_context import CheckpointEmbedder
from t2l.sakana_files import WEIGHTS as SAKANA_WEIGHTS


def open_hypernetwork(
    folder: Path, base_digest: str, device: str = "cpu"
) -> GatedHypernetwork | SakanaHypernetwork:
    """The checkpoint in a folder, for the base model file with that sha256. Raises CheckpointError.

    SakanaAI's checkpoints name a model, not a file: they take the caller's word. Ours must be for that very
    file.
    """
    if not folder.is_dir():
        raise CheckpointError(f"there is no checkpoint folder {folder}")
    if (folder / SAKANA_WEIGHTS).exists():
        return load_sakana(folder, base_digest, device)
    network = load_gated(folder, device)
    if network.base_digest != base_digest:
        raise CheckpointError(
            f"{folder} was trained for the base model file {network.base_digest[:16]}..., "
            f"the one served is {base_digest[:16]}..."
        )
    return network


def open_text_embedder(
    network: GatedHypernetwork | SakanaHypernetwork, path: str, threads: int, device: str = "cpu"
) -> TextEmbedder:
    """The embedder whose vectors a hypernetwork was trained on.

    path: its folder, "" = the packaged one, or the encoder a SakanaAI checkpoint names. Raises
    CheckpointError or EmbedderError.
    """
    if isinstance(network, SakanaHypernetwork):
        return CheckpointEmbedder(network.config, path, device)
    embedder = open_embedder(path, threads)
    wanted = network.config.embedder_digest
    if embedder.digest != wanted:
        raise CheckpointError(
            f"the checkpoint was trained with another embedder ({wanted[:16]}...) than the one at hand "
            f"({embedder.digest[:16]}...)"
        )
    return embedder
