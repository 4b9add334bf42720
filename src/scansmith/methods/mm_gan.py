"""MM-GAN: a 3D label map of a brain with its tumour becomes an MR volume of each modality.

x    label map, one channel for each structure; the brain without tumour is one of them
                                                                        (B, K, D, H, W)
y    real volume of one modality, z-score / 5 in -1..1, -1 outside      (B, 1, D, H, W)
G    generator: G(x), no noise; one for each modality
D    critic: D(x, y), one value for each patch, no activation; one for each modality

L_D = 1/2 mean (D(x, y) - b)^2 + 1/2 mean (D(x', G(x')) - a)^2          (eq. 1)
L_G = 1/2 mean (D(x, G(x)) - c)^2                                       (eq. 2)

with a = 0, b = c = 1. (x', G(x')) is a pair out of a pool of four: a volume stays with its map.
There is no term that compares G(x) with y, unless `l1` asks for one.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from scansmith import losses
from scansmith.game import Player, Scene, Terms
from scansmith.labels.table import CONTEXT, is_context
from scansmith.methods.base import Method
from scansmith.methods.context import Context, ContextData
from scansmith.nets.volume_critic import VolumeCritic
from scansmith.nets.volume_unet import VolumeUNet
from scansmith.nets.windows import by_windows
from scansmith.recipe import Draw, Edits, Facts, Intensity, Recipe
from scansmith.scan import Batch, SettingsError
from scansmith.settings import Section, Settings, TrainSettings, number

SMALLEST = 16  # voxels of an axis: a halved, halved, halved axis of 2 still has statistics
OUTSIDE = -1.0  # network value of what is not body
NEVER_TISSUE = -0.9  # z-scores below -4.5 mean the surroundings


CPU: Mapping[str, Any] = {
    "data.size": (40, 56, 40),
    "data.context": "kmeans",
    "method.critic_gain": 5.0,
    "method.critic_norm": "instance",
    "method.spectral_critic": False,
    "method.l1": 5.0,
    "train.ema": 0.99,
    "train.batch": 2,
    "train.steps": 1500,
    "train.checkpoint_every": 500,
}
ORGAN: Mapping[str, Any] = {
    **CPU,
    "data.edits": "deform",
    "data.deform": 0.5,
    "data.context_classes": 8,
    "data.context_smooth": 0.5,
}
"""A whole organ is labelled, and bent; finer context makes images more alike, and less private."""


class MmData(ContextData):
    """Whole brains at 1 mm, cropped; standardised over the brain, each modality for itself."""

    size: tuple[int, ...] = number(
        (150, 200, 160),
        "voxels D, H, W cut round the middle; paper: 200 x 160 x 150, of which a brain's length "
        "needs the 200",
        "paper",
    )
    context: Context = number(
        "region",
        "what is told of the unlabelled: region: body or not (the paper's label 3); kmeans: its "
        "tissues, from the image; none: nothing",
        "paper",
    )
    edits: Literal["reshape", "deform"] = number(
        "reshape", "new maps: reshape: the tumour alone changes; deform: all is moved", "paper"
    )
    lesion: tuple[str, ...] = number(("*",), "structures that reshape; *: all that are labelled")
    organ: tuple[str, ...] = number((), "structures beside the context that a lesion may lie in")
    split: tuple[float, float, float] = number(
        (0.8, 0.0, 0.2), "shares of patients for training, validation, test", "paper (LIVER100)"
    )


class MmNumbers(Section):
    """The paper's numbers, and what beyond them a small data set may need."""

    generators: Literal["each", "joint"] = number(
        "each", "each: one G and one D for each modality; joint: one of each for all", "paper"
    )
    base: int = number(8, "channels of G's first block", "paper (first down block: 16)", gt=0)
    base_critic: int = number(32, "channels of D's first layer", gt=0)
    upsample: Literal["trilinear", "tricubic"] = number(
        "trilinear", "tricubic: separable, bicubic in the slice and cubic along D"
    )
    spectral: bool = number(True, "spectral norm on every convolution of G", "paper")
    spectral_critic: bool = number(True, "spectral norm on every convolution of D", "paper")
    critic_norm: Literal["none", "instance"] = number("none", "norm in D", "SimGAN")
    critic_gain: float = number(1.0, "factor on the volumes that D sees; 5: z-scores", gt=0)
    critic_high_pass: float = number(0.0, "gain of D's view of fine detail; 0: none", ge=0)
    per_modality_brain: bool = number(
        True, "in training the context ends where this modality's image does", "paper"
    )
    pool: int = number(4, "old (map, volume) pairs that D is shown again; 0: none", "paper", ge=0)
    l1: float = number(0.0, "weight of the mean absolute error; the paper has none", "paper", ge=0)
    learning_rate: float = number(4e-4, "Adam, G", "paper", gt=0)
    learning_rate_critic: float = number(1e-4, "Adam, D", "paper", gt=0)
    constant_share: float = number(
        0.5, "of train.steps, before the rates fall, linearly to 0", "paper", gt=0, le=1
    )
    checkpoint: bool = number(False, "keep less for the backward pass, work more")
    clean_outside: bool = number(True, "what is made outside the body is set to the surroundings")
    window: tuple[int, ...] = number(
        (), "voxels D, H, W of the windows that larger volumes are made by; empty: made whole"
    )
    window_overlap: float = number(0.5, "share of a window that the next one covers", ge=0, lt=1)


