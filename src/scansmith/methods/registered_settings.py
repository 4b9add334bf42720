"""The registered multimodal method's numbers: data, networks, filters, and the weight of each term.

Sources: "paper" is the paper's text, "code" its published code of the same date (the paper writes
weights as letters without values).
"""

from __future__ import annotations

from typing import Literal

from scansmith.nets.fusion import Scheme
from scansmith.nets.norm_relu import Init
from scansmith.settings import DataSettings, Section, Settings, TrainSettings, number


class RegisteredData(DataSettings):
    """Slices of several modalities, 184 x 144, each volume's own range as 0..1."""

    size: tuple[int, ...] = number((184, 144), "pixels of a slice: H, W", "code")
    fit: Literal["crop", "resize"] = number("crop", "crop at the native grid, or resample", "code")
    lesion: tuple[str, ...] = number((), "structures that are lesion; empty: all labels")
    min_lesion_pixels: int = number(1, "a label for training has at least so many pixels", gt=0)
    min_foreground: float = number(
        0.25, "slices with a smaller share of brain are left out", ge=0, le=1
    )
    percentile: float = number(100.0, "of a volume that becomes 1", "code", gt=50, le=100)
    split: tuple[float, float, float] = number(
        (0.9, 0.0, 0.1), "shares of patients for training, validation, test", "paper"
    )


class StructureWeights(Section):
    """Stage A: the structure VAE (first letters: C code critic, D structure critic)."""

    c: float = number(0.1, "C: normal noise is real, codes are not", "code", ge=0)
    d: float = number(0.001, "D: structure maps are real, generated ones not", "code", ge=0)
    code_adversarial: float = number(0.1, "codes pass as normal noise", "code", ge=0)
    f_adversarial: float = number(100.0, "generated structure maps pass as real", "code", ge=0)
    normal: float = number(0.1, "code mean 0, code sd 1; each", "code", ge=0)
    kl: float = number(0.0, "KL divergence of each code from N(0, 1), a mean over numbers", ge=0)
    rec: float = number(50.0, "structure map and its reconstruction", "code", ge=0)
    rec_classes: float = number(50.0, "the same over both channels", "code", ge=0)
    edge_class: float = number(5.0, "weight of edge pixels in rec_classes", "code: target 5", gt=0)
    rec_background: float = number(5.0, "no reconstructed edge in the background", "code", ge=0)
    mask: float = number(25.0, "MASK: background channel", "code", ge=0)
    mask_classes: float = number(25.0, "MASK: both channels", "code", ge=0)
    mask_edges: float = number(5.0, "MASK: edges lie in the brain; three terms, each", "code", ge=0)


class SynthesisWeights(Section):
    """Stage B. Terms over modalities or pairs are sums over them."""

    d_real: float = number(100.0, "D: real images are real", "code", ge=0)
    d_category: float = number(100.0, "D: the modality of real images", "code", ge=0)
    d_category_made: float = number(0.0, "D: the modality of made ones (the paper asks)", "code")
    d_translated: float = number(10.0, "D: translated images are not real", "code", ge=0)
    d_made: float = number(70.0, "D: synthetic images are not real", "code", ge=0)
    fd_real: float = number(1.0, "FD: codes of real images are real", "code", ge=0)
    fd_made: float = number(4.0, "FD: codes of the fusion are not", "code", ge=0)

    adversarial_translated: float = number(10.0, "translated images pass as real", "code", ge=0)
    category_translated: float = number(100.0, "and show their modality", "code", ge=0)
    rec: float = number(5.0, "image and its reconstruction", "code", ge=0)
    cycle: float = number(10.0, "image, to another modality and back", "code", ge=0)
    cycle_pairs: float = number(2.0, "over different modalities alike", "code", ge=0)
    code: float = number(5.0, "an image and its translation have one code", "code", ge=0)
    code_pairs: float = number(1.0, "and so have its translations", "code", ge=0)
    background_translated: float = number(1.0, "nothing outside the brain", "code", ge=0)
    background_rec: float = number(0.5, "nothing outside the brain", "code", ge=0)

    adversarial: float = number(70.0, "synthetic images pass as real", "code", ge=0)
    category: float = number(100.0, "and show their modality", "code", ge=0)
    fd: float = number(4.0, "codes of the fusion pass as those of real images", "code", ge=0)
    fd_code: float = number(1.0, "and the other way round", "code", ge=0)
    f: float = number(15.0, "structure map asked for and that of the image", "code", ge=0)
    f_pairs: float = number(5.0, "modalities have one structure map", "code", ge=0)
    lesion: float = number(1.0, "segmentors find the label in the image", "code", ge=0)
    registration: float = number(20.0, "synthetic image and the translated others", "code", ge=0)
    registration_pairs: float = number(5.0, "and these among each other", "code", ge=0)
    code_made: float = number(1.0, "code of the fusion and of the images", "code", ge=0)
    code_made_pairs: float = number(0.2, "and these among each other", "code", ge=0)
    background: float = number(1.5, "nothing outside the brain", "code", ge=0)

    own: float = number(
        0.0, "a real slice drawn from its own structure map and label equals the slice", ge=0
    )

    own_lesion: float = number(1.0, "weight of lesion pixels in it, others weigh 1", gt=0)

    guide_classes: tuple[float, ...] = number(
        (2.5, 25.0, 125.0), "of guiding segmentors' classes, background first, last repeats", "code"
    )
    judge_classes: tuple[float, ...] = number(
        (1.0, 5.0, 15.0), "the same for judging segmentors", "code"
    )


