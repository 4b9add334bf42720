"""MAGAN: paint a tumour into a liver CT slice where a mask says.

    r    real slice                       (B, 1, S, S)
    T    tumour mask, 0 or 1              (B, 1, S, S)
    w    r with T set to white (4096 raw units)
    m    T times white, raw 0 elsewhere
    G    generator: G(w, m)               two contracting paths joined by attention
    D    critic: D(w, image)              patches of 142 x 142 at 512 pixels

    L_L1   = mean |r - G|                                    (eq. 3)
    L_D    = -mean log D(w, r) - mean log(1 - D(w, G))       (eq. 4, minimised)
    L_adv  = -mean log D(w, G)                               (non-saturating)
    L_G    = lambda_l1 L_L1 + lambda_adv L_adv               (eq. 5; Table 2: 100 and 1)

The paper's text hands G the real slice itself ("literal"), which lets it copy the answer. By
default G sees w and m only. Settings beyond the paper's are off unless a preset turns them on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from scansmith import losses
from scansmith.game import Player, Scene, Terms
from scansmith.labels.table import CONTEXT, standard_name
from scansmith.methods.base import Method
from scansmith.methods.masks import feathered, random_points
from scansmith.nets.blocks import Norm, initialise
from scansmith.nets.patch_critic import PatchCritic, crop_round
from scansmith.nets.two_path_unet import Dilation, Skip, TwoPathUNet, path_widths
from scansmith.nets.unet import Pix2PixUNet
from scansmith.recipe import Draw, Edits, Facts, Intensity, Recipe, Regions
from scansmith.scan import Batch, SettingsError
from scansmith.settings import DataSettings, Section, Settings, TrainSettings, number

WHITE_RAW = 4096.0  # "white" in raw units, paper 2.1
ENOUGH_ORGAN = 50  # pixels of the organ that tell its mean


class MaganData(DataSettings):
    """Slices with tumour, 512 x 512."""

    size: tuple[int, ...] = number((512, 512), "pixels of a slice; square, a power of two", "paper")
    lesion: str = number("tumour", "structure that is painted")
    organ: str = number(
        "liver",
        "structure that new tumours are placed in; context: the body less a rim, where a set "
        "labels lesions alone",
    )
    rim_mm: float = number(
        12.0, "with organ context: scalp and skull, which no lesion is placed in", ge=0
    )
    min_tumour_pixels: int = number(1, "a training slice has at least so many tumour pixels", gt=0)
    intensity: Literal["zscore", "window"] = number(
        "zscore", "zscore: data set's mean and sd, linear head; window: clipped HU, tanh", "eq. 6"
    )
    window_low: float = number(-200.0, "HU, with intensity window")
    window_high: float = number(250.0, "HU, with intensity window")
    balance: Literal["case", "sample"] = number(
        "sample", "case: every scan counts alike, however many tumour slices it has"
    )


class MaganNumbers(Section):
    """The paper's numbers, and remedies that are off by default."""

    base: int = number(64, "channels of the first block", "pix2pix", gt=0)
    generator: Literal["magan", "pix2pix"] = number("magan", "pix2pix: plain U-Net, the baseline")
    inputs: Literal["masked", "literal"] = number(
        "masked", "literal: the real slice enters G, as the text says (leaks the answer)"
    )
    mask_to_both: bool = number(False, "the image path sees the mask map too, at full resolution")
    dilation: Dilation = number(
        "after", "none is the paper's ablation; strided drops 3/4 of pixels"
    )
    skip: Skip = number("add", "none is the paper's ablation 'no residual'", "paper")
    max_keys: int = number(1024, "positions that attention keeps at most", gt=0)
    norm: Norm = number("instance", "equals batch norm at the paper's batch of 1")
    init: Literal["normal", "skips-first"] = number(
        "normal",
        "skips-first: G starts by handing its input on, so that it learns sooner",
        "pix2pix",
    )
    learning_rate: float = number(2e-4, "Adam, G", "Table 2", gt=0)
    learning_rate_critic: float = number(2e-4, "Adam, D", "Table 2", gt=0)
    dropout: float = number(0.5, "in the first three expanding blocks", "Table 2", ge=0, lt=1)
    lambda_l1: float = number(100.0, "weight of L_L1", "Table 2", ge=0)
    lambda_adv: float = number(1.0, "weight of L_adv", "Table 2", ge=0)
    lambda_tumour: float = number(0.0, "weight of a further L1 inside T", ge=0)
    critic_crop: int = number(
        0, "D sees squares of this side round the tumour; 0: whole slice", ge=0
    )
    critic_base: int = number(0, "channels of D's first layer; 0: as base", ge=0)
    critic_slope: float = number(0.2, "of D's LeakyReLU; 0 is the text's ReLU", "pix2pix", ge=0)
    level: Literal["absolute", "organ"] = number(
        "absolute", "organ: G and D see intensities relative to the organ's mean in the slice"
    )
    level_raw: float = number(100.0, "organ's mean, raw units, in slices that hardly show it")
    jitter: float = number(0.0, "training: random shift and gain of intensities up to this", ge=0)
    grain: float = number(
        0.0, "sd of noise that G sees inside T, network units: what texture can grow from", ge=0
    )
    paste: Literal["none", "hard", "feather"] = number(
        "feather", "what make() returns: G whole (paper), or set into the source slice"
    )
    feather_pixels: float = number(1.5, "sd of the soft edge with paste feather", gt=0)


