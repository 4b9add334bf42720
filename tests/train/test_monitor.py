from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scansmith.scan import RunError
from scansmith.train.monitor import Log, draw_curves, read_rows


def row(step: int, fool: float, adv: float) -> dict[str, object]:
    running = {"critic.fool": fool / 2, "critic": fool / 2, "maker.adv": adv, "maker": adv}
    losses = {"critic.fool": fool, "critic": fool, "maker.adv": adv, "maker": adv}
    return {"step": step, "seconds": 0.5 * step, **losses, "running": running, "watch": {}}


def test_rows_of_steps_that_will_be_done_again_are_forgotten(tmp_path: Path) -> None:
    with Log(tmp_path, 0) as log:
        for step in (1, 2, 3):
            log.write(row(step, 1.0, 2.0))
    with open(tmp_path / "log.jsonl", "a") as file:
        file.write('{"step": 4, "sec')
    assert [r["step"] for r in read_rows(tmp_path / "log.jsonl")] == [1, 2, 3]
    with Log(tmp_path, 2) as log:
        log.write(row(3, 5.0, 6.0))
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(r["step"], r["critic"]) for r in rows] == [(1, 1.0), (2, 1.0), (3, 5.0)]


def test_values_that_are_not_finite_become_null(tmp_path: Path) -> None:
    with Log(tmp_path, 0) as log:
        log.write({"step": 1, "validation": {"mae": float("inf")}})
    assert json.loads((tmp_path / "log.jsonl").read_text())["validation"] == {"mae": None}


def test_tensorboard_reads_what_was_logged(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with Log(tmp_path, 0) as log:
        log.write(row(1, 1.0, 2.0))
        log.write({"step": 2, "validation": {"mae": 0.25}})
        log.write(row(3, 9.0, 9.0))
    with Log(tmp_path, 2) as log:
        log.write(row(3, 4.0, 5.0))
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    fool = [(e.step, e.value) for e in events.Scalars("losses/critic/fool")]
    assert fool == [(1, 1.0), (3, 4.0)]  # the row that was done again is gone
    assert events.Scalars("validation/mae")[0].value == 0.25


def test_curves_have_a_panel_for_each_player(tmp_path: Path) -> None:
    with Log(tmp_path, 0) as log:
        for step in range(1, 50):
            log.write(row(step, 100.0 / step, 1.0 - step))
        log.note(50, "a sentence")
    path = draw_curves(tmp_path)
    picture = np.asarray(Image.open(path).convert("RGB"))
    assert picture.shape[0] > 1.8 * 300
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20


@pytest.mark.parametrize(
    "rows", ["", '{"step": 1, "running": 3}\n', '{"step": 1, "running": {"a.b": null}}\n']
)
def test_curves_of_a_log_without_losses_are_empty(tmp_path: Path, rows: str) -> None:
    (tmp_path / "log.jsonl").write_text(rows)
    assert draw_curves(tmp_path).exists()


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="could not be written"):
        Log(tmp_path / "file", 0)
