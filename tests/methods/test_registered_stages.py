"""Both stages of the registered multimodal method: every loss term, worked by hand."""

import math

import pytest
import torch
from torch import nn

from scansmith.methods.registered_settings import RegisteredSettings
from scansmith.methods.registered_structure import StructureStage, chosen
from scansmith.methods.registered_synthesis import SynthesisStage
from scansmith.settings import load_settings

TINY = {"method.base": 2, "method.latent": 16}
SIZE = (16, 16)


class Says(nn.Module):
    """A critic (or segmentor) of one opinion."""

    def __init__(self, *values, shape=(1, 2, 2)):
        super().__init__()
        self.values, self.shape = values, shape

    def forward(self, x):
        maps = tuple(torch.full((len(x), *self.shape), value) for value in self.values)
        return maps if len(maps) > 1 else maps[0]


class Undecided(nn.Module):
    """Segmentors that give every class one half."""

    def forward(self, images):
        return torch.full((len(images), images.shape[1], 3, *images.shape[-2:]), 0.5)


def numbers(**sets):
    preset = TINY | {f"method.{name.replace('__', '.')}": value for name, value in sets.items()}
    return load_settings(RegisteredSettings, preset=preset).method


def check(terms, wanted):
    assert set(terms) == set(wanted)
    for name, value in wanted.items():
        torch.testing.assert_close(float(terms[name]), value, msg=lambda m, n=name: f"{n}: {m}")


def same(batched, alone):
    """Equal but for the rounding of another order of sums."""
    torch.testing.assert_close(batched, alone, atol=1e-3, rtol=0)


def structure_scene():
    """2 x 2 pixels: one edge, one pixel of background."""
    f = torch.tensor([[1.0, 0.0], [0.0, 0.0]]).view(1, 1, 2, 2)
    mask = torch.tensor([[0.0, 0.0], [0.0, 1.0]]).view(1, 1, 2, 2)
    return {
        "A.f": f,
        "A.mask": mask,
        "A.mean": torch.full((1, 16), 0.2),
        "A.sd": torch.full((1, 16), 1.5),
        "A.code": torch.zeros(1, 16),
        "A.z": torch.zeros(1, 16),
        "A.f_r": torch.full((1, 2, 2, 2), 0.5),
        "A.f_g": torch.full((1, 2, 2, 2), 0.25),
    }


def test_stage_a_generator_terms():
    stage = StructureStage(numbers(), SIZE)
    stage.critic, stage.code_critic = Says(0.5), Says(0.5)
    wanted = {
        "f_adversarial": 100 * 0.25,  # (0.5 - 1)^2
        "code_adversarial": 0.1 * 0.25,
        "normal": 0.1 * (0.2**2 + 0.5**2),
        "rec": 50 * 0.25,
        "rec_classes": 50 * 0.25 * (5 + 3) / 4,  # the edge pixel weighs 5, three others 1
        "rec_background": 5 * 0.5**2 / 4,  # one pixel of four is background
    }
    check(stage.generator_loss(structure_scene()), wanted)


def test_stage_a_critic_terms():
    stage = StructureStage(numbers(), SIZE)
    stage.critic, stage.code_critic = Says(0.5), Says(0.5)
    # (0.5 - 1)^2 + 0.5^2 = 0.5
    check(stage.critic_loss(structure_scene()), {"f": 0.001 * 0.5, "code": 0.1 * 0.5})


def test_stage_a_mask_terms():
    stage = StructureStage(numbers(), SIZE)
    both = torch.tensor([0.5, 0.25]).view(1, 2, 1, 1).expand(2, 2, 2, 2)  # brain, background
    stage.masks = lambda f: both
    background = (0.75**2 + 3 * 0.25**2) / 4
    brain = 0.5**2
    # f is 1 on one pixel of four, f_r 0.5 and f_g 0.25 everywhere; times the background, 0.25
    edges = 0.25**2 / 4 + (0.5 * 0.25) ** 2 + (0.25 * 0.25) ** 2
    wanted = {
        "mask": 25 * background,
        "mask_classes": 25 * (brain + background) / 2,
        "mask_edges": 5 * edges,
    }
    check(stage.mask_loss(structure_scene()), wanted)


def test_the_larger_channel_is_chosen_and_no_edge_where_they_are_equal():
    two = torch.tensor([[0.2, 0.6, 0.5], [0.3, 0.4, 0.5]]).view(1, 2, 1, 3)
    assert chosen(two).flatten().tolist() == [1, 0, 0]


def stage_b(**sets):
    torch.manual_seed(0)
    stage = SynthesisStage(numbers(**sets), (4, 4), modalities=3, classes=3)
    stage.critic, stage.code_critic = Says(0.5, 1.0), Says(0.5)
    stage.segmentors, stage.judges = Undecided(), Undecided()
    return stage


