"""Heart GAN: a label map of the heart becomes a CT slice.

y    label map, one channel for each structure    (B, K, S, S)
x    real slice in 0..1                           (B, 1, S, S)
G    generator: G(y), no noise
D    critic: D(y, image), one value for each patch, no activation

L_D = mean (D(y, x) - 1)^2 + mean D(y, G(y))^2                 (eq. 2; D minimises it)
L_G = lambda mean (D(y, G(y)) - 1)^2 + mean |x - G(y)|         (eq. 1, 3; lambda = 0.012)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from scansmith import losses
from scansmith.game import Player, Scene, Terms
from scansmith.labels.table import is_context
from scansmith.methods.base import Method
from scansmith.methods.context import ContextData
from scansmith.nets.blocks import initialise
from scansmith.nets.patch_critic import PatchCritic
from scansmith.nets.unet import RefinedUNet
from scansmith.recipe import Draw, Edits, Facts, Intensity, Recipe
from scansmith.scan import Batch, SettingsError
from scansmith.settings import Section, Settings, TrainSettings, number


class HeartData(ContextData):
    """Slices that show at least one structure, 256 x 256, in 0..1."""

    size: tuple[int, ...] = number((256, 256), "pixels of a slice; square, a power of two", "paper")
    structures: tuple[str, ...] = number((), "structures of the condition; empty: all", "paper")
    intensity: Literal["window", "minmax"] = number(
        "window", "window: clipped HU; minmax: each scan's own range, for MR"
    )
    window_low: float = number(-400.0, "HU that becomes 0, with intensity window")
    window_high: float = number(800.0, "HU that becomes 1, with intensity window")
    percentile: float = number(
        99.5, "of a scan that becomes 1, with intensity minmax", gt=50, le=100
    )
    split: tuple[float, float, float] = number(
        (0.8, 0.1, 0.1), "shares of patients for training, validation, test"
    )


class HeartNumbers(Section):
    """The paper's numbers; where it is silent, its reference implementation's."""

    base: int = number(64, "channels of the first layer of G and D", "code", gt=0)
    condition: Literal["onehot", "index"] = number(
        "onehot", "index: one channel of label number / (K-1), as the code feeds it"
    )
    skips: bool = number(
        True, "skip connections of G; the published configuration has none", "paper"
    )
    decoder: Literal["relu", "leaky"] = number("relu", "leaky is the paper's text", "code")
    patch: int = number(32, "stride of D's map in pixels; a power of two", "paper", gt=1)
    lambda_adv: float = number(0.012, "weight of the adversarial term", "paper", ge=0)
    reconstruction: Literal["basic", "weighted"] = number(
        "basic", "weighted: less weight far from the heart", "code"
    )
    learning_rate: float = number(1.3e-4, "Adam, G", "paper", gt=0)
    learning_rate_critic: float = number(1.5e-4, "Adam, D", "code", gt=0)


class HeartSettings(Settings):
    """The heart GAN's settings."""

    data: HeartData = HeartData()
    method: HeartNumbers = HeartNumbers()
    train: TrainSettings = TrainSettings(
        steps=100_000,
        batch=16,
        checkpoint_every=1000,
        sample_at=(1, 10, 100, 1000, 10_000, 25_000, 50_000, 75_000, 100_000),
    )


