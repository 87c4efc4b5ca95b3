"""Packing an adapter for somebody to take away."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.responses import FileResponse
from starlette.types import Receive, Scope, Send

if TYPE_CHECKING:
    from adapters.store import StoredAdapter

PEFT_FILES = ("adapter_config.json", "adapter_model.safetensors")


class TemporaryFile(FileResponse):
    """A file that is deleted afterwards, however the answer ends: sent, refused for its range, cancelled."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            Path(self.path).unlink(missing_ok=True)


def zip_peft(stored: StoredAdapter) -> Path:
    """A zip of the PEFT files and the card, under a temporary name; whoever asked deletes it.

    The card is the asker's: the folder's may tell another tenant's hint that led to the same weights.
    """
    folder = stored.folder
    with tempfile.NamedTemporaryFile(suffix=".zip", delete=False) as file:
        try:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as packed:  # float16 noise does not compress
                for name in PEFT_FILES:
                    packed.write(folder / name, f"{folder.name}/{name}")
                packed.writestr(f"{folder.name}/card.json", stored.card.to_text())
        except BaseException:
            Path(file.name).unlink()
            raise
        return Path(file.name)