def each(*values, shape=(1, 1, 4, 4)):
    """Modality (or shift) by modality one constant."""
    return torch.stack([torch.full(shape, value) for value in values])


def synthesis_scene():
    """Three modalities of 4 x 4 pixels, both translations of each; half of it background."""
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., :2] = 1
    f, l = torch.zeros(1, 1, 4, 4), torch.zeros(1, 4, 4, dtype=torch.long)  # noqa: E741
    f[..., 0, 0] = 1
    f[..., 3, 3] = 1
    l[:, 3, 3] = 2
    every = (3, 1, 1, 4, 4)
    scene = {
        "x": torch.zeros(every),
        "taught_x": torch.zeros(every),
        "taught_l": torch.zeros(3, 1, 4, 4, dtype=torch.long),
        "masks": mask.expand(every),
        "x_r": torch.full(every, 0.1),
        "x_t": torch.full((2, *every), 0.2),
        "x_c": each(0.3, 0.5, shape=every),
        "code": torch.zeros(3, 1, 16, 1, 1),
        "code_t": each(0.1, 0.3, shape=(3, 1, 16, 1, 1)),
        "to": torch.tensor([[1, 2, 0], [2, 0, 1]]),
        "f": f,
        "l": l,
        "mask": mask,
        "code_g": torch.zeros(1, 16, 1, 1),
        "x_g": each(0.1, 0.2, 0.4),
        "code_x": each(0.1, 0.2, 0.4, shape=(1, 16, 1, 1)),
        "x_gt": each(0.2, 0.3, shape=every),
    }
    return {f"B.{name}": tensor for name, tensor in scene.items()}


def test_stage_b_translation_terms():
    # Six ways i -> j. The critic says 0.5 and category 1 for all: (1 - target)^2 over the targets
    # 1, 2, 0, 2, 0, 1 is 0 + 1 + 1 + 1 + 1 + 0.
    wanted = {
        "adversarial_translated": 10 * 6 * 0.25,
        "category_translated": 100 * 4.0,
        "rec": 5 * 3 * 0.1**2,
        "cycle": 10 * 6 * (0.3**2 + 0.5**2) / 2,
        "cycle_pairs": 2 * 3 * 0.2**2,
        "code": 5 * 6 * (0.1**2 + 0.3**2) / 2,
        "code_pairs": 1 * 3 * 0.2**2,
        "background_translated": 1 * 6 * 0.2**2 / 2,
        "background_rec": 0.5 * 3 * 0.1**2 / 2,
    }
    check(stage_b().translation_terms(synthesis_scene()), wanted)


def test_stage_b_synthesis_terms():
    flat = 1 / (1 + math.exp(6))  # sigmoid((0 - 0.12) / 0.02): a constant image has score 0
    wanted = {
        "adversarial": 70 * 3 * 0.25,
        "category": 100 * 2.0,  # 1 against 0, 1, 2
        "fd": 4 * 0.25,
        "fd_code": 1 * 3 * 0.25,
        # of 16 pixels one is the label's and left out, one is an edge in f
        "f": 15 * 3 * ((1 - flat) ** 2 + 14 * flat**2) / 16,
        "f_pairs": 0.0,
        "lesion": 3 * 0.25 * (2.5 + 25 + 125),
        # x_gt 0.2 and 0.3 against x_g 0.1, 0.2, 0.4
        "registration": 20 * (0.01 + 0 + 0.04 + 0.04 + 0.01 + 0.01),
        "registration_pairs": 5 * 3 * 0.1**2,
        "code_made": 1 * (0.01 + 0.04 + 0.16),
        "code_made_pairs": 0.2 * (0.01 + 0.09 + 0.04),
        "background": 1.5 * (0.01 + 0.04 + 0.16 + 3 * (0.04 + 0.09)) / 2,
    }
    check(stage_b().synthesis_terms(synthesis_scene()), wanted)


def test_stage_b_critic_terms():
    wanted = {
        "real": 100 * 3 * 0.25,
        "category": 100 * 2.0,
        "translated": 10 * 6 * 0.25,
        "made": 70 * 3 * 0.25,
        "fd_real": 1 * 3 * 0.25,
        "fd_made": 4 * 0.25,
    }
    check(stage_b().critic_loss(synthesis_scene()), wanted)
    more = stage_b(weights__d_category_made=0.5).critic_loss(synthesis_scene())
    check(more, wanted | {"category_made": 0.5 * (4.0 + 2.0)})


