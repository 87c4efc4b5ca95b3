"""Packing an adapter for somebody to take away."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path

PEFT_FILES = ("adapter_config.json", "adapter_model.safetensors", "card.json")


def zip_peft(folder: Path) -> Path:
    """A zip of the PEFT files and the card, under a temporary name; whoever asked deletes it."""
    with tempfile.NamedTemporaryFile(suffix=".zip", delete=False) as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as packed:  # float16 noise does not compress
            for name in PEFT_FILES:
                packed.write(folder / name, f"{folder.name}/{name}")
        return Path(file.name)
