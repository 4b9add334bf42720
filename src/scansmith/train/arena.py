"""The arena that a game is played in: the players with their optimisers, pools and averages."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from scansmith.augment import augmented
from scansmith.game import Game, ImagePool, Player, Scene, Terms
from scansmith.scan import Batch, RunError
from scansmith.settings import TrainSettings
from scansmith.train.checkpoint import Progress, match

POOLS = 3


@dataclass(frozen=True)
class Side:
    """A player with what it moves."""

    player: Player
    parameters: tuple[nn.Parameter, ...]
    optimiser: torch.optim.Optimizer


class Arena:
    """A game in training: `step` moves it on, `tensors` and `restore` are its whole state."""

    def __init__(
        self,
        game: Game,
        settings: TrainSettings,
        device: torch.device,
        spacing_mm: Sequence[float] = (),
    ):
        self.game, self.settings, self.device = game.to(device), settings, device
        self.spacing_mm = spacing_mm
        self.players = game.players()
        self.sides = [self._side(player) for player in self.players]
        self.groups = list(game.pools)
        self.pools = [ImagePool(game.pools[group]) for group in self.groups]
        self.critics_scene: Scene = {}
        self._norms = {norm for player in self.players for norm in _norms_of(player)}
        self.averages = self._start_averages()
        _refuse_shared_networks(self.players)

    def step(self, step: int, batch: Mapping[str, Batch], where: str) -> dict[str, float]:
        """Play once, give each player its turn, and return the terms and each player's sum.

        Raises:
            RunError: a term is not finite.
        """
        placed = {name: self._drawn(samples) for name, samples in batch.items()}
        generators = [side.player for side in self.sides if not side.player.critic]
        self._stage([network for player in generators for network in player.moves])
        with self._autocast():
            scene = {name: _full(tensor) for name, tensor in self.game.play(placed).items()}
        self.critics_scene = self._through_pools(scene, step)
        values: dict[str, float] = {}
        waiting: list[Side] = []
        for side, follower in zip(self.sides, [*self.sides[1:], None], strict=True):
            others_follow = any(side.player is player for player in generators[:-1])
            terms = self._learn(side, scene, keep_graph=others_follow)
            waiting.append(side)
            if side.player.critic or follower is None or follower.player.critic:
                for ready in waiting:
                    self._move(ready, step)
                waiting.clear()
            values.update(_values(side.player, terms, step, where))
        self._average(step)
        return values

    def _drawn(self, samples: Batch) -> Batch:
        """What is learned from: on the device, moved and relit as the settings say."""
        placed = _placed(samples, self.device)
        image, labels = augmented(
            placed.image, placed.labels, self.settings.augment, self.spacing_mm
        )
        return Batch(image, labels, placed.cases, placed.samples)

    def _learn(self, side: Side, scene: Scene, keep_graph: bool) -> Terms:
        """Work out the gradients of a player's terms for what the player moves."""
        player = side.player
        self._stage(player.moves)
        with self._autocast():
            terms = player.loss(self.critics_scene if player.critic else scene)
        loss = torch.stack([term.float().reshape(()) for term in terms.values()]).sum()
        torch.autograd.backward(loss, inputs=list(side.parameters), retain_graph=keep_graph)
        return terms

    def _move(self, side: Side, step: int) -> None:
        """Move a player's networks by their gradients.

        Generators that follow one another move after the last of them has learned: their
        gradients may run through each other's networks, which have to be as they were played.
        """
        player = side.player
        if self.settings.clip_norm:
            nn.utils.clip_grad_norm_(side.parameters, self.settings.clip_norm)
        if player.rate is not None:
            for group in side.optimiser.param_groups:
                group["lr"] = player.learning_rate * player.rate(step)
        side.optimiser.step()
        for parameter in side.parameters:
            parameter.grad = None

    def watch(self) -> dict[str, float]:
        """What the game wants logged of the last scene."""
        self._stage([])
        with torch.no_grad(), self._autocast():
            return {name: float(v) for name, v in self.game.watch(self.critics_scene).items()}

    @contextmanager
    def showing(self) -> Iterator[Game]:
        """The game in evaluation mode, without gradients, with averaged weights if it has any."""
        state = self.game.state_dict()
        kept = {name: state[name].clone() for name in self.averages}
        self.rest()
        try:
            with torch.no_grad(), self._autocast():
                for name, average in self.averages.items():
                    state[name].copy_(average)
                yield self.game
        finally:
            with torch.no_grad():
                for name, tensor in kept.items():
                    state[name].copy_(tensor)

    def tensors(self, only_weights: bool = False) -> dict[str, Tensor]:
        """The state by the names of checkpoint.py; tensors are those in use, not copies."""
        named = {f"weights/{name}": t for name, t in self.game.state_dict().items()}
        named |= {f"average/{name}": t for name, t in self.averages.items()}
        if only_weights:
            return named
        for side in self.sides:
            for number, parameter in enumerate(side.parameters):
                for what, tensor in side.optimiser.state.get(parameter, {}).items():
                    named[f"optimiser/{side.player.name}/{number}/{what}"] = tensor
        for number, pool in enumerate(self.pools):
            for slot, sample in enumerate(pool.slots):
                for part, tensor in enumerate(sample):
                    named[f"pool/{number}/{slot}/{part}"] = tensor
        return named

    def progress(self, progress: Progress) -> Progress:
        """With the number of samples in each pool, and the rates of the step."""
        step = progress.step
        rates = {p.name: float(p.rate(step)) for p in self.players if p.rate is not None and step}
        pools = tuple(len(pool.slots) for pool in self.pools)
        return progress.model_copy(update={"pools": pools, "rates": rates})

    def restore(self, tensors: Mapping[str, Tensor], progress: Progress, where: str) -> None:
        """Take over the state of a checkpoint.

        Raises:
            RunError: it is of another game.
        """
        weights = self.tensors(only_weights=True)
        match(tensors, {**weights, **self._wanted(tensors, progress, where)}, where)
        with torch.no_grad():
            for name, tensor in weights.items():
                tensor.copy_(tensors[name])
        for side in self.sides:
            prefix = f"optimiser/{side.player.name}/"
            state: dict[int, dict[str, Tensor]] = {}
            for name in filter(lambda name: name.startswith(prefix), tensors):
                number, what = name.removeprefix(prefix).split("/")
                state.setdefault(int(number), {})[what] = tensors[name]
            groups = side.optimiser.state_dict()["param_groups"]
            side.optimiser.load_state_dict({"state": state, "param_groups": groups})
        for place, pool in enumerate(self.pools):
            pool.slots = [
                tuple(
                    tensors[f"pool/{place}/{slot}/{part}"].to(self.device)
                    for part in range(len(self.groups[place]))
                )
                for slot in range(progress.pools[place])
            ]

    def _wanted(
        self, tensors: Mapping[str, Tensor], progress: Progress, where: str
    ) -> dict[str, Tensor]:
        """Names and shapes of the optimisers' and the pools' tensors that are to be there.

        A parameter that no loss has reached yet has no optimiser state.
        """
        wanted: dict[str, Tensor] = {}
        for side in self.sides:
            for number, parameter in enumerate(side.parameters):
                name = f"optimiser/{side.player.name}/{number}"
                if f"{name}/step" in tensors:
                    wanted[f"{name}/step"] = torch.zeros(())
                    wanted[f"{name}/exp_avg"] = wanted[f"{name}/exp_avg_sq"] = parameter
        sizes = [pool.size for pool in self.pools]
        if len(progress.pools) != len(sizes) or any(
            not 0 <= n <= size for n, size in zip(progress.pools, sizes, strict=True)
        ):
            raise RunError(
                f"{where}: found image pools with {list(progress.pools)} samples, expected at most "
                f"{sizes}. Use the settings that the run was trained with."
            )
        for place, group in enumerate(self.groups):
            for part in range(len(group)):
                first = tensors.get(f"pool/{place}/0/{part}", torch.zeros(()))
                for slot in range(progress.pools[place]):
                    wanted[f"pool/{place}/{slot}/{part}"] = first
        return wanted

    def rest(self) -> None:
        """Leave the game as a finished one: in evaluation mode, nothing frozen."""
        self.game.eval()
        self.game.requires_grad_(True)
        for module in self._norms:
            module.track_running_stats = True

    def refuse_broken_weights(self, step: int, where: str) -> None:
        """Keep weights that are not finite out of checkpoints.

        Raises:
            RunError: naming the player.
        """
        for side in self.sides:
            sums = torch.stack([p.detach().float().sum() for p in side.parameters])
            if not bool(torch.isfinite(sums).all()):
                raise RunError(
                    f"{where}: the weights of player {side.player.name} are not finite at step "
                    f"{step}. Lower its learning rate or set train.clip_norm, and resume from the "
                    "last checkpoint, which is whole."
                )

    def _side(self, player: Player) -> Side:
        parameters = tuple(dict.fromkeys(p for n in player.moves for p in n.parameters()))
        rate, betas = player.learning_rate, player.betas
        try:
            optimiser = torch.optim.Adam(parameters, rate, betas, fused=True)
        except RuntimeError:  # the device has no fused form
            optimiser = torch.optim.Adam(parameters, rate, betas)
        return Side(player, parameters, optimiser)

    def _stage(self, networks: Sequence[nn.Module]) -> None:
        """Free `networks` to learn and freeze the rest, weights and buffers.

        Batch norm of a frozen player keeps to the statistics of the batch, as when it learned:
        with its running ones it would be another function than the one that was trained.
        """
        self.game.eval()
        self.game.requires_grad_(False)
        for norm in self._norms:
            norm.train()
            norm.track_running_stats = False
        for network in networks:
            network.train()
            network.requires_grad_(True)
            for module in network.modules():
                if module in self._norms:
                    module.track_running_stats = True

    def _autocast(self) -> torch.autocast:
        wanted = self.settings.precision == "bf16"
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=wanted)

    def _through_pools(self, scene: Scene, step: int) -> Scene:
        shown = {name: tensor.detach() for name, tensor in scene.items()}
        for number, (group, pool) in enumerate(zip(self.groups, self.pools, strict=True)):
            seed = np.random.SeedSequence((self.settings.seed, step, POOLS, number))
            chance = torch.Generator().manual_seed(int(seed.generate_state(1)[0]))
            new = tuple(shown[name] for name in group)
            if pool.slots and [t.shape for t in pool.slots[0]] != [t.shape[1:] for t in new]:
                raise RunError(
                    f"image pool of {', '.join(group)}: found samples of another shape than those "
                    "that are made. Resume with the run's own settings."
                )
            old = pool.query(new, chance)
            shown.update(zip(group, old, strict=True))
        return shown

    def _start_averages(self) -> dict[str, Tensor]:
        if not self.settings.ema:
            return {}
        moved = {id(t) for side in self.sides if not side.player.critic for t in _averaged(side)}
        named = self._weights_and_statistics()
        return {name: t.detach().clone() for name, t in named.items() if id(t) in moved}

    def _weights_and_statistics(self) -> dict[str, Tensor]:
        return {**dict(self.game.named_parameters()), **dict(self.game.named_buffers())}

    def _average(self, step: int) -> None:
        """A running mean that forgets its start soon: TensorFlow's rule for the first steps.

        Batch norms' statistics go along: those of the last weights are not the averaged ones'.
        Spectral norm's vectors do not: they are worked out for the weights as they are, and give
        the averaged weights nearly the right singular value.
        """
        if not self.averages:
            return
        decay = min(self.settings.ema, (1 + step) / (10 + step))
        weights = self._weights_and_statistics()
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.averages.values()), [weights[n] for n in self.averages], 1 - decay
            )


