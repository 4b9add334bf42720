"""ANT-GAN: abnormal slices become normal-looking ones, and normal ones abnormal, without pairs.

    x_a, x_n   a slice with lesion, a slice without (other patients)   (B, C, H, W), -1..1
    M          lesion mask of x_a, 0 or 1; needed in training only      (B, 1, H, W)
    A2N, N2A   generators; A2N adds its output to its input ("global shortcut")
    D_N, D_A   critics of normal and abnormal slices; raw maps, one value a patch

    L_adv = mean (D_N(A2N(x_a)) - 1)^2 + mean (D_A(N2A(x_n)) - 1)^2          (eq. 3, least squares)
    AC    = mean |N2A(A2N(x_a)) - x_a|
    NC    = mean |A2N(N2A(x_n)) - x_n|                                       (eq. 4: AC + NC)
    L_AM  = mean ((1 - M) (A2N(x_a) - x_a))^2
    L_G   = L_adv + lambda_cc (AC + NC) + lambda_am L_AM                     (both lambdas are 10)
    L_D_N = (mean (D_N(x_n) - 1)^2 + mean D_N(pool(A2N(x_a)))^2) / 2;  L_D_A likewise

The ablations of the paper's Fig. 5 and Table IV are presets; each is a choice of AC, NC, shortcut
and L_AM.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from scansmith import losses
from scansmith.game import Player, Scene, Terms
from scansmith.labels.change import body, changed, difference_map
from scansmith.labels.table import is_context, plain_name, standard_name
from scansmith.methods.ant_settings import ABLATIONS, CPU, LIVER, AntSettings
from scansmith.methods.base import Made, Method
from scansmith.nets.blocks import initialise
from scansmith.nets.patch_critic import PatchCritic
from scansmith.nets.resnet_generator import ResNetGenerator
from scansmith.recipe import Draw, Edits, Facts, Intensity, Recipe
from scansmith.scan import Batch, SettingsError
from scansmith.settings import Settings


class AntGan(Method):
    """Abnormal-to-normal translation and back."""

    name = "ant-gan"
    title = "ANT-GAN: abnormal slice to normal-looking slice, and back"
    paper = "Sun, Wang, Huang, Ding, Greenspan and Paisley, IEEE JBHI 24(8), 2020"
    needs = "slices with and without lesion, the lesion labelled; no pairs"
    settings_type = AntSettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "cpu": CPU,
        "liver": LIVER,
        **ABLATIONS,
    }

    settings: AntSettings

    def __init__(self, settings: AntSettings, facts: Facts):
        super().__init__(settings, facts)
        numbers, channels = settings.method, len(facts.modalities)
        organ = settings.data.organ
        if numbers.critics_see != "slice" and not organ:
            raise SettingsError(
                f"method.critics_see: found {numbers.critics_see} without data.organ. Prepare the "
                "data with --set data.organ=liver, for example, or set it to slice."
            )
        self.organ = index_of(facts.structures, organ) if organ else 0
        self.lesion = lesion_indices(facts.structures, settings.data.lesion, self.organ)
        drawn = numbers.drawn_as
        self.drawn = index_of(facts.structures, drawn) if drawn else self.lesion[0]
        deconv1 = numbers.deconv1 * numbers.base // 64
        self.a2n, self.n2a = (
            ResNetGenerator(
                channels, numbers.base, numbers.blocks, deconv1=deconv1, shortcut=shortcut
            )
            for shortcut in (numbers.shortcut, numbers.shortcut_back)
        )
        halvings = numbers.critic_halvings
        widths = [numbers.critic_base * 2**k for k in range(halvings)]
        self.d_n, self.d_a = (
            PatchCritic(
                2 * channels if numbers.critics_see == "both" else channels,
                [*widths, widths[-1]],
                [2] * halvings + [1],
                padding="same",
                norm_kind="instance",
            )
            for _ in range(2)
        )
        initialise(self, "normal")
        self.pools = {(f"seen_made_{kind}",): numbers.pool for kind in ("normal", "abnormal")}

    @classmethod
    def recipe(cls, settings: Settings) -> Recipe:
        """Axial slices with lesion, and slices without it."""
        assert isinstance(settings, AntSettings)
        data = settings.data
        if len(data.size) != 2 or min(data.size) < 16 or any(side % 4 for side in data.size):
            raise SettingsError(
                f"data.size: found {data.size}, expected two multiples of 4 from 16 up. "
                "For example --set data.size=64,64."
            )
        if data.organ and len(data.lesion) != 1:
            raise SettingsError(
                f"data.lesion: found {', '.join(data.lesion) or 'nothing'} beside data.organ="
                f"{data.organ}, expected one structure. For example --set data.lesion=tumour."
            )
        if data.cut_to_organ and not data.organ:
            raise SettingsError(
                "data.cut_to_organ: found true without data.organ, expected an organ. For example "
                "--set data.organ=liver."
            )
        if data.intensity == "window":
            intensity = Intensity(kind="window", low=data.window_low, high=data.window_high)
        else:
            intensity = Intensity(kind="minmax", scope="case", percentile=data.percentile)
        lesion = data.lesion if data.organ else ("*",)
        organ = (data.organ,) if data.organ else ()
        return Recipe(
            method=cls.name,
            dims=2,
            size=data.size,
            intensity=intensity,
            modalities=data.modality,
            channels=None if len(data.modality) > 1 else 1,
            needs=(*organ, *data.lesion),
            structures=(*organ, *data.lesion),
            min_foreground=data.min_foreground,
            draws=(
                Draw(name="abnormal", has=lesion, min_pixels=data.min_pixels),
                Draw(
                    name="normal",
                    has=organ,
                    lacks=lesion,
                    min_pixels=data.min_organ or data.min_pixels,
                ),
            ),
            around=(*organ, *data.lesion) if data.cut_to_organ else (),
            margin_mm=data.margin_mm if data.cut_to_organ else 0.0,
            balance=data.balance,
            edits=Edits(kind="keep", unit="sample", draw="normal"),
            tasks={"heal": Edits(kind="keep", unit="case")},
            split=data.split,
            patients=data.patients,
            seed=data.seed,
        )

    def play(self, batch: Mapping[str, Batch]) -> Scene:
        """Translate both ways, and back as far as the cycle terms ask for it."""
        numbers = self.settings.method
        scene: Scene = {}
        for kind in ("abnormal", "normal"):
            image, labels = batch[kind].image, batch[kind].labels
            organ = (labels == self.organ).unsqueeze(1).float()
            scene |= {kind: image, f"mask_{kind}": self.mask(labels), f"organ_{kind}": organ}
        scene["made_normal"] = self.a2n(scene["abnormal"])
        scene["made_abnormal"] = self.n2a(scene["normal"])
        if numbers.cycle_abnormal:
            scene["abnormal_again"] = self.n2a(scene["made_normal"])
        if numbers.cycle_normal:
            scene["normal_again"] = self.a2n(scene["made_abnormal"])
        for kind, made in (("abnormal", "made_normal"), ("normal", "made_abnormal")):
            for name in (kind, made):
                scene[f"seen_{name}"] = self.seen(scene[name], scene, kind)
        return scene

    def seen(self, image: Tensor, scene: Scene, kind: str) -> Tensor:
        """What critics see of a slice (B, C, H, W), or of what was made of it.

        With `critics_see=organ` the organ with its lesions, less the mean of its healthy part in
        the real slice, and 0 elsewhere: patients' levels and surroundings tell nothing then. With
        `both` C more channels, the slice first.
        """
        sight = self.settings.method.critics_see
        if sight == "slice":
            return image
        healthy = scene[f"organ_{kind}"]
        whole = healthy + scene[f"mask_{kind}"]
        some = healthy.sum(dim=(2, 3), keepdim=True) > 0
        part = torch.where(some, healthy, whole)
        pixels = part.sum(dim=(2, 3), keepdim=True).clamp(min=1)
        level = (scene[kind] * part).sum(dim=(2, 3), keepdim=True) / pixels
        alone = whole * (image - level)
        return alone if sight == "organ" else torch.cat([image, alone], dim=1)

    def players(self) -> list[Player]:
        """Both critics, then both generators together."""
        numbers = self.settings.method
        rate = numbers.learning_rate_critic
        return [
            Player("D_N", (self.d_n,), self.normal_critic_loss, critic=True, learning_rate=rate),
            Player("D_A", (self.d_a,), self.abnormal_critic_loss, critic=True, learning_rate=rate),
            Player(
                "G", (self.a2n, self.n2a), self.generator_loss, learning_rate=numbers.learning_rate
            ),
        ]

    def normal_critic_loss(self, scene: Scene) -> Terms:
        """D_N tells normal slices from healed ones."""
        real, fake = self.d_n(scene["seen_normal"]), self.d_n(scene["seen_made_normal"])
        return {"L_D": 0.5 * losses.lsgan_critic(real, fake)}

    def abnormal_critic_loss(self, scene: Scene) -> Terms:
        """D_A tells abnormal slices from those that N2A made."""
        real, fake = self.d_a(scene["seen_abnormal"]), self.d_a(scene["seen_made_abnormal"])
        return {"L_D": 0.5 * losses.lsgan_critic(real, fake)}

    def generator_loss(self, scene: Scene) -> Terms:
        """L_G, term by term."""
        numbers = self.settings.method
        terms = {
            "L_adv_N": losses.lsgan_generator(self.d_n(scene["seen_made_normal"])),
            "L_adv_A": losses.lsgan_generator(self.d_a(scene["seen_made_abnormal"])),
        }
        if numbers.cycle_abnormal:
            error = losses.l1(scene["abnormal"], scene["abnormal_again"])
            terms["AC"] = numbers.lambda_cc * error
        if numbers.cycle_normal:
            terms["NC"] = numbers.lambda_cc * losses.l1(scene["normal"], scene["normal_again"])
        if numbers.anomaly_mask:
            kept = (1 - scene["mask_abnormal"]) * (scene["made_normal"] - scene["abnormal"])
            terms["L_AM"] = numbers.lambda_am * (kept**2).mean()
        if numbers.lambda_change:
            drawn = losses.l1(scene["normal"], scene["made_abnormal"])
            terms["change"] = numbers.lambda_change * drawn
        return terms

    @torch.no_grad()
    def watch(self, scene: Scene) -> dict[str, float]:
        """How often each critic is right; half each is chance."""
        found = {}
        for name, critic, kind in (("D_N", self.d_n, "normal"), ("D_A", self.d_a, "abnormal")):
            real, fake = critic(scene[f"seen_{kind}"]), critic(scene[f"seen_made_{kind}"])
            on_real, on_fake = losses.accuracy(real, fake, threshold=0.5)
            found[f"{name}.accuracy_real"], found[f"{name}.accuracy_fake"] = on_real, on_fake
        return {name: float(value) for name, value in found.items()}

    def heal(self, image: Tensor) -> Tensor:
        """A2N: slices (B, C, H, W) without their lesions. No mask is needed."""
        return self.a2n(image)

    def make(self, source: Batch, chance: torch.Generator) -> Tensor:
        """N2A: the source slices with a lesion. Labels do not enter, chance neither."""
        return self.n2a(source.image)

    def sample(self, source: Batch, chance: torch.Generator, task: str = "") -> Made:
        """Task "": lesions drawn, labelled where the slice changed. "heal": lesions taken out.

        A label is given inside the organ where the recipe has one, else inside the body.
        """
        if task == "heal":
            healthy = torch.where(self.mask(source.labels)[:, 0] > 0, self.organ, source.labels)
            return Made(self.heal(source.image), healthy)
        image = self.make(source, chance)
        where = source.labels == self.organ if self.organ else body(source.image)
        lesion = self.lesion_of(difference_map(source.image, image), where)
        labels = torch.where(lesion, self.drawn, source.labels)
        notes = tuple({"lesion_pixels": int(pixels)} for pixels in lesion.sum(dim=(1, 2)))
        return Made(image, labels, notes)

    def segment(self, image: Tensor, threshold: float | None = None) -> Tensor:
        """Lesions as what A2N changes by more than `threshold`: bool (B, H, W). Cleaned."""
        return self.lesion_of(difference_map(image, self.heal(image)), body(image), threshold)

    def lesion_of(self, change: Tensor, where: Tensor, threshold: float | None = None) -> Tensor:
        """What changed as a lesion mask, bool (B, H, W); see `scansmith.labels.change.changed`."""
        numbers = self.settings.method
        limit = numbers.threshold if threshold is None else threshold
        return changed(change, where, limit, numbers.least_piece)

    def features(
        self, image: Tensor, layers: Sequence[str], network: Literal["a2n", "n2a"] = "a2n"
    ) -> dict[str, Tensor]:
        """What chosen layers of a generator show: name -> (B, channels, h, w).

        Args:
            layers: "conv1" to "conv3", "block1" to "block9", "deconv1", "deconv2", "conv4".
        Raises:
            SettingsError: no such layer.
        """
        generator = self.a2n if network == "a2n" else self.n2a
        unknown = [name for name in layers if name not in generator.layers]
        if unknown:
            raise SettingsError(
                f"layers: no {', '.join(unknown)} in {network}. Choose among "
                f"{', '.join(generator.layers)}."
            )
        seen: dict[str, Tensor] = {}

        def keep(name: str) -> Any:
            return lambda module, inputs, output: seen.update({name: output.detach()})

        hooks = [generator.layers[name].register_forward_hook(keep(name)) for name in layers]
        try:
            generator(image)
        finally:
            for hook in hooks:
                hook.remove()
        return seen

    def panels(self, source: Batch, chance: torch.Generator) -> dict[str, Tensor]:
        """Abnormal slices, healed, what changed, and back again; what N2A makes of each."""
        x = source.image
        healed = self.heal(x)
        change = difference_map(x, healed)
        return {
            "labels": source.labels,
            "real": x,
            "A2N(x)": healed,
            "|x - A2N(x)| twice": shown(change),
            "changed > threshold": self.lesion_of(change, body(x)).long(),
            "N2A(A2N(x))": self.n2a(healed),
        }

    def gallery(self, draws: Mapping[str, Batch], chance: torch.Generator) -> dict[str, Tensor]:
        """Beside `panels` of abnormal slices what becomes of normal ones."""
        normal = draws["normal"]
        made = self.sample(normal, chance)
        return self.panels(draws["abnormal"], chance) | {
            "normal": normal.image,
            "N2A(normal)": made.image,
            "label drawn": made.labels,
            "A2N(N2A(normal))": self.heal(made.image),
            "A2N(normal)": self.heal(normal.image),
        }

    def validate(self, source: Batch, chance: torch.Generator) -> dict[str, float]:
        """Of slices with lesion: how badly the change shows the lesion, and what else changed.

        First 1 - Dice of the lesion with what changed, cleaned, over all samples together: a
        generator that changes nothing keeps everything outside, and must not be the best.
        """
        x, mask = source.image, self.mask(source.labels)
        healed = self.heal(x)
        found = self.lesion_of(difference_map(x, healed), body(x))
        both = (found & (mask[:, 0] > 0)).sum()
        dice = 2 * both / (found.sum() + mask.sum()).clamp(min=1)
        return {
            "lesion_missed": 1 - float(dice),
            "mae_outside": float(losses.masked_l1(x, healed, 1 - mask)),
            "change_inside": float(losses.masked_l1(x, healed, mask)),
            "cycle": float(losses.l1(x, self.n2a(healed))),
        }

    def mask(self, labels: Tensor) -> Tensor:
        """M: labels (B, H, W) to zeros and ones (B, 1, H, W)."""
        lesion = torch.tensor(self.lesion, device=labels.device)
        return torch.isin(labels, lesion).unsqueeze(1).float()


def shown(change: Tensor) -> Tensor:
    """A change map (B, H, W) as a picture in -1..1 (B, 1, H, W): black is none, white is 0.5."""
    return (4 * change.unsqueeze(1) - 1).clamp(max=1)


def index_of(structures: Sequence[str], name: str) -> int:
    """Index of a structure by the name that settings give it."""
    plain = plain_name(name)
    wanted = plain if plain in structures else standard_name(name)
    if wanted not in structures:
        raise SettingsError(
            f"structure {name!r}: not among {', '.join(structures)}. Name one of these."
        )
    return list(structures).index(wanted)


def lesion_indices(structures: Sequence[str], names: Sequence[str], organ: int) -> list[int]:
    """Indices of the lesion's structures; without names all but background, organ and context."""
    if names:
        return [index_of(structures, name) for name in names]
    free = [k for k, name in enumerate(structures) if k not in (0, organ) and not is_context(name)]
    if not free:
        raise SettingsError(
            f"data.lesion: none of {', '.join(structures)} is left to be the lesion. Prepare data "
            "in which lesions are labelled."
        )
    return free
