"""Registered multimodal MR with lesions: noise and a lesion label become all modalities of a slice.

Stage A (`registered_structure`) makes a structure map f and a brain mask from noise. Stage B
(`registered_synthesis`) makes every modality from f and a lesion label; since all come from one f
they are registered. Training needs no registered scans: in each step every modality is drawn from
another patient, f from one more, the label from one more. The stages share nothing in training and
are trained in one run. Equations stand at the head of each stage's file; how samples are filtered,
in `registered_filters`.

    Algorithm 1   f    = 1 where min(dy, dx) or max(dy, dx) of Sobel lies beyond beta of its mean
    Algorithm 2   mask = 1 where x <= 0, enlarged by p and cut back (1 is background)
    Algorithm 3   f is accepted if MASK(f) and the filled contours of f differ by <= 0.048

    training      f of a random modality, its own lesion removed; a label l with sum(mask l) = 0
    synthesis     x_i = (1 - mask) DC(EC_R(0.2 onehot(l) + 0.8 f), i) for all modalities i
    translation   x_j = DC(EC(x_i), j)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from scansmith import losses
from scansmith.game import Player, Scene
from scansmith.methods.base import Made, Method
from scansmith.methods.registered_filters import Sampler
from scansmith.methods.registered_settings import RegisteredSettings
from scansmith.methods.registered_structure import StructureStage
from scansmith.methods.registered_synthesis import SynthesisStage
from scansmith.nets.structure_map import background_mask, structure_map
from scansmith.recipe import Draw, Edits, Facts, Intensity, Recipe
from scansmith.scan import Batch, SettingsError
from scansmith.settings import Settings

UNFILTERED = "unfiltered"


class RegisteredMultimodal(Method):
    """Registered modalities from noise and a lesion label, learned from unregistered scans."""

    name = "registered-multimodal"
    title = "Registered multimodal MR with lesions, from noise and a label"
    paper = "Unsupervised learning of registered multimodal medical images with lesions (2019)"
    needs = "brain slices of two or more modalities with labelled lesions"
    settings_type = RegisteredSettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "cpu": {
            "data.size": (48, 48),
            "data.fit": "resize",
            "data.min_lesion_pixels": 6,
            "data.percentile": 99.5,
            "data.split": (0.7, 0.1, 0.2),
            "method.base": 8,
            "method.base_images": 16,
            "method.latent": 64,
            "method.head_norm": False,
            "method.norm_least": 17,
            "method.category": "softmax",
            "method.condition": "norm",
            "method.translations": "one",
            "method.structure_sources": "all",
            "method.smooth": 1.0,
            "method.beta": 0.07,
            "method.edges": "chosen",
            "method.mask_grow": 2,
            "method.mask_filled": True,
            "method.learning_rate": 2e-3,
            "method.learning_rate_structure": 3e-4,
            "method.learning_rate_segmentors": 1e-3,
            "method.learning_rate_critic": 1e-3,
            "method.lesion_slices": True,
            "method.structure_mae": 0.1,  # real slices of 48 pixels differ by 0.07 to 0.19
            "method.filter_dice": 0.5,
            "method.structure.f_adversarial": 0.1,
            "method.structure.kl": 0.1,
            "method.structure.edge_class": 2.0,
            "method.weights.own": 50.0,
            "method.weights.own_lesion": 10.0,
            "method.weights.rec": 50.0,
            "method.weights.cycle": 50.0,
            "method.weights.code": 0.5,
            "method.weights.code_pairs": 0.1,
            "method.weights.fd": 0.4,
            "method.weights.fd_code": 0.1,
            "method.weights.adversarial": 1.0,
            "method.weights.adversarial_translated": 0.3,
            "method.weights.category": 2.0,
            "method.weights.category_translated": 1.0,
            "train.batch": 1,
            "train.steps": 1500,
            "train.checkpoint_every": 500,
            "train.log_every": 10,
        },
    }

    settings: RegisteredSettings

    def __init__(self, settings: RegisteredSettings, facts: Facts):
        super().__init__(settings, facts)
        numbers, size = settings.method, (facts.size[0], facts.size[1])
        if len(facts.modalities) < 2:
            raise SettingsError(
                f"{self.name}: found one modality ({', '.join(facts.modalities)}), expected two or "
                "more. Prepare a data set with several, or name more with --set data.modality=A,B."
            )
        modalities, classes = len(facts.modalities), len(facts.structures)
        self.stage_a = StructureStage(numbers, size) if numbers.stages != "synthesis" else None
        self.stage_b = (
            SynthesisStage(numbers, size, modalities, classes)
            if numbers.stages != "structure"
            else None
        )

    @classmethod
    def recipe(cls, settings: Settings) -> Recipe:
        """Slices with each modality drawn on its own, structure sources, and lesion labels."""
        assert isinstance(settings, RegisteredSettings)
        data, latent = settings.data, settings.method.latent
        mistakes = []
        if len(data.size) != 2 or min(data.size) < 16:
            mistakes.append(
                f"data.size: found {data.size}, expected H, W of 16 pixels or more. "
                "For example --set data.size=64,64."
            )
        if math.isqrt(latent) ** 2 != latent:
            mistakes.append(
                f"method.latent: found {latent}, expected a square number, because a critic sees "
                f"the code as a square. For example --set method.latent={math.isqrt(latent) ** 2}."
            )
        if len(data.modality) == 1:
            mistakes.append(
                f"data.modality: found {data.modality[0]} alone, expected two or more. Add others."
            )
        if mistakes:
            raise SettingsError("\n".join(mistakes))
        edits = Edits(kind="redraw", lesion=data.lesion or ("*",), unit="sample", draw="lesion")
        return Recipe(
            method=cls.name,
            dims=2,
            size=data.size,
            fit=data.fit,
            modalities=data.modality,
            channels=None,
            intensity=Intensity(
                kind="minmax",
                scope="case",
                percentile=data.percentile,
                foreground_only=True,
                background=0.0,
                target=(0, 1),
            ),
            needs=data.lesion,
            structures=data.lesion,
            min_foreground=data.min_foreground,
            draws=(
                Draw(name="lesion", has=("*",), min_pixels=data.min_lesion_pixels),
                Draw(name="structure"),
                Draw(name="real", each_modality=True),
            ),
            edits=edits,
            tasks={UNFILTERED: edits},
            split=data.split,
            patients=data.patients,
            seed=data.seed,
        )

    def play(self, batch: Mapping[str, Batch]) -> Scene:
        """Stage A on structure sources; stage B on one of them and a slice of each modality."""
        source, numbers = batch["structure"], self.settings.method
        scene: Scene = {}
        x = random_modality(source.image)
        kept = without_lesion(source.labels)
        if self.stage_a is not None:
            seen, outside = x, kept
            if numbers.structure_sources == "all":
                others = [one for name, one in batch.items() if name != "structure"]
                seen = torch.cat([x, *(random_modality(one.image) for one in others)])
                outside = torch.cat([kept, *(without_lesion(one.labels) for one in others)])
            f = structure_map(seen, numbers.beta_structure, numbers.smooth) * outside
            mask = background_mask(seen, numbers.mask_grow, numbers.mask_above, numbers.mask_filled)
            scene |= self.stage_a.play(f, mask)
        if self.stage_b is not None:
            real = [batch[f"real.{name}"] for name in self.facts.modalities]
            images = torch.stack([one.image[:, i : i + 1] for i, one in enumerate(real)])
            labels = torch.stack([one.labels for one in real])
            mask = self.background(x)
            label, cut = suitable_label(batch["lesion"].labels, list(labels), mask)
            f = structure_map(x, numbers.beta, numbers.smooth) * kept
            flat = images.flatten(0, 1)
            masks = self.background(flat).view(images.shape)
            taught_x, taught_l = images, labels
            if numbers.lesion_slices:
                shown = batch["lesion"]
                more = shown.image.transpose(0, 1).unsqueeze(2)
                taught_x = torch.cat([images, more], dim=1)
                same = shown.labels.expand(len(real), *shown.labels.shape)
                taught_l = torch.cat([labels, same], dim=1)
            f_x = structure_map(taught_x.flatten(0, 1), numbers.beta, numbers.smooth)
            f_x = (f_x * without_lesion(taught_l.flatten(0, 1))).view(taught_x.shape)
            taught = taught_x, taught_l, f_x
            scene |= self.stage_b.play(images, labels, masks, f, label, mask, taught)
            scene["B.cut"] = cut
        return scene

    def background(self, x: Tensor) -> Tensor:
        """The training mask of real slices (B, 1, H, W): 1 is background, nothing is enlarged."""
        numbers = self.settings.method
        return background_mask(x, 0, numbers.mask_above_training, numbers.mask_filled)

    def players(self) -> list[Player]:
        """Stage A's, then stage B's."""
        stages = [stage for stage in (self.stage_a, self.stage_b) if stage is not None]
        return [player for stage in stages for player in stage.players()]

    @torch.no_grad()
    def watch(self, scene: Scene) -> dict[str, float]:
        """How often critics are right, what segmentors find, how many labels had to be cut."""
        found: dict[str, float] = {}
        if self.stage_a is not None:
            found |= self.stage_a.watch(scene)
        if self.stage_b is not None:
            found |= self.stage_b.watch(scene)
            found["label.cut"] = float(scene["B.cut"].mean())
        return found

    def sampler(self, chance: torch.Generator, *, strict: bool, filtered: bool = True) -> Sampler:
        """What makes samples. Raises SettingsError if a stage was not trained."""
        if self.stage_a is None or self.stage_b is None:
            raise SettingsError(
                f"{self.name}: this run trained stage {self.settings.method.stages!r} alone, "
                "generation needs both. Train with --set method.stages=both."
            )
        return Sampler(self.stage_a, self.stage_b, chance, strict=strict, filtered=filtered)

    def sample(self, source: Batch, chance: torch.Generator, task: str = "") -> Made:
        """Registered modalities for each label, filtered; task "unfiltered": without the judges.

        Raises:
            DataError: no brain holds a label, or no image passes the judges.
        """
        sampler = self.sampler(chance, strict=True, filtered=task != UNFILTERED)
        made = [sampler.make(label[None]) for label in source.labels]
        notes = tuple(structure.record for _, structure in made)
        return Made(torch.cat([image for image, _ in made]), source.labels, notes)

    def make(self, source: Batch, chance: torch.Generator) -> Tensor:
        """The same, but what comes nearest instead of a refusal; without stage A, from f of source.

        A lesion that no generated brain holds sticks out of it.
        """
        return self.shown(source, chance)[0]

    def shown(self, source: Batch, chance: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Images (B, M, H, W) with their structure maps and masks (B, 1, H, W); nothing refused.

        Without stage A these are those of the source's first modality; without stage B images are
        black.
        """
        numbers = self.settings.method
        if self.stage_a is not None and self.stage_b is not None:
            sampler = self.sampler(chance, strict=False)
            made = [sampler.make(label[None]) for label in source.labels]
            f, mask = (torch.cat([getattr(one, part) for _, one in made]) for part in ("f", "mask"))
            return torch.cat([image for image, _ in made]), f, mask
        if self.stage_b is not None:
            x = source.image[:, :1]
            f, mask = structure_map(x, numbers.beta, numbers.smooth), self.background(x)
            _, x_g = self.stage_b.synthesised(f, source.labels)
            return (x_g * (1 - mask)).squeeze(2).transpose(0, 1), f, mask
        assert self.stage_a is not None
        z = torch.randn(len(source.labels), numbers.latent, generator=chance)
        f, mask, _ = self.stage_a.drawn(z.to(source.image.device))
        return torch.zeros_like(source.image), f, mask

    def translate(self, image: Tensor, source: int, target: int) -> Tensor:
        """DC(EC(x_source), target)."""
        if self.stage_b is None:
            raise SettingsError(
                f"{self.name}: this run trained stage 'structure' alone, translation needs stage "
                "'synthesis'. Train with --set method.stages=both."
            )
        code = self.stage_b.encode(image[:, source : source + 1])
        return self.stage_b.decode(code, torch.tensor(target, device=image.device))

    def panels(self, source: Batch, chance: torch.Generator) -> dict[str, Tensor]:
        """f, mask, label and all modalities made; a real slice, and its first one translated."""
        made, f, mask = self.shown(source, chance)
        panels = {"f": f[:, 0].long(), "mask": mask[:, 0].long(), "labels": source.labels}
        if self.stage_b is not None:
            others = range(len(self.facts.modalities))
            panels["made"] = made
            panels["translated"] = torch.cat(
                [self.translate(source.image, 0, j) for j in others], 1
            )
        panels["real"] = source.image
        x, numbers = source.image[:, :1], self.settings.method
        panels["real f"] = structure_map(x, numbers.beta_structure, numbers.smooth)[:, 0].long()
        if self.stage_a is not None:
            f = panels["real f"].unsqueeze(1).to(x.dtype)
            panels["f, decoded"] = self.stage_a.reconstructed(f)[:, 0].long()
        return panels

    def validate(self, source: Batch, chance: torch.Generator) -> dict[str, float]:
        """Lesions that judges miss in what is made, and in real slices; errors of the parts."""
        found: dict[str, float] = {}
        modalities = len(self.facts.modalities)
        if self.stage_b is not None:
            made = self.make(source, chance).transpose(0, 1).unsqueeze(2)
            real = source.image.transpose(0, 1).unsqueeze(2)
            for name, images in (("lesion_missed", made), ("lesion_missed_real", real)):
                found[name] = 1 - float(self.stage_b.found_by_judges(images, source.labels).mean())
            following = [(i, (i + 1) % modalities) for i in range(modalities)]
            errors = [
                losses.l1(source.image[:, j : j + 1], self.translate(source.image, i, j))
                for i, j in following
            ]
            found["translation_mae"] = float(torch.stack(errors).mean())
        if self.stage_a is not None:
            numbers = self.settings.method
            f = structure_map(source.image[:, :1], numbers.beta_structure, numbers.smooth)
            same = losses.label_value_dice(f, self.stage_a.reconstructed(f))
            found["structure_missed"] = 1 - float(same.mean())
        return found


