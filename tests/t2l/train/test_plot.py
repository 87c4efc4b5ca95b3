"""The picture of a run's log, and a machine that cannot draw."""

import json
import sys

from t2l.train.plot import plot_log

LOG = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0, "dev": {"unseen_pair": {"own": {"loss": 1.5}}}}]


def test_the_log_is_drawn_where_matplotlib_is_and_told_missing_where_not(tmp_path, monkeypatch, capsys):
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in LOG))
    plot_log(tmp_path / "log.jsonl", tmp_path / "new" / "loss.png")
    assert (tmp_path / "new" / "loss.png").read_bytes().startswith(b"\x89PNG")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    plot_log(tmp_path / "log.jsonl", tmp_path / "other.png")
    assert not (tmp_path / "other.png").exists()
    assert "`make dev` installs matplotlib" in capsys.readouterr().err