class MmSettings(Settings):
    """MM-GAN's settings."""

    data: MmData = MmData()
    method: MmNumbers = MmNumbers()
    train: TrainSettings = TrainSettings(
        steps=57_000,  # 200 epochs of 285 cases
        batch=1,
        checkpoint_every=1000,
        sample_at=(1, 10, 100, 1000, 5000, 10_000, 20_000, 30_000, 40_000, 50_000),
    )


class MmGan(Method):
    """Label map to MR volume in 3D, with spectral norm and a pool of pairs."""

    name = "mm-gan"
    title = "MM-GAN: 3D label map to MR volumes"
    paper = "MM-GAN: 3D MRI data augmentation for medical image segmentation via GANs"
    needs = "MR volumes with labels, one or more modalities on one grid"
    settings_type = MmSettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "paper-8gb": {"method.checkpoint": True, "train.precision": "bf16"},
        "liver-paper": {
            "data.lesion": ("tumour",),
            "data.organ": ("liver",),
            "method.learning_rate": 4e-5,
            "method.learning_rate_critic": 1e-5,
            "train.steps": 8000,
        },
        "cpu": CPU,
        "organ": ORGAN,
    }

    settings: MmSettings

    def __init__(self, settings: MmSettings, facts: Facts):
        super().__init__(settings, facts)
        numbers = settings.method
        self.structures = len(facts.structures)
        self.context = tuple(k for k, name in enumerate(facts.structures) if is_context(name))
        each = numbers.generators == "each"
        self.parts = tuple((m,) for m in facts.modalities) if each else (facts.modalities,)
        self.generators, self.critics = nn.ModuleList(), nn.ModuleList()
        for part in self.parts:
            generator = VolumeUNet(
                self.structures,
                len(part),
                numbers.base,
                upsample=numbers.upsample,
                spectral=numbers.spectral,
                checkpoint=numbers.checkpoint,
            )
            critic = VolumeCritic(
                self.structures,
                len(part),
                numbers.base_critic,
                spectral=numbers.spectral_critic,
                norm_kind=numbers.critic_norm,
                high_pass=numbers.critic_high_pass,
            )
            self.generators.append(generator)
            self.critics.append(critic)
        if numbers.pool:
            self.pools = {
                (f"made_labels.{place}", f"made.{place}"): numbers.pool
                for place in range(len(self.parts))
            }

    @classmethod
    def recipe(cls, settings: Settings) -> Recipe:
        """Whole volumes of all modalities, every voxel of which is some structure."""
        assert isinstance(settings, MmSettings)
        data, window = settings.data, settings.method.window
        _refuse_size("data.size", data.size)
        if window:
            _refuse_size("method.window", window)
        return Recipe(
            method=cls.name,
            dims=3,
            size=data.size,
            fit="crop",
            modalities=data.modality,
            channels=None,
            intensity=Intensity(
                kind="zscore", scope="case", foreground_only=True, clip=5.0, background=OUTSIDE
            ),
            needs=tuple(name for name in (*data.lesion, *data.organ) if name != "*"),
            draws=(Draw(name="labelled", has=("*",)),),
            regions=data.regions(),
            edits=_edits(data),
            split=data.split,
            patients=data.patients,
            seed=data.seed,
        )

    def condition(self, labels: Tensor) -> Tensor:
        """Structure indices (B, D, H, W) of any integer type as one-hot float (B, K, D, H, W)."""
        every = torch.arange(self.structures, device=labels.device).view(1, -1, 1, 1, 1)
        return (labels.unsqueeze(1) == every).float()

    def seen(self, labels: Tensor, image: Tensor) -> Tensor:
        """Labels whose context is where this image shows something: a modality's own brain.

        With several context tissues it is only taken away, since which to add is not known.
        """
        shown = (image > OUTSIDE).any(dim=1)
        inside = torch.isin(labels, torch.tensor(self.context, device=labels.device))
        labels = torch.where(inside & ~shown, 0, labels)
        if len(self.context) == 1:
            labels = torch.where((labels == 0) & shown, self.context[0], labels)
        return labels

    def learned_from(self, batch: Mapping[str, Batch]) -> Mapping[str, Batch]:
        """For each generator its modalities and its own label map, which are augmented together.

        What is already so stays. After augmentation the surroundings are no longer `OUTSIDE`, so
        where a modality shows something has to be in its map before.
        """
        if "labelled" not in batch:
            return batch
        source, parts = batch["labelled"], {}
        own = self.settings.method.per_modality_brain and self.context
        for place, (first, last) in enumerate(self._channels()):
            image = source.image[:, first:last]
            labels = self.seen(source.labels, image) if own else source.labels
            kept = labels.to(torch.uint8)  # a pool of one-hot volumes would fill a GPU
            parts[f"labelled.{place}"] = Batch(image, kept, source.cases, source.samples)
        return parts

    def play(self, batch: Mapping[str, Batch]) -> Scene:
        """Draw the volume of every modality from its label map."""
        parts = self.learned_from(batch)
        scene: Scene = {}
        for place, generator in enumerate(self.generators):
            real, labels = parts[f"labelled.{place}"].image, parts[f"labelled.{place}"].labels
            scene |= {
                f"labels.{place}": labels,
                f"real.{place}": real,
                f"made_labels.{place}": labels,
                f"made.{place}": generator(self.condition(labels)),
            }
        return scene

    def _channels(self) -> list[tuple[int, int]]:
        """First and last-but-one image channel of each generator."""
        ends = [sum(len(part) for part in self.parts[: n + 1]) for n in range(len(self.parts))]
        return [(end - len(part), end) for end, part in zip(ends, self.parts, strict=True)]

    def players(self) -> list[Player]:
        """For each modality D, then G."""
        numbers = self.settings.method
        players = []
        for place, part in enumerate(self.parts):
            tail = f".{part[0]}" if numbers.generators == "each" else ""
            critic = Player(
                f"D{tail}",
                (self.critics[place],),
                partial(self.critic_loss, place=place),
                critic=True,
                learning_rate=numbers.learning_rate_critic,
                betas=(0.0, 0.9),
                rate=self.rate,
            )
            generator = Player(
                f"G{tail}",
                (self.generators[place],),
                partial(self.generator_loss, place=place),
                learning_rate=numbers.learning_rate,
                betas=(0.0, 0.9),
                rate=self.rate,
            )
            players += [critic, generator]
        return players

    def rate(self, step: int) -> float:
        """1 for the first half of the steps, then linearly to 0, which a further step would reach.

        Source: the paper; the count of steps as in CycleGAN's code.
        """
        steps = self.settings.train.steps
        constant = round(self.settings.method.constant_share * steps)
        return 1 - max(0, step - constant) / (steps - constant + 1)

    def judge(self, scene: Scene, labels: str, image: str, place: int) -> Tensor:
        """D's map for a pair of label map and volume."""
        volume = self.settings.method.critic_gain * scene[f"{image}.{place}"]
        return self.critics[place](self.condition(scene[f"{labels}.{place}"]), volume)

    def critic_loss(self, scene: Scene, place: int = 0) -> Terms:
        """Eq. 1, minimised by D."""
        real = self.judge(scene, "labels", "real", place)
        fake = self.judge(scene, "made_labels", "made", place)
        return {"L_D": losses.lsgan_critic(real, fake) / 2}

    def generator_loss(self, scene: Scene, place: int = 0) -> Terms:
        """Eq. 2, minimised by G, and the mean absolute error if it has a weight."""
        made = self.judge(scene, "made_labels", "made", place)
        terms = {"L_adv": losses.lsgan_generator(made) / 2}
        if weight := self.settings.method.l1:
            error = losses.l1(scene[f"real.{place}"], scene[f"made.{place}"])
            terms["L_l1"] = weight * error
        return terms

    @torch.no_grad()
    def watch(self, scene: Scene) -> dict[str, float]:
        """Accuracy of each D over its map, threshold 0.5."""
        numbers: dict[str, float] = {}
        critics = [player.name for player in self.players() if player.critic]
        for place, name in enumerate(critics):
            real = self.judge(scene, "labels", "real", place)
            fake = self.judge(scene, "made_labels", "made", place)
            on_real, on_fake = losses.accuracy(real, fake, threshold=0.5)
            numbers[f"{name}.accuracy_real"] = float(on_real)
            numbers[f"{name}.accuracy_fake"] = float(on_fake)
        return numbers

    def make(self, source: Batch, chance: torch.Generator) -> Tensor:
        """All modalities from one label map, whole or by windows; no noise, nothing of the scan."""
        numbers = self.settings.method
        size = source.labels.shape[1:]
        small = all(n <= w for n, w in zip(size, numbers.window, strict=False))
        made = [self.draw(source.labels, network, whole=small) for network in self.generators]
        volume = torch.cat(made, dim=1)
        if not numbers.clean_outside:
            return volume
        away = volume < NEVER_TISSUE
        if self.context:
            away |= (source.labels == 0).unsqueeze(1)
        return torch.where(away, OUTSIDE, volume)

    def draw(self, labels: Tensor, network: nn.Module, whole: bool) -> Tensor:
        """One generator's volume."""
        if whole:
            return network(self.condition(labels))
        return by_windows(
            network,
            lambda part: network(self.condition(part[:, 0])),
            labels.unsqueeze(1).float(),
            self.settings.method.window,
            self.settings.method.window_overlap,
        )


def _edits(data: MmData) -> Edits:
    if data.edits == "deform":
        return Edits(kind="deform", lesion=data.lesion, strength=data.deform)
    if "*" in data.lesion and data.organ:
        raise SettingsError(
            f"data.organ: found {data.organ}, but data.lesion is every structure. Name those: "
            "for example --set data.lesion=tumour."
        )
    around = "background" if data.context == "none" else CONTEXT
    return Edits(kind="reshape", lesion=data.lesion, organ=(around, *data.organ))


def _refuse_size(name: str, size: tuple[int, ...]) -> None:
    if len(size) != 3 or min(size) < SMALLEST:
        raise SettingsError(
            f"{name}: found {size}, expected three numbers from {SMALLEST} up. "
            f"For example --set {name}=40,56,40."
        )