def test_segmentors_and_judges_learn_from_real_slices_with_their_own_weights():
    stage = stage_b()
    check(stage.segmentor_loss(synthesis_scene()), {"lesion": 3 * 0.25 * (2.5 + 25 + 125)})
    check(stage.judge_loss(synthesis_scene()), {"lesion": 3 * 0.25 * (1 + 5 + 15)})
    seen = []
    stage.segmentors.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    scene = synthesis_scene()
    stage.segmentor_loss(scene)
    assert seen[0] is scene["B.taught_x"]


def test_pairs_within_a_lesion_do_not_count_for_the_structure():
    scene = synthesis_scene()
    scene["B.x_g"] = torch.rand(3, 1, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    scene["B.l"] = torch.ones_like(scene["B.l"])  # the whole slice is lesion
    terms = stage_b().synthesis_terms(scene)
    assert terms["f"] == terms["f_pairs"] == 0


def test_categories_as_classes_cost_the_logarithm_of_their_number_when_undecided():
    stage = stage_b(category="softmax")
    stage.critic = nn.Module()
    stage.judged = lambda images: (
        torch.full((*images.shape[:-3], 1, 2, 2), 0.5),
        torch.zeros(*images.shape[:-3], 3, 2, 2),
    )
    terms = stage.critic_loss(synthesis_scene())
    assert float(terms["category"]) == pytest.approx(100 * 3 * math.log(3))


def test_the_fusion_has_the_values_0_02_08_and_1():
    f = torch.tensor([[0.0, 1.0]]).view(1, 1, 1, 2)
    l = torch.tensor([[[1, 1]]])  # noqa: E741
    fused = stage_b().fusion(f, l)
    wanted = torch.tensor([[0.0, 0.8], [0.2, 1.0], [0.0, 0.8]]).view(1, 3, 1, 2)
    torch.testing.assert_close(fused, wanted)


@pytest.mark.parametrize(("how", "shifts"), [("all", 2), ("one", 1)])
def test_every_translation_goes_where_the_scene_says(how, shifts):
    torch.manual_seed(1)
    stage = SynthesisStage(numbers(translations=how), SIZE, modalities=3, classes=2).eval()
    chance = torch.Generator().manual_seed(0)
    x, f = torch.rand(3, 1, 1, *SIZE, generator=chance), torch.zeros(1, 1, *SIZE)
    label = torch.zeros(3, 1, *SIZE, dtype=torch.long)
    with torch.no_grad():
        scene = stage.play(x, label, x * 0, f, label[0], f, (x, label, x * 0))
        to = scene["B.to"]
        assert to.shape == (shifts, 3)
        for s in range(shifts):
            assert sorted(to[s].tolist()) == [0, 1, 2]
            for i in range(3):
                j = int(to[s, i])
                assert j != i
                x_t = stage.decode(stage.encode(x[i]), torch.tensor(j))
                same(scene["B.x_t"][s, i], x_t)
                back = stage.decode(stage.encode(x_t), torch.tensor(i))
                same(scene["B.x_c"][s, i], back)
                # x_gt lies at the place of the modality that it was translated to
                x_gt = stage.decode(stage.encode(scene["B.x_g"][i]), torch.tensor(j))
                same(scene["B.x_gt"][s, j], x_gt)
    if how == "one":
        terms = stage.generator_loss(scene)
        assert not {"cycle_pairs", "code_pairs", "registration_pairs"} & set(terms)


def test_a_slice_may_be_drawn_from_its_own_structure_map_and_label():
    torch.manual_seed(1)
    asked = numbers(weights__own=50.0, weights__own_lesion=10.0)
    stage = SynthesisStage(asked, SIZE, modalities=2, classes=2).eval()
    x, f_x = torch.rand(2, 2, 1, 1, *SIZE, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(2, 1, *SIZE, dtype=torch.long)
    labels[1, :, 4:8, 4:8] = 1
    with torch.no_grad():
        scene = stage.play(x, labels, x * 0, x[0], labels[1], x[0], (x, labels, f_x))
        for i in range(2):
            _, every = stage.synthesised(f_x[i], labels[i])
            same(scene["B.x_o"][i], every[i])
        term = stage.generator_loss(scene)["own"]
    weight = torch.ones(2, 1, 1, *SIZE)
    weight[1, :, :, 4:8, 4:8] = 10
    errors = weight * (x - scene["B.x_o"]) ** 2
    wanted = 50 * sum(errors[i].mean() for i in range(2))
    torch.testing.assert_close(term, wanted)


def test_hard_structure_maps_in_the_loss_train_nothing():
    for how, learns in (("soft", True), ("hard", False)):
        stage = SynthesisStage(numbers(f_loss=how), SIZE, modalities=2, classes=2)
        x = torch.rand(2, 1, 1, *SIZE, generator=torch.Generator().manual_seed(0)).requires_grad_()
        assert stage.structure_of(x).requires_grad == learns
