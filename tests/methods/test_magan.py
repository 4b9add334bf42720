"""MAGAN: what enters the networks, the losses' arithmetic, compositing."""

import math

import pytest
import torch

from scansmith.methods.magan import Magan
from scansmith.methods.masks import feathered, random_points
from scansmith.recipe import Codec, Facts
from scansmith.scan import Batch, SettingsError
from scansmith.settings import load_settings

CODEC = Codec(offset=25.0, scale=225.0, low=-1.0, high=1.0, data_range=450.0)
TINY = {"data.size": (32, 32), "data.intensity": "window", "method.base": 4}


def tiny(**sets):
    preset = TINY | {name.replace("__", "."): value for name, value in sets.items()}
    settings = load_settings(Magan.settings_type, preset=preset)
    facts = Facts(
        dims=2,
        size=(32, 32),
        modalities=("ct",),
        structures=("background", "liver", "tumour"),
        codecs=(CODEC,),
    )
    torch.manual_seed(0)
    return Magan(settings, facts)


def slices():
    labels = torch.zeros(2, 32, 32, dtype=torch.long)
    labels[:, 4:28, 4:28] = 1
    labels[0, 10:16, 12:20] = 2
    image = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(1)) - 0.5
    return Batch(image, labels)


def test_by_default_the_tumour_itself_never_enters_the_generator():
    game, source = tiny(), slices()
    t = game.mask(source)
    other = torch.where(t > 0, torch.rand_like(source.image), source.image)
    for one, two in zip(game.inputs(source.image, t), game.inputs(other, t), strict=True):
        assert torch.equal(one, two)


def test_white_is_4096_raw_units_and_the_map_is_zero_raw_units_elsewhere():
    game, source = tiny(), slices()
    image, mask_map, w = game.inputs(source.image, game.mask(source))
    assert torch.equal(image, w)
    assert (w[0, 0, 10:16, 12:20] == 1.0).all()  # 4096 is clipped to the window's top
    assert (mask_map[0, 0, 10:16, 12:20] == 1.0).all()
    torch.testing.assert_close(mask_map[0, 0, 0, 0], torch.tensor(-25.0 / 225.0))  # (0 - 25) / 225


def test_literal_inputs_hand_over_the_answer():
    game, source = tiny(method__inputs="literal"), slices()
    image, mask_map, w = game.inputs(source.image, game.mask(source))
    assert torch.equal(image, source.image)
    assert torch.equal(mask_map, w)


def test_with_mask_to_both_the_image_path_sees_the_mask_map():
    game, source = tiny(method__mask_to_both=True), slices()
    seen = []
    game.generator.image_path.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    t = game.mask(source)
    image, mask_map, _ = game.inputs(source.image, t)
    game.generate(image, mask_map, t)
    assert torch.equal(seen[0], torch.cat([image, mask_map], dim=1))