def _norms_of(player: Player) -> list[_BatchNorm]:
    """The batch norms with running statistics that a player moves."""
    modules = (module for network in player.moves for module in network.modules())
    return [m for m in modules if isinstance(m, _BatchNorm) and m.running_mean is not None]


def _averaged(side: Side) -> list[Tensor]:
    """What averaging takes in of a generator: its weights, and its batch norms' statistics."""
    statistics = [t for n in _norms_of(side.player) for t in (n.running_mean, n.running_var)]
    return [*side.parameters, *(tensor for tensor in statistics if tensor is not None)]


def _placed(samples: Batch, device: torch.device) -> Batch:
    """On the device; on the CPU in PyTorch's own memory, whose alignment is always the same."""
    if device.type == "cpu" and samples.image.data_ptr() % 64:
        return Batch(samples.image.clone(), samples.labels, samples.cases, samples.samples)
    return samples.to(device)


def _full(tensor: Tensor) -> Tensor:
    """Half precision to float32: losses are worked out in full."""
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor


def _values(player: Player, terms: Terms, step: int, where: str) -> dict[str, float]:
    numbers = torch.stack([term.detach().float().reshape(()) for term in terms.values()]).tolist()
    values = {f"{player.name}.{term}": v for term, v in zip(terms, numbers, strict=True)}
    for term, value in zip(terms, numbers, strict=True):
        if not math.isfinite(value):
            raise RunError(
                f"{where}: player {player.name}, term {term} is {value} at step {step}, expected "
                "a finite number. Lower the learning rate or set train.clip_norm, and resume from "
                "the last checkpoint, which is whole."
            )
    return {**values, player.name: math.fsum(numbers)}


def _refuse_shared_networks(players: Sequence[Player]) -> None:
    if len({player.name for player in players}) != len(players):
        raise ValueError("two players have the same name")
    owner: dict[int, str] = {}
    for player in players:
        for parameter in {id(p) for network in player.moves for p in network.parameters()}:
            other = owner.setdefault(parameter, player.name)
            if other != player.name:
                raise ValueError(f"players {other} and {player.name} move the same network")
