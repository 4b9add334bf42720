from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from scansmith.game import Game, Player, Scene, Terms
from scansmith.scan import Batch, RunError, SettingsError
from scansmith.settings import Augmentation, TrainSettings
from scansmith.train import checkpoint
from scansmith.train.loop import fit
from scansmith.train.monitor import read_rows


class Scale(nn.Module):
    """One weight."""

    def __init__(self, start: float):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(start))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x


class Slope(Game):
    """One player descends `slope * weight`: its gradient is known."""

    def __init__(self, slope: float, rate: Any = None):
        super().__init__()
        self.net, self.slope, self.rate = Scale(1.0), slope, rate

    def play(self, batch: Mapping[str, Batch]) -> Scene:
        return {"made": self.net(torch.ones(1))}

    def players(self) -> list[Player]:
        return [Player("walker", (self.net,), self.loss, learning_rate=0.1, rate=self.rate)]

    def loss(self, scene: Scene) -> Terms:
        return {"way": self.slope * scene["made"].sum()}


class BothWays(Game):
    """Two generators, a player each, whose cycle runs through the other's network."""

    def __init__(self) -> None:
        super().__init__()
        self.there, self.back = Scale(2.0), Scale(3.0)

    def play(self, batch: Mapping[str, Batch]) -> Scene:
        return {"cycle": self.back(self.there(torch.ones(1)))}

    def players(self) -> list[Player]:
        return [
            Player("there", (self.there,), self.loss, learning_rate=0.1),
            Player("back", (self.back,), self.loss, learning_rate=0.1),
        ]

    def loss(self, scene: Scene) -> Terms:
        return {"cycle": scene["cycle"].sum()}


def settings(**changes: Any) -> TrainSettings:
    plain = {"steps": 2, "device": "cpu", "threads": 1, "sample_at": ()}
    return TrainSettings(**{**plain, **changes})


def nothing(step: int) -> dict[str, Batch]:
    return {}


def optimised(run: Path, step: int, name: str) -> float:
    return float(checkpoint.load(run, "step", step)[0][name])


def test_every_generator_runs_once_a_step(tiny: ModuleType, tmp_path: Path) -> None:
    game, runs = tiny.tiny_gan(), []
    game.generator.register_forward_hook(lambda *_: runs.append(game.generator.training))
    fit(game, tiny.batches, tmp_path, tiny.SETTINGS, record={})
    assert runs == [True] * 23


def test_a_turn_changes_the_players_own_networks_and_no_other(
    tiny: ModuleType, tmp_path: Path
) -> None:
    game = tiny.tiny_gan()
    seen: list[tuple[str, dict[str, Tensor]]] = []

    def watched(player: Player) -> Player:
        def loss(scene: Scene) -> Terms:
            seen.append((player.name, {k: v.clone() for k, v in game.state_dict().items()}))
            assert scene["made"].requires_grad is not player.critic
            return player.loss(scene)

        return Player(player.name, player.moves, loss, player.critic)

    players = [watched(player) for player in game.players()]
    game.players = lambda: players
    fit(game, tiny.batches, tmp_path, tiny.SETTINGS.model_copy(update={"steps": 3}), record={})
    for (name, before), (_, after) in pairwise(seen):
        changed = {k.split(".")[0] for k in before if not torch.equal(before[k], after[k])}
        # Between the generator's turn and the critic's next one lies a play, which moves the
        # generator's running statistics.
        assert changed == {name}