def test_grain_is_noise_inside_the_tumour_alone_and_a_seed_repeats_it():
    game, source = tiny(method__grain=0.5).eval(), slices()
    seen = []
    game.generator.image_path.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    t = game.mask(source)
    w, _, _ = game.inputs(source.image, t)
    with torch.no_grad():
        first = game.paint(source, torch.Generator().manual_seed(3))
        again = game.paint(source, torch.Generator().manual_seed(3))
        other = game.paint(source, torch.Generator().manual_seed(4))
    noise = torch.randn(t.shape, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(seen[0], w + 0.5 * noise * t)
    assert torch.equal(seen[0][t == 0], w[t == 0])
    assert torch.equal(first, again)
    assert not torch.equal(first[0], other[0])
    assert torch.equal(first[1], other[1])  # no tumour, no noise


def test_generator_terms_have_the_weights_of_table_2():
    game = tiny()
    game.critic = torch.nn.Conv2d(2, 1, 1)
    torch.nn.init.zeros_(game.critic.weight)
    torch.nn.init.zeros_(game.critic.bias)  # undecided everywhere
    real = torch.zeros(1, 1, 8, 8)
    scene = {"real": real, "made": real + 0.5, "seen_condition": real, "seen_made": real}
    terms = game.generator_loss(scene)
    torch.testing.assert_close(terms["L_L1"], torch.tensor(100 * 0.5))
    torch.testing.assert_close(terms["L_adv"], torch.tensor(math.log(2)))
    assert set(terms) == {"L_L1", "L_adv"}


def test_the_further_tumour_term_counts_the_tumour_alone():
    game = tiny(method__lambda_tumour=20.0)
    real = torch.zeros(1, 1, 32, 32)
    made, mask = real.clone(), real.clone()
    made[..., :4] = 0.25
    mask[..., :8] = 1.0
    scene = {"real": real, "made": made, "mask": mask}
    scene |= {"seen_condition": real, "seen_made": made}
    torch.testing.assert_close(game.generator_loss(scene)["L_tumour"], torch.tensor(20 * 0.125))


def test_outside_the_feathered_edge_the_source_slice_is_untouched():
    game, source = tiny().eval(), slices()
    with torch.no_grad():
        made = game.make(source, torch.Generator())
    share = feathered(game.mask(source), 1.5)
    assert torch.equal(made[share == 0], source.image[share == 0])
    assert torch.equal(made[1], source.image[1])  # no tumour to paint
    assert (share[0, 0, 10:16, 12:20] == 1).all()


def test_with_paste_none_the_whole_output_of_the_generator_is_returned():
    game, source = tiny(method__paste="none").eval(), slices()
    with torch.no_grad():
        assert torch.equal(
            game.make(source, torch.Generator()), game.paint(source, torch.Generator())
        )


def test_the_feather_falls_as_a_doubled_gaussian_tail():
    mask = torch.zeros(1, 1, 21, 21)
    mask[..., :11] = 1.0  # a straight edge between columns 10 and 11
    share = feathered(mask, 2.0)[0, 0, 10]
    kernel = [math.exp(-(k**2) / 8) for k in range(-6, 7)]
    tail = sum(kernel[7:]) / sum(kernel)  # offsets 1..6 reach back over the edge from column 11
    torch.testing.assert_close(share[11], torch.tensor(2 * tail))
    assert share[18] == 0  # farther than 6 pixels


def test_random_points_lie_in_the_mask():
    torch.manual_seed(0)
    mask = torch.zeros(1, 1, 16, 16)
    mask[0, 0, 3:5, 9:12] = 1
    for _ in range(20):
        y, x = random_points(mask)[0].tolist()
        assert mask[0, 0, y, x] == 1


def test_a_scan_learns_only_from_slices_with_tumour_and_places_into_the_organ():
    recipe = Magan.recipe(load_settings(Magan.settings_type))
    assert recipe.draws[0].has == ("tumour",)
    assert recipe.edits.organ == ("liver",)
    assert recipe.size == (512, 512)
    assert recipe.intensity.kind == "zscore"


@pytest.mark.parametrize("size", [(100, 100), (64, 128), (16, 16), (64,)])
def test_a_size_that_cannot_be_halved_to_one_pixel_is_refused(size):
    settings = load_settings(Magan.settings_type, preset={"data.size": size})
    with pytest.raises(SettingsError, match=r"data\.size"):
        Magan.recipe(settings)


def test_the_papers_training_numbers_are_the_defaults():
    settings = load_settings(Magan.settings_type)
    assert settings.train.steps == 4555 * 10  # slices x epochs at batch 1
    assert settings.train.batch == 1
    assert settings.method.grain == 0
    player = tiny().players()[1]
    assert (player.learning_rate, player.betas) == (2e-4, (0.5, 0.999))


def test_levels_are_the_mean_of_the_organ_around_the_lesion_or_the_usual_one():
    # window -200..250 HU: raw 100 is (100 + 200) / 225 - 1 = 1/3
    game = tiny(**{"method.level": "organ", "method.level_raw": 100.0})
    labels = torch.zeros(2, 32, 32, dtype=torch.long)
    labels[0, :8, :10] = 1  # 80 pixels of liver
    labels[0, :8, :4] = 2  # of which 32 are tumour: 48 are left, too few
    labels[1, :8, :12] = 1
    labels[1, :8, :4] = 2  # 64 are left
    image = torch.full((2, 1, 32, 32), -0.9)
    image[1, 0, :8, :4] = -0.2  # the tumour's own value must not enter
    image[1, 0, :8, 4:8] = 0.4
    image[1, 0, :8, 8:12] = 0.6
    levels = game.levels(Batch(image, labels))
    torch.testing.assert_close(levels.flatten(), torch.tensor([1 / 3, 0.5]))
    assert (tiny().levels(Batch(image, labels)) == 0).all()


def test_what_is_painted_relative_to_the_organ_comes_back_in_its_own_units():
    game = tiny(**{"method.level": "organ", "method.inputs": "literal"}).eval()
    labels = torch.zeros(1, 32, 32, dtype=torch.long)
    labels[0, :16] = 1
    labels[0, :4, :4] = 2
    image = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    seen = []

    def hand_on(image, mask_map, t, chance):
        seen.append(image)
        return image

    game.generate = hand_on
    painted = game.paint(Batch(image, labels), torch.Generator())
    torch.testing.assert_close(painted, image)
    organ = (labels == 1).unsqueeze(1)
    torch.testing.assert_close(seen[0][organ].mean(), torch.tensor(0.0), atol=1e-6, rtol=0)
