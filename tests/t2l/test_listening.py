"""t2l/listening.py: what is followed, and what a checkpoint's file holds."""

import pytest
import torch

from t2l.hypernetwork import CheckpointError
from t2l.listening import FILE_NAME, Classifier, Listening, followed, load_listening, save_listening


def test_a_text_is_followed_from_one_logit_on_and_wholly_from_another():
    logits = torch.tensor([-3.0, 1.0, 1.5, 2.0, 9.0])
    torch.testing.assert_close(followed(logits, 1.0, 2.0), torch.tensor([0, 0, 0.5, 1, 1]))


def test_what_is_saved_is_loaded(tmp_path):
    torch.manual_seed(0)
    saved = Listening(Classifier(6), 0.25, 0.75, {"examples": 3})
    save_listening(saved, tmp_path)
    loaded = load_listening(tmp_path, 6)
    vectors = torch.randn(20, 6) * 5
    assert 0 < saved.shares(vectors).sum() < 20
    torch.testing.assert_close(loaded.shares(vectors), saved.shares(vectors))
    assert (loaded.low, loaded.high, loaded.training) == (0.25, 0.75, {"examples": 3})
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_a_checkpoint_without_the_file_has_none(tmp_path):
    assert load_listening(tmp_path, 6) is None


def test_files_that_do_not_fit_are_refused_by_name(tmp_path):
    save_listening(Listening(Classifier(6), 0.0, 1.0), tmp_path)
    with pytest.raises(CheckpointError, match=r"listening\.safetensors is no listening for embeddings of 5"):
        load_listening(tmp_path, 5)
    (tmp_path / FILE_NAME).write_bytes(b"no tensors")
    with pytest.raises(CheckpointError, match=r"listening\.safetensors"):
        load_listening(tmp_path, 6)


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (2.0, 1.0), (float("nan"), 1.0)])
def test_a_range_that_does_not_rise_is_refused(low, high):
    with pytest.raises(ValueError, match="rising range"):
        Listening(Classifier(6), low, high)
