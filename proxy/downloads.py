"""Packing an adapter for somebody to take away."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path

from starlette.responses import FileResponse
from starlette.types import Receive, Scope, Send

PEFT_FILES = ("adapter_config.json", "adapter_model.safetensors", "card.json")


class TemporaryFile(FileResponse):
    """A file that is deleted afterwards, however the answer ends: sent, refused for its range, cancelled."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            Path(self.path).unlink(missing_ok=True)


def zip_peft(folder: Path) -> Path:
    """A zip of the PEFT files and the card, under a temporary name; whoever asked deletes it."""
    with tempfile.NamedTemporaryFile(suffix=".zip", delete=False) as file:
        try:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as packed:  # float16 noise does not compress
                for name in PEFT_FILES:
                    packed.write(folder / name, f"{folder.name}/{name}")
        except BaseException:
            Path(file.name).unlink()
            raise
        return Path(file.name)