def random_modality(image: Tensor) -> Tensor:
    """One modality of each sample, chosen at random: (B, C, H, W) -> (B, 1, H, W)."""
    samples, channels = image.shape[:2]
    chosen = torch.randint(channels, (samples,), device=image.device)
    return image[torch.arange(samples, device=image.device), chosen].unsqueeze(1)


def without_lesion(labels: Tensor) -> Tensor:
    """1 outside the lesions of labels (B, H, W), 0 inside: (B, 1, H, W)."""
    return (labels == 0).unsqueeze(1).float()


def suitable_label(labels: Tensor, others: list[Tensor], mask: Tensor) -> tuple[Tensor, Tensor]:
    """A lesion label for each brain, with sum(mask l) = 0.

    The label drawn for it is tried first, then those of the batch's other samples, then those of
    the other draws. If none lies inside the brain, the first is cut to it.

    Args:
        labels: (B, H, W), which show lesions.
        others: further (B, H, W), which may be empty.
        mask: (B, 1, H, W), 1 is background.
    Returns:
        Labels (B, H, W), and 1 for each that was cut, (B,).
    """
    samples = len(labels)
    tried = torch.stack([labels.roll(n, 0) for n in range(samples)] + others)
    lesion = tried > 0
    outside = (lesion & (mask[:, 0] > 0)).flatten(2).any(dim=2)
    fits = lesion.flatten(2).any(dim=2) & ~outside  # tries, B
    first = fits.float().argmax(dim=0)
    chosen = tried[first, torch.arange(samples, device=labels.device)]
    cut = ~fits.any(dim=0)
    return torch.where(cut[:, None, None] & (mask[:, 0] > 0), 0, chosen), cut.float()