class HeartGan(Method):
    """Patch-based conditional GAN for whole-heart CT."""

    name = "heart-gan"
    title = "Heart GAN: label map to heart slice"
    paper = "Patch-based conditional GAN for whole-heart CT synthesis"
    needs = "CT or MR slices with labelled structures"
    settings_type = HeartSettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "published-config": {
            "method.skips": False,
            "method.patch": 16,
            "method.lambda_adv": 0.01,
            "train.batch": 8,
        },
        "cpu": {
            "data.size": (128, 128),
            "method.base": 24,
            "method.patch": 16,
            "train.batch": 8,
            "train.steps": 3000,
            "train.checkpoint_every": 500,
        },
    }

    settings: HeartSettings

    def __init__(self, settings: HeartSettings, facts: Facts):
        super().__init__(settings, facts)
        numbers = settings.method
        self.structures = len(facts.structures)
        self.named = sum(not is_context(name) for name in facts.structures)
        channels = self.structures if numbers.condition == "onehot" else 1
        halvings = min(7, int(math.log2(facts.size[0])) - 1)
        widths = [min(numbers.base * 2**k, numbers.base * 8) for k in range(halvings)]
        self.generator = RefinedUNet(
            channels, 1, widths, decoder=numbers.decoder, skips=numbers.skips
        )
        strided = int(math.log2(numbers.patch))
        self.critic = PatchCritic(
            channels + 1,
            [numbers.base * 2**k for k in range(strided)],
            [2] * strided,
            padding="same",
        )
        initialise(self, "glorot")

    @classmethod
    def recipe(cls, settings: Settings) -> Recipe:
        """Slices of one modality that show any structure."""
        assert isinstance(settings, HeartSettings)
        data, patch = settings.data, settings.method.patch
        side = data.size[0]
        if len(data.size) != 2 or data.size[1] != side or side & (side - 1) or side < 16:
            raise SettingsError(
                f"data.size: found {data.size}, expected two equal powers of two from 16 up. "
                "For example --set data.size=128,128."
            )
        if patch & (patch - 1) or patch > side // 4:
            raise SettingsError(
                f"method.patch: found {patch}, expected a power of two up to a quarter of the size "
                f"({side // 4}). For example --set method.patch={side // 8}."
            )
        window = data.intensity == "window"
        return Recipe(
            method=cls.name,
            dims=2,
            size=data.size,
            modalities=data.modality,
            intensity=Intensity(
                kind="window", low=data.window_low, high=data.window_high, target=(0, 1)
            )
            if window
            else Intensity(kind="minmax", scope="case", percentile=data.percentile, target=(0, 1)),
            needs=data.structures,
            structures=data.structures,
            draws=(Draw(name="labelled", has=("*",)),),
            regions=data.regions(),
            edits=Edits(kind="deform", strength=data.deform),
            split=data.split,
            patients=data.patients,
            seed=data.seed,
        )

    def condition(self, labels: Tensor) -> Tensor:
        """Label indices (B, S, S) as network input: one-hot (B, K, S, S), or one channel."""
        if self.settings.method.condition == "index":
            return labels.unsqueeze(1).float() / max(1, self.structures - 1)
        return F.one_hot(labels, self.structures).permute(0, 3, 1, 2).float()

    def play(self, batch: Mapping[str, Batch]) -> Scene:
        """Draw the slice of every label map."""
        source = batch["labelled"]
        y = self.condition(source.labels)
        mask = ((source.labels > 0) & (source.labels < self.named)).unsqueeze(1).float()
        return {"condition": y, "real": source.image, "made": self.generator(y), "mask": mask}

    def players(self) -> list[Player]:
        """D first, then G."""
        numbers = self.settings.method
        return [
            Player(
                "D",
                (self.critic,),
                self.critic_loss,
                critic=True,
                learning_rate=numbers.learning_rate_critic,
            ),
            Player(
                "G", (self.generator,), self.generator_loss, learning_rate=numbers.learning_rate
            ),
        ]

    def judge(self, scene: Scene, image: str) -> Tensor:
        """D's map for the real or the made slice."""
        return self.critic(torch.cat([scene["condition"], scene[image]], dim=1))

    def critic_loss(self, scene: Scene) -> Terms:
        """Eq. 2, minimised by D."""
        return {"L_D": losses.lsgan_critic(self.judge(scene, "real"), self.judge(scene, "made"))}

    def generator_loss(self, scene: Scene) -> Terms:
        """Eq. 1 and 3: the adversarial term times lambda, and the mean absolute error."""
        numbers = self.settings.method
        adversarial = losses.lsgan_generator(self.judge(scene, "made"))
        if numbers.reconstruction == "weighted":
            weight = losses.centre_weight(scene["mask"])
            error = losses.weighted_l1(scene["real"], scene["made"], weight)
        else:
            error = losses.l1(scene["real"], scene["made"])
        return {"L_adv": numbers.lambda_adv * adversarial, "L_mae": error}

    @torch.no_grad()
    def watch(self, scene: Scene) -> dict[str, float]:
        """The paper's Fig. 3: D's accuracy over the map, threshold 0.5."""
        real, fake = self.judge(scene, "real"), self.judge(scene, "made")
        on_real, on_fake = losses.accuracy(real, fake, threshold=0.5)
        return {"D.accuracy_real": float(on_real), "D.accuracy_fake": float(on_fake)}

    def make(self, source: Batch, chance: torch.Generator) -> Tensor:
        """G of the label map; nothing of the source image enters."""
        return self.generator(self.condition(source.labels))