class RegisteredNumbers(Section):
    """The paper's numbers; where it is silent, its published code's."""

    stages: Literal["both", "structure", "synthesis"] = number(
        "both", "what to train; generation needs both"
    )
    base: int = number(64, "channels of the first layer of every network", "code", gt=0)
    base_images: int = number(
        0, "the same of stage B's encoders of images and fusions and its decoder; 0: base", ge=0
    )
    latent: int = number(4096, "numbers of the structure code; a square", "code", gt=3)
    cap: float = number(0.0, "largest output of a ReLU (the code's: 100); 0: none", ge=0)
    dropout: float = number(0.1, "at every network's input", "paper", ge=0, lt=1)
    head_norm: bool = number(
        True, "instance norm before the sigmoid that makes images, structure maps, masks", "code"
    )
    condition: Literal["map", "norm"] = number(
        "map",
        "how the decoder learns which modality to draw; map: a one-hot map beside the code; norm: "
        "and a scale and shift of its own in every norm",
        "code",
    )
    segmentor_norm: bool = number(True, "the same in segmentors", "code")
    norm_least: int = number(
        2, "maps of fewer pixels are normalised over all channels together", gt=1
    )
    init: Init = number("normal", "averaging: all filters start as averages, as in the code")
    scheme: Scheme = number("4seg", "which guiding segmentors are shared", "paper, 2.7")
    category: Literal["number", "softmax"] = number(
        "number", "number: least squares to 0, 1, 2, ...; softmax: cross-entropy", "paper"
    )
    translations: Literal["all", "one"] = number(
        "all", "all: every modality to every other; one: to one other, drawn each step", "code"
    )
    structure_sources: Literal["one", "all"] = number(
        "one", "slices that stage A sees in a step; all: those of every draw", "code"
    )
    beta_structure: float = number(0.07, "threshold of structure maps in stage A", "code", gt=0)
    beta: float = number(0.12, "threshold of structure maps in stage B", "code", gt=0)
    smooth: float = number(0.0, "sd in pixels of a blur before structure maps are taken", ge=0)
    edges: Literal["probability", "chosen"] = number(
        "probability",
        "what D_f sees of made structure maps; chosen: zeros and ones, gradient passed through",
    )
    tau: float = number(0.02, "softness of that threshold in losses", gt=0)
    f_loss: Literal["soft", "hard"] = number(
        "soft", "hard: as printed; its gradient is zero, so it trains nothing"
    )
    mask_grow: int = number(5, "p of Algorithm 2, pixels", "code", ge=0)
    mask_above: float = number(0.0, "Algorithm 2: brain is what is brighter", "paper", ge=0, lt=1)
    mask_above_training: float = number(0.1, "the same in stage B's training", "code", ge=0, lt=1)
    mask_filled: bool = number(False, "holes in the brain's mask count as brain")
    learning_rate: float = number(1e-4, "Adam, stage B's encoders and decoder", "paper", gt=0)
    learning_rate_structure: float = number(1e-4, "Adam, structure VAE and MASK", "paper", gt=0)
    learning_rate_segmentors: float = number(1e-4, "Adam, guides and judges", "paper", gt=0)
    learning_rate_critic: float = number(1e-4, "Adam, critics", "paper", gt=0)
    lesion_slices: bool = number(
        False, "segmentors also learn from the slice that the label is taken from"
    )

    structure_filter: bool = number(True, "Algorithm 3 on generated structure maps", "paper")
    structure_score: float = number(0.85, "D's mean score that is enough", "code")
    structure_mae: float = number(0.048, "else MAE of MASK and filled contours", "code", ge=0)
    structure_tries: int = number(50, "then the try with the best score", "code", gt=0)
    label_tries: int = number(100, "structure maps tried until one holds the label", "code", gt=0)
    image_filter: bool = number(True, "keep images in which judges find the label", "paper")
    filter_dice: float = number(
        0.95, "label-value Dice, mean over modalities, to pass", "paper", ge=0, le=1
    )
    tries: int = number(50, "images made for one sample before giving up", gt=0)

    structure: StructureWeights = StructureWeights()
    weights: SynthesisWeights = SynthesisWeights()


class RegisteredSettings(Settings):
    """The registered multimodal method's settings."""

    data: RegisteredData = RegisteredData()
    method: RegisteredNumbers = RegisteredNumbers()
    train: TrainSettings = TrainSettings(
        steps=1_342_000, batch=1, checkpoint_every=1000, log_every=100
    )
