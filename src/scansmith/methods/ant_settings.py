"""ANT-GAN's settings: the paper's numbers, its ablations, and what minutes of training need."""

from __future__ import annotations

from typing import Any, Literal

from scansmith.nets.resnet_generator import Shortcut
from scansmith.settings import DataSettings, Section, Settings, TrainSettings, number


class AntData(DataSettings):
    """Slices of 240 x 240 with lesion and without, each scan by its own range."""

    size: tuple[int, ...] = number((240, 240), "pixels of a slice; multiples of 4", "paper")
    lesion: tuple[str, ...] = number(
        (), "structures that make a slice abnormal; empty: all but the organ", "paper"
    )
    organ: str = number("", "structure that a normal slice must show, e.g. liver; empty: none")
    min_pixels: int = number(50, "an abnormal slice shows so many pixels of the lesion", gt=0)
    min_organ: int = number(
        0, "a normal slice shows so many pixels of the organ; 0: as min_pixels", ge=0
    )
    cut_to_organ: bool = number(
        False, "cut scans to the box round the organ; heal then needs to be told where it is"
    )
    margin_mm: float = number(10.0, "width of what is left round the organ, mm", ge=0)
    min_foreground: float = number(
        0.05, "slices with a smaller share of body are left out", ge=0, lt=1
    )
    intensity: Literal["minmax", "window"] = number(
        "minmax", "minmax: each scan's own range; window: clipped HU, for CT"
    )
    percentile: float = number(
        99.5, "of a scan that becomes 1, with intensity minmax", gt=50, le=100
    )
    window_low: float = number(-200.0, "HU that becomes -1, with intensity window")
    window_high: float = number(250.0, "HU that becomes 1, with intensity window")
    balance: Literal["case", "sample"] = number(
        "sample", "case: every scan counts alike, however many slices with lesion it has"
    )


class AntNumbers(Section):
    """The paper's numbers."""

    base: int = number(64, "channels of the first layer of A2N and N2A", "Table I", gt=0)
    critic_base: int = number(64, "channels of the first layer of D_N and D_A", "Table III", gt=0)
    blocks: int = number(9, "residual blocks", "Table I", gt=0)
    deconv1: Literal[256, 128] = number(
        256, "channels of the first upconv at base 64; 128 is CycleGAN's", "Table II"
    )
    shortcut: Shortcut = number(
        "add", "A2N: add x + tanh(h); inside tanh(x + h); none tanh(h)", "paper"
    )
    shortcut_back: Shortcut = number("none", "N2A: as shortcut; the paper's N2A has none", "paper")
    critic_halvings: int = number(
        3, "strided layers of the critics: 3 see patches of 70 pixels, 2 of 34, 1 of 16",
        "Table III", ge=1, le=5,
    )  # fmt: skip
    critics_see: Literal["slice", "organ", "both"] = number(
        "slice",
        "organ: critics are shown the organ alone, relative to the mean of its healthy part; both: "
        "that beside the slice",
        "our choice",
    )
    cycle_abnormal: bool = number(True, "the term AC", "eq. 4")
    cycle_normal: bool = number(True, "the term NC", "eq. 4")
    anomaly_mask: bool = number(True, "the term L_AM", "paper")
    lambda_cc: float = number(10.0, "weight of L_CC", "paper", ge=0)
    lambda_am: float = number(10.0, "weight of L_AM", "paper", ge=0)
    lambda_change: float = number(
        0.0,
        "weight of mean |N2A(x_n) - x_n|, so that N2A changes one place; not in the paper",
        ge=0,
    )
    pool: int = number(50, "made slices of each kind that critics may see again", "paper", ge=0)
    learning_rate: float = number(2e-4, "Adam, A2N and N2A", "paper", gt=0)
    learning_rate_critic: float = number(2e-4, "Adam, D_N and D_A", "paper", gt=0)
    threshold: float = number(
        0.1, "change of intensity, of 0..1, that counts as lesion", "Fig. 9", gt=0, lt=1
    )
    least_piece: int = number(
        20, "pixels; smaller pieces of what changed are not labelled", "our choice", ge=0
    )
    drawn_as: str = number("", "structure that new lesions are labelled as; empty: first lesion")


class AntSettings(Settings):
    """ANT-GAN's settings."""

    data: AntData = AntData()
    method: AntNumbers = AntNumbers()
    train: TrainSettings = TrainSettings(steps=300_000, checkpoint_every=5000, log_every=100)


def _ablation(ac: bool, nc: bool, shortcut: str, mask: bool) -> dict[str, Any]:
    return {
        "method.cycle_abnormal": ac,
        "method.cycle_normal": nc,
        "method.shortcut": shortcut,
        "method.anomaly_mask": mask,
    }


#: Fig. 5 and Table IV: what each adds to the one before.
ABLATIONS = {
    "gan": _ablation(False, False, "none", False),
    "gan-ac": _ablation(True, False, "none", False),
    "gan-nc": _ablation(False, True, "none", False),
    "cyclegan": _ablation(True, True, "none", False),
    "shortcut": _ablation(True, True, "add", False),
    "ant-gan": _ablation(True, True, "add", True),
}

#: For two CPU cores: 64 x 64, narrow, patches of 34 pixels; docs/methods/ant_gan.md says why.
CPU: dict[str, Any] = {
    "data.size": (64, 64),
    "data.split": (0.7, 0.1, 0.2),
    "data.min_pixels": 10,
    "data.min_foreground": 0.3,
    "method.base": 16,
    "method.critic_base": 24,
    "method.critic_halvings": 2,
    "method.blocks": 4,
    "method.shortcut_back": "add",
    "method.lambda_cc": 2.0,
    "method.lambda_am": 50.0,
    "method.lambda_change": 2.0,
    "method.learning_rate": 3e-4,
    "method.learning_rate_critic": 3e-4,
    "train.augment.flips": (1,),
    "method.least_piece": 4,
    "train.batch": 2,
    "train.steps": 1500,
    "train.checkpoint_every": 500,
    "train.log_every": 20,
}

#: The same for tumours in CT of an organ that is labelled: 128 x 128 round the organ.
LIVER: dict[str, Any] = CPU | {
    "data.size": (128, 128),
    "data.split": (0.75, 0.05, 0.2),
    "data.intensity": "window",
    "data.window_low": -40.0,
    "data.window_high": 160.0,
    "data.organ": "liver",
    "data.lesion": ("tumour",),
    "data.cut_to_organ": True,
    "data.min_pixels": 60,
    "data.min_organ": 1500,
    "data.balance": "case",
    "method.critics_see": "both",
    "train.steps": 4000,
}