def test_batch_norm_of_a_frozen_critic_goes_by_the_batch(tiny: ModuleType, tmp_path: Path) -> None:
    game, outputs = tiny.tiny_gan(), []

    def keep(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        outputs.append(output.detach().mean(dim=(0, 2, 3)))

    game.critic[1].register_forward_hook(keep)
    fit(game, tiny.batches, tmp_path, tiny.SETTINGS.model_copy(update={"steps": 1}), record={})
    means = torch.stack(outputs[:3])  # critic on real, on fake; generator's turn
    # Its bias starts at 0 and is moved by at most the learning rate.
    assert torch.allclose(means, torch.zeros(3, 6), atol=3e-4)
    assert game.critic[1].track_running_stats
    assert not game.training
    assert all(parameter.requires_grad for parameter in game.parameters())


def test_generators_that_share_a_cycle_learn_from_one_play(tmp_path: Path) -> None:
    game = BothWays()
    fit(game, nothing, tmp_path, settings(steps=1), record={})
    # Adam's first moment is half of the gradient: of `there` the other's weight 3, of `back` 2.
    assert optimised(tmp_path, 1, "optimiser/there/0/exp_avg") == 1.5
    assert optimised(tmp_path, 1, "optimiser/back/0/exp_avg") == 1.0


def test_gradients_are_clipped_for_each_player(tmp_path: Path) -> None:
    fit(Slope(3.0), nothing, tmp_path / "free", settings(steps=1), record={})
    fit(Slope(3.0), nothing, tmp_path / "clipped", settings(steps=1, clip_norm=1.0), record={})
    assert optimised(tmp_path / "free", 1, "optimiser/walker/0/exp_avg") == 1.5
    clipped = optimised(tmp_path / "clipped", 1, "optimiser/walker/0/exp_avg")
    assert clipped == pytest.approx(0.5, rel=1e-5)


def test_the_learning_rate_follows_the_players_rate(tmp_path: Path) -> None:
    game = Slope(1.0, rate=lambda step: {1: 1.0, 2: 0.5, 3: 0.0}[step])
    fit(game, nothing, tmp_path, settings(steps=3), record={})
    # With a constant gradient Adam goes by exactly the learning rate: 0.1, then 0.05, then 0.
    assert float(game.net.weight.detach()) == pytest.approx(1 - 0.1 - 0.05, abs=1e-6)


def test_averaged_weights_follow_by_hand(tmp_path: Path) -> None:
    game, shown = Slope(1.0), []
    fit(
        game,
        nothing,
        tmp_path,
        settings(steps=2, ema=0.2, validate_every=2),
        record={},
        validate=lambda g: {"weight": shown.append(float(g.net.weight.detach())) or shown[-1]},
    )
    # Weights 1.0, 0.9, 0.8. Decay at step 1: min(0.2, 2/11); at step 2: min(0.2, 3/12) = 0.2.
    first = 1.0 * 2 / 11 + 0.9 * 9 / 11
    assert shown == [pytest.approx(first * 0.2 + 0.8 * 0.8, abs=1e-6)]
    assert float(game.net.weight.detach()) == pytest.approx(0.8, abs=1e-6)
    averaged = checkpoint.load_weights(tmp_path, ema=True)["net.weight"]
    assert float(averaged) == pytest.approx(shown[0])


def test_the_statistics_of_a_batch_norm_are_averaged_with_its_weights(tmp_path: Path) -> None:
    class Normed(Slope):
        def __init__(self) -> None:
            super().__init__(0.0)
            self.net = nn.BatchNorm1d(1)

        def play(self, batch: Mapping[str, Batch]) -> Scene:
            return {"made": self.net(torch.tensor([[1.0], [3.0]]))}

    game = Normed()
    fit(game, nothing, tmp_path, settings(steps=2, ema=0.2), record={})
    # Of 1 and 3 the mean is 2 and the unbiased variance 2. A tenth of them goes into the running
    # ones: 0, .2, .38 and 1, 1.1, 1.19. Their averages go by 2/11 and by .2, as weights do.
    mean = (0.2 * 9 / 11) * 0.2 + 0.38 * 0.8
    variance = (1.0 * 2 / 11 + 1.1 * 9 / 11) * 0.2 + 1.19 * 0.8
    averaged = checkpoint.load_weights(tmp_path, ema=True)
    assert float(averaged["net.running_mean"]) == pytest.approx(mean, abs=1e-6)
    assert float(averaged["net.running_var"]) == pytest.approx(variance, abs=1e-6)
    assert float(checkpoint.load_weights(tmp_path)["net.running_mean"]) == pytest.approx(0.38)
    assert float(game.net.running_mean) == pytest.approx(0.38)


def test_the_best_is_the_lowest_first_metric(tmp_path: Path) -> None:
    values = iter([3.0, 1.0, float("nan"), 2.0])
    fit(
        Slope(1.0),
        nothing,
        tmp_path,
        settings(steps=4, validate_every=1),
        record={},
        validate=lambda game: {"error": next(values), "other": 0.0},
    )
    assert checkpoint.steps(tmp_path, "best") == [2]
    best = checkpoint.load_weights(tmp_path, "best")["net.weight"]
    assert float(best) == pytest.approx(0.8, abs=1e-6)
    rows = [row["validation"] for row in read_rows(tmp_path / "log.jsonl") if "validation" in row]
    assert [row["error"] for row in rows] == [3.0, 1.0, None, 2.0]


@pytest.mark.parametrize("step", [1, 6])
def test_a_term_that_is_not_finite_is_named_and_the_last_state_stays(
    tiny: ModuleType, tmp_path: Path, step: int
) -> None:
    def poisoned(now: int) -> Any:
        batch = tiny.batches(now)
        if now == step:
            batch["real"].image[0, 0, 3, 3] = float("nan")
        return batch

    words = rf"player critic, term real is nan at step {step}, expected a finite number\."
    with pytest.raises(RunError, match=words):
        tiny.train(tmp_path, batches=poisoned)
    assert checkpoint.steps(tmp_path)[-1] == 4 * (step // 4)
    weights = checkpoint.load_weights(tmp_path)
    assert all(bool(tensor.isfinite().all()) for tensor in weights.values())
    tiny.train(tmp_path, resume=True)


def test_weights_that_are_not_finite_never_reach_a_checkpoint(tmp_path: Path) -> None:
    class Leap(Slope):
        def loss(self, scene: Scene) -> Terms:  # sqrt(0): finite, its slope is not
            return {"leap": torch.sqrt(scene["made"] * 0).sum()}

    with pytest.raises(RunError, match="weights of player walker are not finite at step 1"):
        fit(Leap(1.0), nothing, tmp_path, settings(steps=1), record={})
    assert checkpoint.steps(tmp_path) == [0]


def test_watching_and_pictures_do_not_change_what_is_learned(
    tiny: ModuleType, tmp_path: Path
) -> None:
    def panels(game: Game) -> dict[str, Tensor]:
        torch.randn(17)  # takes from the chance of the process
        return {"made": game.play(tiny.batches(3))["made"]}

    more = {"sample_every": 3, "log_every": 1}
    plain = tiny.train(tmp_path / "plain", batches=tiny.batches, validate=None)
    looked = tiny.train(
        tmp_path / "looked", tiny.SETTINGS.model_copy(update=more), record={}, panels=panels
    )
    for name, tensor in plain.state_dict().items():
        assert torch.equal(tensor, looked.state_dict()[name]), name
    names = sorted(path.name for path in (tmp_path / "looked" / "samples").iterdir())
    assert names[:2] == ["step_000003.png", "step_000006.png"]
    assert names[-1] == "step_000023.png"


class Watcher(Game):
    """A game that remembers what it was given to play."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Linear(1, 1)
        self.seen: list[Batch] = []

    def play(self, batch: Mapping[str, Batch]) -> Scene:
        self.seen.append(batch["labelled"])
        return {"out": self.network(torch.ones(1, 1))}

    def players(self) -> list[Player]:
        return [Player("only", (self.network,), lambda scene: {"out": scene["out"].sum()})]


def test_samples_are_augmented_with_their_labels_if_asked(tmp_path: Path) -> None:
    labels = torch.arange(6).view(1, 2, 3).repeat(4, 1, 1)
    drawn = {"labelled": Batch(labels[:, None].float(), labels, ("a", "b", "c", "d"))}
    mirror = Augmentation(moved=0, flips=(1,), gain=0, offset=0, noise=0)
    for name, asked in (("not", {}), ("mirrored", {"augment": mirror})):
        game = Watcher()
        fit(game, lambda step: drawn, tmp_path / name, settings(steps=5, **asked), record={})
        seen = torch.cat([samples.labels for samples in game.seen])
        image = torch.cat([samples.image for samples in game.seen])
        torch.testing.assert_close(image[:, 0], seen.float(), atol=1e-5, rtol=0)
        assert all(samples.cases == ("a", "b", "c", "d") for samples in game.seen)
        # Rows 0 1 2 and 3 4 5: the mirror image along the last axis begins with 2.
        assert set(seen[:, 0, 0].tolist()) == ({0, 2} if asked else {0})


def test_a_turn_in_training_keeps_shapes_on_uneven_spacing(tmp_path: Path) -> None:
    """A disk of 24 mm, 24 rows and 8 columns of 3 mm, is one however it is turned."""
    rows, columns = torch.meshgrid(torch.arange(-20, 21), torch.arange(-7, 8), indexing="ij")
    disk = (rows**2 + (3 * columns) ** 2 <= 12**2).long().repeat(4, 1, 1)
    drawn = {"labelled": Batch(disk[:, None].float(), disk, ("a", "b", "c", "d"))}
    turn = Augmentation(moved=1, degrees=90, scale=0, shift=0, bend=0, gain=0, offset=0, noise=0)
    heights = {}
    for name, spacing in (("told", (1.0, 3.0)), ("not told", ())):
        game = Watcher()
        with_turns = settings(steps=5, augment=turn)
        fit(game, lambda _: drawn, tmp_path / name, with_turns, record={}, spacing_mm=spacing)
        seen = torch.cat([samples.labels for samples in game.seen])
        heights[name] = seen.any(dim=2).sum(dim=1)
    assert heights["told"].min() >= 20  # half a column of 3 mm on either side
    assert heights["told"].max() <= 28
    assert heights["not told"].min() < 18


def test_the_seed_decides(tiny: ModuleType, tmp_path: Path) -> None:
    short = tiny.SETTINGS.model_copy(update={"steps": 2})
    other = short.model_copy(update={"seed": 6})
    games = [
        tiny.train(tmp_path / name, s) for name, s in zip("abc", (short, short, other), strict=True)
    ]
    a, b, c = (game.generator[0].weight for game in games)
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_training_leaves_the_process_as_it_was(tmp_path: Path) -> None:
    torch.manual_seed(3)
    expected = torch.randn(4)
    torch.manual_seed(3)
    threads = torch.get_num_threads()
    fit(Slope(1.0), nothing, tmp_path, settings(threads=threads + 1), record={})
    assert torch.equal(torch.randn(4), expected)
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


def test_bf16_trains_with_full_weights_and_losses(tiny: ModuleType, tmp_path: Path) -> None:
    half = tiny.SETTINGS.model_copy(update={"precision": "bf16", "steps": 4})
    game = tiny.train(tmp_path, half)
    assert {parameter.dtype for parameter in game.parameters()} == {torch.float32}
    tensors, _ = checkpoint.load(tmp_path, "step", 4)
    assert tensors["pool/0/0/0"].dtype == torch.float32
    assert len(read_rows(tmp_path / "log.jsonl")) > 2


@pytest.mark.usefixtures("with_curves")
def test_a_run_folder_holds_what_was_promised(tiny: ModuleType, tmp_path: Path) -> None:
    changes = {"steps": 3, "sample_at": (1,), "sample_every": 2}
    tiny.train(
        tmp_path,
        tiny.SETTINGS.model_copy(update=changes),
        panels=lambda game: {"labels": tiny.batches(0)["real"].labels},
    )
    found = {path.name for path in tmp_path.iterdir()}
    wanted = {"run.json", "log.jsonl", "checkpoints", "samples", "curves.png", "tensorboard"}
    assert found == wanted | {".lock"}
    pictures = sorted(path.name for path in (tmp_path / "samples").iterdir())
    assert pictures == ["step_000001.png", "step_000002.png", "step_000003.png"]
    row = read_rows(tmp_path / "log.jsonl")[0]
    assert row["critic"] == pytest.approx(row["critic.real"] + row["critic.fake"])
    assert row["running"]["critic"] == pytest.approx(row["critic"])
    assert 0.0 <= row["watch"]["accuracy"] <= 1.0


def test_progress_is_told_after_each_step(tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    fit(
        Slope(1.0),
        nothing,
        tmp_path,
        settings(steps=3, log_every=1),
        record={},
        progress=lambda *words: told.append(words),
    )
    assert [words[:2] for words in told] == [(1, 3), (2, 3), (3, 3)]
    assert told[0][2] == "walker 1"


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "cuda:x"])
def test_a_device_that_is_not_there_is_refused(tmp_path: Path, device: str) -> None:
    with pytest.raises(SettingsError, match=r"train\.device: found '" + device):
        fit(Slope(1.0), nothing, tmp_path / "run", settings(device=device), record={})
    assert not (tmp_path / "run").exists()


def test_two_players_cannot_move_one_network(tmp_path: Path) -> None:
    game = BothWays()
    game.back = game.there
    with pytest.raises(ValueError, match="players there and back move the same network"):
        fit(game, nothing, tmp_path, settings(), record={})
