"""The heart GAN: condition, losses, sizes."""

import pytest
import torch

from scansmith.methods.heart_gan import HeartGan
from scansmith.recipe import Codec, Facts
from scansmith.scan import Batch, SettingsError
from scansmith.settings import load_settings

STRUCTURES = ("background", "left ventricle", "right ventricle", "myocardium")
CODEC = Codec(offset=0.0, scale=1.0, low=0.0, high=1.0, data_range=1.0)
TINY = {"data.size": (32, 32), "method.base": 4, "method.patch": 8}


def tiny(**sets):
    preset = TINY | {name.replace("__", "."): value for name, value in sets.items()}
    settings = load_settings(HeartGan.settings_type, preset=preset)
    facts = Facts(dims=2, size=(32, 32), modalities=("ct",), structures=STRUCTURES, codecs=(CODEC,))
    torch.manual_seed(0)
    return HeartGan(settings, facts)


def test_the_condition_has_one_channel_for_each_structure():
    labels = torch.tensor([[[0, 3], [1, 2]]])
    condition = tiny().condition(labels)
    assert condition.shape == (1, 4, 2, 2)
    assert torch.equal(condition.argmax(dim=1), labels)
    assert (condition.sum(dim=1) == 1).all()


def test_the_index_condition_is_the_label_number_over_the_largest():
    condition = tiny(method__condition="index").condition(torch.tensor([[[0, 3], [1, 2]]]))
    torch.testing.assert_close(condition, torch.tensor([[[[0, 1.0], [1 / 3, 2 / 3]]]]))


def test_generator_terms_are_lambda_times_least_squares_and_plain_mean_error():
    game = tiny()
    game.critic = torch.nn.Conv2d(5, 1, 1)
    torch.nn.init.zeros_(game.critic.weight)
    torch.nn.init.constant_(game.critic.bias, 0.5)
    real = torch.zeros(1, 1, 4, 4)
    scene = {"condition": torch.zeros(1, 4, 4, 4), "real": real, "made": real + 0.25}
    terms = game.generator_loss(scene)
    torch.testing.assert_close(terms["L_adv"], torch.tensor(0.012 * 0.25))  # (0.5 - 1)^2
    torch.testing.assert_close(terms["L_mae"], torch.tensor(0.25))
    # (0.5 - 1)^2 + 0.5^2
    torch.testing.assert_close(game.critic_loss(scene)["L_D"], torch.tensor(0.5))


def test_weighted_reconstruction_counts_the_heart_fully_and_the_rest_less():
    plain, weighted = tiny(), tiny(method__reconstruction="weighted")
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 14:18, 14:18] = 1
    real = torch.zeros(1, 1, 32, 32)
    condition = torch.zeros(1, 4, 32, 32)
    scene = {"condition": condition, "real": real, "made": real + 1, "mask": mask}
    assert weighted.generator_loss(scene)["L_mae"] < plain.generator_loss(scene)["L_mae"]
    on_mask = scene | {"made": mask}
    torch.testing.assert_close(
        weighted.generator_loss(on_mask)["L_mae"], plain.generator_loss(on_mask)["L_mae"]
    )


def test_what_is_made_depends_on_the_labels_alone():
    game = tiny().eval()
    labels = torch.randint(0, 4, (2, 32, 32), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        one = game.make(Batch(torch.zeros(2, 1, 32, 32), labels), torch.Generator())
        two = game.make(Batch(torch.ones(2, 1, 32, 32), labels), torch.Generator())
    assert torch.equal(one, two)
    assert one.min() >= 0
    assert one.max() <= 1


def test_the_papers_critic_judges_8_by_8_patches_of_256_pixels():
    settings = load_settings(HeartGan.settings_type)
    facts = Facts(
        dims=2, size=(256, 256), modalities=("ct",), structures=STRUCTURES, codecs=(CODEC,)
    )
    with torch.device("meta"):
        game = HeartGan(settings, facts)
        assert game.critic(torch.empty(1, 5, 256, 256)).shape == (1, 1, 8, 8)
        assert game.generator(torch.empty(1, 4, 256, 256)).shape == (1, 1, 256, 256)
    d, g = game.players()
    assert (d.learning_rate, g.learning_rate, g.betas[0]) == (1.5e-4, 1.3e-4, 0.5)


def test_a_patch_larger_than_a_quarter_of_the_slice_is_refused():
    settings = load_settings(
        HeartGan.settings_type, preset={"data.size": (64, 64), "method.patch": 32}
    )
    with pytest.raises(SettingsError, match=r"method\.patch"):
        HeartGan.recipe(settings)


def test_context_regions_enter_the_condition_but_not_the_hearts_mask():
    settings = load_settings(
        HeartGan.settings_type, preset={**TINY, "data.context": "kmeans", "data.context_classes": 2}
    )
    recipe = HeartGan.recipe(settings)
    assert (recipe.regions.kind, recipe.regions.classes) == ("kmeans", 2)
    structures = (*STRUCTURES, "context 1", "context 2")
    facts = Facts(dims=2, size=(32, 32), modalities=("ct",), structures=structures, codecs=(CODEC,))
    game = HeartGan(settings, facts)
    labels = torch.full((1, 32, 32), 4)
    labels[:, 8:16] = 5
    labels[:, 20:24, 3:9] = 2
    scene = game.play({"labelled": Batch(torch.zeros(1, 1, 32, 32), labels)})
    assert scene["condition"].shape[1] == 6
    assert scene["mask"].sum() == 4 * 6
