"""A run that was killed and resumed is, to the bit, one that was never interrupted."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from scansmith.game import Game, Player, Scene, Terms
from scansmith.scan import RunError
from scansmith.settings import TrainSettings
from scansmith.train import checkpoint
from scansmith.train.loop import fit
from scansmith.train.monitor import read_rows

SCRIPT = Path(__file__).parent / "tiny_run.py"
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")


def outcome(run: Path) -> dict[str, Any]:
    """All that a training comes to, without times and without this process's numbers."""
    found: dict[str, Any] = {}
    for path in sorted((run / "checkpoints").iterdir()):
        if path.suffix == ".json":
            found[path.name] = json.loads(path.read_text())
            del found[path.name]["seconds"]
        else:
            found[path.name] = path.read_bytes()
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    found["log"] = [{k: v for k, v in row.items() if k != "seconds"} for row in rows]
    found["run"] = json.loads((run / "run.json").read_text())
    found["left over"] = [str(path) for path in run.rglob("*.tmp")]
    return found


@pytest.fixture(scope="session")
def whole(tiny: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    run = tmp_path_factory.mktemp("whole") / "run"
    tiny.train(run)
    return outcome(run)


def test_the_reference_holds_everything_that_a_resume_could_lose(whole: dict[str, Any]) -> None:
    steps = [name for name in whole if name.startswith("step_")]
    assert sorted(steps)[::2] == ["step_00000020.json", "step_00000023.json"]
    last = whole["step_00000023.json"]
    assert last["pools"] == [3]
    assert last["best"] is not None
    assert last["running"]["generator.l1"][1] == pytest.approx((1 - 0.99**23) / 0.01)
    assert whole["left over"] == []


@needs_fork
def test_a_run_killed_at_any_moment_ends_as_if_it_had_not_been(
    tiny: ModuleType, whole: dict[str, Any], tmp_path: Path
) -> None:
    words = [sys.executable, str(SCRIPT), str(tmp_path), *tiny.MOMENTS]
    told = subprocess.run(words, capture_output=True, text=True, check=True)
    assert told.stdout.splitlines() == [f"{moment} -9" for moment in tiny.MOMENTS]
    for moment in tiny.MOMENTS:
        run = tmp_path / moment.replace(" ", "_")
        tiny.train(run, resume=True)
        assert outcome(run) == whole, moment


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 here")
def test_a_run_killed_from_outside_ends_as_if_it_had_not_been(
    tiny: ModuleType, whole: dict[str, Any], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    process = subprocess.Popen([sys.executable, str(SCRIPT), str(run), "--slow"])
    while len(read_rows(run / "log.jsonl")) < 6 and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -9
    assert 0 < checkpoint.steps(run)[-1] < 23
    tiny.train(run, resume=True)
    assert outcome(run) == whole


@pytest.mark.usefixtures("heeded_signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_finishes_the_step_saves_it_and_says_how_to_go_on(
    tiny: ModuleType, whole: dict[str, Any], tmp_path: Path, number: int
) -> None:
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]

    def interrupted(step: int) -> Any:
        if step == 10:
            os.kill(os.getpid(), number)
        return tiny.batches(step)

    with pytest.raises(KeyboardInterrupt, match=r"stopped after step 10 of 23.*resume"):
        tiny.train(tmp_path, batches=interrupted)
    assert checkpoint.steps(tmp_path) == [8, 10]
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before
    tiny.train(tmp_path, resume=True)
    assert outcome(tmp_path) == whole


def test_resuming_in_an_empty_folder_starts_from_nothing(
    tiny: ModuleType, whole: dict[str, Any], tmp_path: Path
) -> None:
    tiny.train(tmp_path / "new", resume=True)
    assert outcome(tmp_path / "new") == whole


def test_a_run_that_is_done_can_be_given_more_steps(tiny: ModuleType, tmp_path: Path) -> None:
    short = tiny.SETTINGS.model_copy(update={"steps": 8})
    long = tiny.SETTINGS.model_copy(update={"steps": 12})
    tiny.train(tmp_path / "a", short)
    tiny.train(tmp_path / "a", long, resume=True)
    tiny.train(tmp_path / "b", long)
    a, b = (checkpoint.load(tmp_path / name, "step", 12)[0] for name in "ab")
    assert all(torch.equal(a[name], b[name]) for name in b)
    assert json.loads((tmp_path / "a" / "run.json").read_text())["settings"]["train"]["steps"] == 12
    with pytest.raises(RunError, match=r"trained for 12 steps, found train\.steps=8"):
        tiny.train(tmp_path / "a", short, resume=True)


def test_a_folder_with_a_run_is_refused_without_resume_and_left_alone(
    tiny: ModuleType, tmp_path: Path
) -> None:
    short = tiny.SETTINGS.model_copy(update={"steps": 2})
    tiny.train(tmp_path, short)
    before = outcome(tmp_path)
    with pytest.raises(RunError, match=r"already holds a run \(found run\.json.*resume"):
        tiny.train(tmp_path, short)
    assert outcome(tmp_path) == before


def test_a_folder_of_another_method_setting_or_data_set_is_refused_by_name(
    tiny: ModuleType, tmp_path: Path
) -> None:
    short = tiny.SETTINGS.model_copy(update={"steps": 2})
    record = {
        "method": "magan",
        "facts": {"fingerprint": "aaa"},
        "settings": {"train": {"steps": 2, "seed": 0}},
        "versions": {"torch": "2.12"},
        "store": "/old/place",
    }
    tiny.train(tmp_path, short, record=record)
    other = {**record, "method": "mm-gan", "facts": {"fingerprint": "bbb"}, "note": 1}
    other["settings"] = {"train": {"steps": 2, "seed": 1}}
    with pytest.raises(RunError) as caught:
        tiny.train(tmp_path, short, record=other, resume=True)
    for words in (
        'method was "magan" and is now "mm-gan"',
        'facts.fingerprint was "aaa" and is now "bbb"',
        "settings.train.seed was 0 and is now 1",
        "note was absent and is now 1",
    ):
        assert words in str(caught.value)
    moved = {**record, "versions": {"torch": "2.13"}, "store": "/new/place"}
    tiny.train(tmp_path, short, record=moved, resume=True)


def test_resuming_with_other_threads_is_said_in_the_log(tiny: ModuleType, tmp_path: Path) -> None:
    tiny.train(tmp_path, tiny.SETTINGS.model_copy(update={"steps": 4}))
    wider = tiny.SETTINGS.model_copy(update={"steps": 6, "threads": 2})
    tiny.train(tmp_path, wider, resume=True)
    notes = [row for row in read_rows(tmp_path / "log.jsonl") if "note" in row]
    assert [row["step"] for row in notes] == [4]
    assert "2 threads after 1" in notes[0]["note"]


def test_two_processes_cannot_train_in_one_folder(tiny: ModuleType, tmp_path: Path) -> None:
    def greedy(step: int) -> Any:
        with pytest.raises(RunError, match="another process trains here"):
            tiny.train(tmp_path, resume=True)
        return tiny.batches(step)

    tiny.train(tmp_path, tiny.SETTINGS.model_copy(update={"steps": 1}), batches=greedy)


class Walker(Game):
    """One weight that descends at a rate that falls over the second half of all steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.net, self.steps = nn.Linear(1, 1, bias=False), steps
        nn.init.ones_(self.net.weight)

    def play(self, batch: Any) -> Scene:
        return {"made": self.net(torch.ones(1, 1))}

    def players(self) -> list[Player]:
        return [Player("walker", (self.net,), self.loss, learning_rate=0.01, rate=self.rate)]

    def rate(self, step: int) -> float:
        return min(1.0, 2 * (self.steps + 1 - step) / self.steps)

    def loss(self, scene: Scene) -> Terms:
        return {"way": scene["made"].sum()}


def walk(run: Path, steps: int, stop: int = 0, resume: bool = False, **options: Any) -> float:
    """Where a walker comes to; it is stopped after step `stop`, as by a kill."""
    settings = TrainSettings(
        steps=steps, checkpoint_every=4, device="cpu", threads=1, sample_at=(), **options
    )
    game = Walker(steps)

    def batches(step: int) -> dict[str, Any]:
        if stop and step > stop:
            raise Stopped
        return {}

    record = {"settings": {"train": settings.model_dump()}}
    with contextlib.suppress(Stopped):
        fit(game, batches, run, settings, record=record, resume=resume)
    return float(game.net.weight.detach())


class Stopped(Exception):
    pass


def test_other_steps_are_refused_once_a_rate_has_fallen_over_those_there_were(
    tmp_path: Path,
) -> None:
    walk(tmp_path / "a", 8)
    before = outcome(tmp_path / "a")
    words = r"begun for 8 steps, found train\.steps=16, .* of walker follows .* train\.steps=8"
    with pytest.raises(RunError, match=words):
        walk(tmp_path / "a", 16, resume=True)
    assert outcome(tmp_path / "a") == before


def test_more_steps_are_welcome_while_no_rate_has_fallen(tmp_path: Path) -> None:
    walk(tmp_path / "a", 8, stop=4)
    # 16 steps: 1 up to step 9, as for 4 of 8, then 7, 6, ... 1 eighths; Adam goes by the rate.
    found = walk(tmp_path / "a", 16, resume=True)
    assert found == pytest.approx(1 - 0.01 * (9 + 28 / 8), abs=1e-6)
    assert found == walk(tmp_path / "b", 16)


def test_a_checkpoint_that_does_not_tell_its_rates_goes_on_with_as_many_steps(
    tmp_path: Path,
) -> None:
    walk(tmp_path, 8, stop=4)
    for path in (tmp_path / "checkpoints").glob("step_*.json"):
        numbers = json.loads(path.read_text())
        assert numbers.pop("rates") == ({} if numbers["step"] == 0 else {"walker": 1.0})
        path.write_text(json.dumps(numbers))
    with pytest.raises(RunError, match=r"begun for 8 steps, found train\.steps=16"):
        walk(tmp_path, 16, resume=True)
    # 1 up to step 5, then 3, 2 and 1 quarters.
    assert walk(tmp_path, 8, resume=True) == pytest.approx(1 - 0.01 * (5 + 6 / 4), abs=1e-6)


def judged(run: Path, errors: list[float], resume: bool = False, kill: int = 0) -> None:
    """Twenty steps, validated at every second one, saved at every tenth, or killed after a step."""
    left = iter(errors)

    def progress(step: int, steps: int, line: str) -> None:
        if step == kill:
            raise Stopped

    settings = TrainSettings(
        steps=20, checkpoint_every=10, validate_every=2, device="cpu", threads=1, sample_at=()
    )
    with contextlib.suppress(Stopped):
        fit(
            Walker(20),
            lambda step: {},
            run,
            settings,
            record={},
            resume=resume,
            validate=lambda game: {"error": next(left)},
            progress=progress,
        )


def best_of(run: Path) -> tuple[list[int], float | None]:
    """The steps of the best checkpoints, and the error of the last's."""
    steps = checkpoint.steps(run, "best")
    if not steps:
        return steps, None
    best = checkpoint.load(run, "best", steps[-1], "none/")[1].best
    assert best is not None
    assert best.step == steps[-1]
    return steps, best.value


def test_the_best_of_steps_that_were_lost_is_forgotten(tmp_path: Path) -> None:
    judged(tmp_path, [0.9, 0.8, 0.7, 0.1], kill=8)
    assert best_of(tmp_path)[1] == 0.1
    judged(tmp_path, [0.9, 0.8, 0.5, *[0.6] * 7], resume=True)
    assert best_of(tmp_path) == ([6], 0.5)
    rows = [row for row in read_rows(tmp_path / "log.jsonl") if "validation" in row]
    assert min((row["validation"]["error"], row["step"]) for row in rows) == (0.5, 6)


def test_the_best_before_the_last_checkpoint_outlives_a_better_one_that_was_lost(
    tmp_path: Path,
) -> None:
    # Step 4 is the best of the checkpoint of step 10; step 12 is better and lost.
    judged(tmp_path, [0.9, 0.5, 0.6, 0.6, 0.6, 0.2], kill=13)
    assert best_of(tmp_path) == ([4, 12], 0.2)
    judged(tmp_path, [0.6] * 5, resume=True)
    assert best_of(tmp_path) == ([4], 0.5)


def test_where_the_best_is_gone_the_next_validation_is_the_best_there_is(tmp_path: Path) -> None:
    judged(tmp_path, [0.9, 0.5, 0.6, 0.6, 0.6], kill=11)
    for path in (tmp_path / "checkpoints").glob("best_*"):
        path.unlink()
    judged(tmp_path, [0.8, 0.7, 0.75, 0.9, 0.9], resume=True)
    assert best_of(tmp_path) == ([14], 0.7)