class MaganSettings(Settings):
    """MAGAN's settings."""

    data: MaganData = MaganData()
    method: MaganNumbers = MaganNumbers()
    train: TrainSettings = TrainSettings(steps=45_550, checkpoint_every=500, log_every=100)


class Magan(Method):
    """Mask-attention GAN for tumours in liver CT."""

    name = "magan"
    title = "MAGAN: paint a tumour where a mask says"
    paper = "Liu, Meng and Zhong, J. Healthcare Engineering 2021, 6675259"
    needs = "CT slices with the organ and the lesion labelled"
    settings_type = MaganSettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "cpu": {
            "data.size": (128, 128),
            "data.split": (0.7, 0.1, 0.2),
            "data.intensity": "window",
            "data.balance": "case",
            "data.min_tumour_pixels": 8,
            "method.base": 32,
            "method.init": "skips-first",
            "method.level": "organ",
            "method.mask_to_both": True,
            "method.learning_rate": 5e-4,
            "method.learning_rate_critic": 1e-4,
            "method.lambda_tumour": 50.0,
            "method.critic_crop": 64,
            "method.max_keys": 256,
            "method.jitter": 0.1,
            "method.grain": 0.5,
            "train.augment.flips": (0, 1),
            "method.dropout": 0.2,
            "train.batch": 4,
            "train.steps": 3000,
            "train.log_every": 20,
        },
    }

    settings: MaganSettings

    def __init__(self, settings: MaganSettings, facts: Facts):
        super().__init__(settings, facts)
        numbers, side = settings.method, facts.size[0]
        self.lesion = facts.structures.index(standard_name(settings.data.lesion))
        self.organ = facts.structures.index(standard_name(settings.data.organ))
        self.bounded = settings.data.intensity == "window" and numbers.level == "absolute"
        if numbers.generator == "magan":
            self.generator: torch.nn.Module = TwoPathUNet(
                side,
                numbers.base,
                image_inputs=2 if numbers.mask_to_both else 1,
                dilation=numbers.dilation,
                skip=numbers.skip,
                norm_kind=numbers.norm,
                dropout=numbers.dropout,
                max_keys=numbers.max_keys,
                tanh=self.bounded,
            )
        else:
            self.generator = Pix2PixUNet(
                2, 1, path_widths(side, numbers.base), norm_kind=numbers.norm,
                dropout=numbers.dropout, tanh=self.bounded,
            )  # fmt: skip
        seen = numbers.critic_crop or side
        strided = min(4, int(math.log2(seen)) - 3)
        base = numbers.critic_base or numbers.base
        self.critic = PatchCritic(
            2, [min(base * 2**k, base * 8) for k in range(strided + 1)], [2] * strided + [1],
            norm_kind=numbers.norm, slope=numbers.critic_slope,
        )  # fmt: skip
        initialise(self, "normal")
        if numbers.init == "skips-first" and isinstance(self.generator, TwoPathUNet):
            self.generator.let_skips_lead()
        codec = facts.codecs[0]
        self.white = float(codec.encode(torch.tensor(WHITE_RAW).numpy()))
        self.zero = float(codec.encode(torch.tensor(0.0).numpy()))
        self.usual_level = float(codec.encode(torch.tensor(numbers.level_raw).numpy()))

    @classmethod
    def recipe(cls, settings: Settings) -> Recipe:
        """Axial slices of one modality that show the lesion."""
        assert isinstance(settings, MaganSettings)
        data = settings.data
        side = data.size[0]
        if len(data.size) != 2 or data.size[1] != side or side & (side - 1) or side < 32:
            raise SettingsError(
                f"data.size: found {data.size}, expected two equal powers of two from 32 up. "
                "For example --set data.size=128,128."
            )
        window, alone = data.intensity == "window", data.organ == CONTEXT
        return Recipe(
            method=cls.name,
            dims=2,
            size=data.size,
            modalities=data.modality,
            intensity=Intensity(kind="window", low=data.window_low, high=data.window_high)
            if window
            else Intensity(kind="zscore", scope="dataset"),
            needs=(data.lesion,) if alone else (data.organ, data.lesion),
            structures=(data.lesion,) if alone else (data.organ, data.lesion),
            regions=Regions(kind="inside", rim_mm=data.rim_mm) if alone else None,
            draws=(Draw(name="abnormal", has=(data.lesion,), min_pixels=data.min_tumour_pixels),),
            balance=data.balance,
            edits=Edits(kind="place", lesion=(data.lesion,), organ=(data.organ,)),
            split=data.split,
            patients=data.patients,
            seed=data.seed,
        )

    def inputs(self, r: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the two paths of G and the critic's condition see: (image, map, w)."""
        w = torch.where(t > 0, self.white, r)
        if self.settings.method.inputs == "literal":
            return r, w, w
        m = torch.where(t > 0, self.white, torch.full_like(r, self.zero))
        return w, m, w

    def generate(
        self,
        image: Tensor,
        mask_map: Tensor,
        t: Tensor,
        chance: torch.Generator | None = None,
    ) -> Tensor:
        """G, whichever network it is, with `grain` inside T from `chance` (PyTorch's if None).

        A large tumour is one white patch to G: without grain nothing tells its pixels apart but
        where they lie in the strides, and what texture D asks for comes out as a mesh.
        """
        if grain := self.settings.method.grain:
            noise = torch.randn(t.shape, generator=chance).to(t)
            image = image + grain * noise * t
        if isinstance(self.generator, Pix2PixUNet):
            return self.generator(torch.cat([image, mask_map], dim=1))
        if self.settings.method.mask_to_both:
            image = torch.cat([image, mask_map], dim=1)
        return self.generator(image, mask_map)

    def play(self, batch: Mapping[str, Batch]) -> Scene:
        """Whiten the tumours and have G paint them."""
        samples = batch["abnormal"]
        r, t = self.jittered(samples.image - self.levels(samples)), self.mask(samples)
        image, mask_map, w = self.inputs(r, t)
        made = self.generate(image, mask_map, t)
        scene = {"real": r, "made": made, "condition": w, "mask": t}
        seen = {"seen_real": r, "seen_made": made, "seen_condition": w}
        if side := self.settings.method.critic_crop:
            centres = random_points(t)
            seen = {name: crop_round(x, centres, side) for name, x in seen.items()}
        return scene | seen

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
        """D's map of logits for the real or the made slice, or the square that D sees of it."""
        return self.critic(torch.cat([scene["seen_condition"], scene[f"seen_{image}"]], dim=1))

    def critic_loss(self, scene: Scene) -> Terms:
        """Eq. 4, minimised."""
        real = self.judge(scene, "real")
        fake = self.judge(scene, "made")
        return {"L_D": losses.bce_critic(real, fake)}

    def generator_loss(self, scene: Scene) -> Terms:
        """Eq. 5: lambda_l1 L_L1 + lambda_adv L_adv (and L1 inside T, if wanted)."""
        numbers = self.settings.method
        fake = self.judge(scene, "made")
        terms = {
            "L_L1": numbers.lambda_l1 * losses.l1(scene["real"], scene["made"]),
            "L_adv": numbers.lambda_adv * losses.bce_generator(fake),
        }
        if numbers.lambda_tumour:
            inside = losses.masked_l1(scene["real"], scene["made"], scene["mask"])
            terms["L_tumour"] = numbers.lambda_tumour * inside
        return terms

    @torch.no_grad()
    def watch(self, scene: Scene) -> dict[str, float]:
        """How often D is right; half each is chance."""
        real = self.judge(scene, "real")
        fake = self.judge(scene, "made")
        on_real, on_fake = losses.accuracy(real, fake, threshold=0.0)
        return {"D.accuracy_real": float(on_real), "D.accuracy_fake": float(on_fake)}

    def paint(self, source: Batch, chance: torch.Generator) -> Tensor:
        """G's whole output for the lesions in the labels, (B, 1, S, S)."""
        levels, t = self.levels(source), self.mask(source)
        image, mask_map, _ = self.inputs(source.image - levels, t)
        return self.limited(self.generate(image, mask_map, t, chance) + levels)

    def levels(self, source: Batch) -> Tensor:
        """What is subtracted from each slice, network range: (B, 1, 1, 1); zeros if absolute.

        The mean of the organ around the lesions, so of what is seen of it: never of the lesion.
        """
        levels = torch.zeros_like(source.image[:, :1, :1, :1])
        if self.settings.method.level == "organ":
            organ = (source.labels == self.organ).unsqueeze(1)
            pixels = organ.sum(dim=(2, 3), keepdim=True)
            mean = (source.image * organ).sum(dim=(2, 3), keepdim=True) / pixels.clamp(min=1)
            levels = torch.where(pixels >= ENOUGH_ORGAN, mean, self.usual_level)
        return levels

    def limited(self, image: Tensor) -> Tensor:
        """Clipped to the network range, where the codec clips."""
        return image.clamp(-1, 1) if self.settings.data.intensity == "window" else image

    def make(self, source: Batch, chance: torch.Generator) -> Tensor:
        """Paint every lesion of the labels; outside them as `paste` says."""
        return self.pasted(source, self.paint(source, chance))

    def pasted(self, source: Batch, painted: Tensor) -> Tensor:
        """The painted lesions in the source slice, or all that was painted with paste none."""
        paste = self.settings.method.paste
        if paste == "none":
            return painted
        t = self.mask(source)
        share = t if paste == "hard" else feathered(t, self.settings.method.feather_pixels)
        return source.image + share * (painted - source.image)

    def panels(self, source: Batch, chance: torch.Generator) -> dict[str, Tensor]:
        """What G saw (but for grain), what it made, what is handed on, what was there."""
        painted = self.paint(source, chance)
        return {
            "labels": source.labels,
            "masked": self.inputs(source.image, self.mask(source))[2],
            "G": painted,
            "made": self.pasted(source, painted),
            "real": source.image,
        }

    def validate(self, source: Batch, chance: torch.Generator) -> dict[str, float]:
        """Mean absolute error of G inside the tumour and over the slice, network range."""
        made, t = self.paint(source, chance), self.mask(source)
        return {
            "mae_inside": float(losses.masked_l1(source.image, made, t)),
            "mae": float(losses.l1(source.image, made)),
        }

    def mask(self, batch: Batch) -> Tensor:
        """T as (B, 1, S, S) of zeros and ones."""
        return (batch.labels == self.lesion).unsqueeze(1).to(batch.image.dtype)

    def jittered(self, r: Tensor) -> Tensor:
        """Slices (B, 1, S, S) in other contrast and brightness, sample by sample, if asked."""
        jitter = self.settings.method.jitter
        if not jitter:
            return r
        gain, shift = jitter * (2 * torch.rand(2, len(r), 1, 1, 1, device=r.device) - 1)
        r = r * (1 + gain) + shift
        return r.clamp(-1, 1) if self.bounded else r
