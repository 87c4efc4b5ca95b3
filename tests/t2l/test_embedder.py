"""The embedder against sentence-transformers itself, and its own promises."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from t2l import embedder as embedder_module
from t2l.embedder import BATCH_WINDOWS, Embedder, EmbedderError, open_embedder, packaged_folder

TEXTS = [
    "Write a Python function that checks Goldbach's conjecture.",
    "编写一个 Python 函数来验证哥德巴赫猜想",
    "x",
    "Summarise the meeting notes; " * 12,
]


def test_vectors_equal_those_of_sentence_transformers(minilm: Embedder) -> None:
    from sentence_transformers import SentenceTransformer

    reference = SentenceTransformer(str(packaged_folder()), device="cpu")
    want = reference.encode(TEXTS, convert_to_tensor=True, normalize_embeddings=True).cpu()
    assert (minilm.embed(TEXTS) - want).abs().max() < 1e-5
    foreign = embedder_module._Foreign(packaged_folder())
    assert foreign.dim == minilm.dim
    theirs, ours = foreign.encode(TEXTS), minilm.read(TEXTS)
    assert torch.allclose(theirs.vectors, want, atol=1e-5)
    for states, expected in zip(ours.tokens, theirs.tokens, strict=True):
        assert torch.allclose(states, expected, atol=1e-4)


def test_vectors_are_the_means_of_the_tokens_read_in_order_windows_included(minilm: Embedder) -> None:
    reading = minilm.read([*TEXTS, "word " * 600])
    assert [len(states) for states in reading.tokens] == [minilm.count_tokens([t]) for t in (*TEXTS, "word " * 600)]
    for vector, states in zip(reading.vectors, reading.tokens, strict=True):
        assert torch.allclose(torch.nn.functional.normalize(states.mean(0), dim=0), vector, atol=1e-5)
    picked = reading.rows([3, 0])
    assert torch.equal(picked.vectors, reading.vectors[[3, 0]])
    assert torch.equal(picked.tokens[1], reading.tokens[0])


def test_vectors_have_unit_length_and_do_not_depend_on_their_batch(minilm: Embedder) -> None:
    vectors = minilm.embed(TEXTS)
    assert vectors.shape == (4, 384) and vectors.dtype == torch.float32
    assert torch.allclose(vectors.norm(dim=1), torch.ones(4), atol=1e-5)
    for row, text in enumerate(TEXTS):
        assert torch.allclose(minilm.embed([text])[0], vectors[row], atol=1e-5)


def test_no_text_gives_no_rows(minilm: Embedder) -> None:
    assert minilm.embed([]).shape == (0, 384)


def test_the_end_of_a_long_text_counts(minilm: Embedder) -> None:
    start = "The committee met and talked about the garden. " * 40
    plain, with_end = minilm.embed([start, start + "Write Rust code for a TCP server. " * 20])
    assert plain @ with_end < 0.98


def test_a_text_of_any_length_costs_a_bounded_number_of_windows(minilm: Embedder) -> None:
    long, longer = minilm.embed(["word " * 5000, "word " * 50_000])
    assert torch.allclose(long, longer, atol=1e-5)


def test_threads_may_embed_at_once_and_torch_keeps_its_thread_count(minilm: Embedder) -> None:
    before = torch.get_num_threads()
    alone = minilm.embed(TEXTS)
    with ThreadPoolExecutor(4) as pool:
        for vectors in pool.map(minilm.embed, [TEXTS] * 8):
            assert torch.equal(vectors, alone)
    assert torch.get_num_threads() == before


def test_the_digest_changes_with_any_file_that_changes_vectors(minilm: Embedder, tmp_path: Path) -> None:
    copy = tmp_path / "model"
    shutil.copytree(minilm.folder, copy)
    assert Embedder(copy).digest == minilm.digest
    config = copy / "sentence_bert_config.json"
    config.write_text(config.read_text().replace("256", "128"))
    assert Embedder(copy).digest != minilm.digest


def test_a_broken_folder_is_named(minilm: Embedder, tmp_path: Path) -> None:
    with pytest.raises(EmbedderError, match=r"modules\.json"):
        Embedder(tmp_path)
    copy = tmp_path / "model"
    shutil.copytree(minilm.folder, copy)
    (copy / "model.safetensors").write_bytes(b"not tensors")
    with pytest.raises(EmbedderError, match="model"):
        Embedder(copy)


def test_a_name_that_is_neither_folder_nor_on_the_hub_is_refused() -> None:
    with pytest.raises(EmbedderError, match="no such folder"):
        open_embedder("not a valid/hub/name")


def test_many_texts_go_in_batches_and_keep_their_places(minilm: Embedder, monkeypatch) -> None:
    texts = [f"text {n} " + "word " * (n % 7) * 60 for n in range(40)]
    sizes = []
    encode = minilm._encoder.encode
    monkeypatch.setattr(minilm._encoder, "encode", lambda some: sizes.append(len(some)) or encode(some))
    found = minilm.embed(texts)
    assert sum(sizes) == 40 and max(sizes) <= BATCH_WINDOWS and len(sizes) > 2
    torch.testing.assert_close(found[[0, 5, 39]], encode([texts[0], texts[5], texts[39]]).vectors, atol=1e-5, rtol=0)
