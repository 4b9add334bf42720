"""MM-GAN: condition, losses, pool, rates, each modality's brain, making, recipe."""

from itertools import combinations

import pytest
import torch
from torch import nn

from scansmith.augment import augmented
from scansmith.game import ImagePool
from scansmith.labels.table import is_context
from scansmith.methods.mm_gan import MmGan
from scansmith.recipe import Codec, Facts
from scansmith.scan import Batch, SettingsError
from scansmith.settings import Augmentation, load_settings

TUMOUR = ("background", "necrosis", "oedema", "enhancing")
CODEC = Codec(offset=0.0, scale=5.0, low=-1.0, high=1.0, background=-1.0, data_range=10.0)
SIZE = (16, 20, 18)


def tiny(context=("context",), modalities=("t1", "flair"), **sets):
    preset = {"data.size": SIZE, "method.base": 2, "method.base_critic": 4, "train.steps": 10}
    preset |= {name.replace("__", "."): value for name, value in sets.items()}
    settings = load_settings(MmGan.settings_type, preset=preset)
    facts = Facts(
        dims=3,
        size=settings.data.size,
        modalities=modalities,
        structures=(*TUMOUR, *context),
        codecs=(CODEC,) * len(modalities),
    )
    torch.manual_seed(0)
    return MmGan(settings, facts)


def sample(modalities=2, seed=0):
    """A block of brain with a tumour, in air."""
    chance = torch.Generator().manual_seed(seed)
    labels = torch.zeros(1, *SIZE, dtype=torch.long)
    labels[:, 2:-2, 2:-2, 2:-2] = 4
    labels[:, 5:9, 5:9, 5:9] = 2
    image = 0.2 * torch.randn(1, modalities, *SIZE, generator=chance)
    return Batch(torch.where((labels > 0).unsqueeze(1), image, -1.0), labels)


class Constant(nn.Module):
    """A critic that gives one value everywhere."""

    def __init__(self, value):
        super().__init__()
        self.value = nn.Parameter(torch.tensor(float(value)))

    def forward(self, condition, image):
        return self.value.expand(1, 1, 2, 2, 2)


def test_the_condition_has_one_channel_for_each_structure_and_the_brain():
    labels = torch.tensor([[[[0, 4], [1, 2]]]], dtype=torch.uint8)
    condition = tiny().condition(labels)
    assert condition.shape == (1, 5, 1, 2, 2)
    assert torch.equal(condition.argmax(dim=1), labels.long())
    assert (condition.sum(dim=1) == 1).all()


def test_terms_are_half_of_the_least_squares_ones_with_a_0_and_b_and_c_1():
    game = tiny()
    game.critics[0] = Constant(0.75)
    scene = game.play({"labelled": sample()})
    # 1/2 (0.75 - 1)^2 + 1/2 0.75^2 = 0.03125 + 0.28125; fooling asks for 1: 1/2 (0.75 - 1)^2.
    torch.testing.assert_close(game.critic_loss(scene)["L_D"], torch.tensor(0.3125))
    terms = game.generator_loss(scene)
    assert list(terms) == ["L_adv"]
    torch.testing.assert_close(terms["L_adv"], torch.tensor(0.03125))


def test_an_l1_term_is_there_only_if_it_has_a_weight():
    game = tiny(method__l1=2.0)
    game.critics[0] = Constant(1.0)
    scene = game.play({"labelled": sample()})
    scene["made.0"] = scene["real.0"] + 0.25
    torch.testing.assert_close(game.generator_loss(scene)["L_l1"], torch.tensor(0.5))  # 2 x 0.25


def test_rates_stay_for_half_of_the_steps_and_then_fall_to_nothing():
    game = tiny()  # 10 steps: 1 to 5 at 1, then (10 - t + 1) / 6 for t = 6 .. 10
    expected = [1, 1, 1, 1, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]
    assert [game.rate(step) for step in range(1, 11)] == pytest.approx(expected)
    assert [tiny(method__constant_share=1.0).rate(step) for step in (1, 10)] == [1, 1]
    assert all(player.rate(8) == pytest.approx(3 / 6) for player in game.players())


def test_each_modality_has_a_pair_of_players_of_its_own_with_the_papers_numbers():
    players = tiny().players()
    assert [p.name for p in players] == ["D.t1", "G.t1", "D.flair", "G.flair"]
    assert [p.critic for p in players] == [True, False, True, False]
    assert {p.learning_rate for p in players if p.critic} == {1e-4}
    assert {p.learning_rate for p in players if not p.critic} == {4e-4}
    assert {p.betas for p in players} == {(0.0, 0.9)}


def test_a_modality_is_learned_from_nothing_of_another():
    game, batch = tiny().eval(), sample()
    other = Batch(batch.image.clone(), batch.labels)
    other.image[:, 1] = other.image[:, 1].flip(1)
    one, two = game.play({"labelled": batch}), game.play({"labelled": other})
    for name in ("labels.0", "real.0", "made.0"):
        assert torch.equal(one[name], two[name])
    assert not torch.equal(one["real.1"], two["real.1"])


def test_joint_generators_make_all_modalities_and_one_critic_sees_them_together():
    game = tiny(method__generators="joint")
    assert [p.name for p in game.players()] == ["D", "G"]
    scene = game.play({"labelled": sample()})
    assert scene["made.0"].shape == (1, 2, *SIZE)
    assert game.critics[0].layers[0].in_channels == 5 + 2


def test_the_pool_keeps_a_volume_with_the_map_it_was_made_from():
    game = tiny()
    assert dict(game.pools) == {
        ("made_labels.0", "made.0"): 4,
        ("made_labels.1", "made.1"): 4,
    }
    assert not tiny(method__pool=0).pools
    pool, chance = ImagePool(4), torch.Generator().manual_seed(0)
    old = 0
    for step in range(60):
        pair = torch.full((1, 2), step), torch.full((1, 3), step)
        labels, volume = pool.query(pair, chance)
        assert int(labels[0, 0]) == int(volume[0, 0])
        old += int(labels[0, 0]) != step
    assert 15 < old < 41  # of 56 exchanges after the first four, half: 28, sd 3.7


def test_critics_see_the_real_volume_with_its_own_map_whatever_the_pool_gives():
    game = tiny()
    scene = game.play({"labelled": sample()})
    seen = []
    game.critics[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    pooled = scene | {"made_labels.0": torch.zeros_like(scene["made_labels.0"])}
    game.critic_loss(pooled)
    assert torch.equal(seen[0], game.condition(scene["labels.0"]))
    assert (seen[1][:, 0] == 1).all()  # the pooled map: background everywhere


def test_in_training_the_brain_ends_where_the_modality_does():
    game, batch = tiny(), sample()
    batch.image[:, 1, :, :, 2:4] = -1.0  # flair does not reach the first two columns
    batch.image[:, 1, 1, 5, 5] = 0.1  # and reaches one voxel beyond
    scene = game.play({"labelled": batch})
    assert torch.equal(scene["labels.0"].long(), batch.labels)
    flair = scene["labels.1"].long()
    assert (flair[..., 2:4] == 0).all()
    assert flair[0, 1, 5, 5] == 4
    assert torch.equal(flair[..., 4:] == 2, batch.labels[..., 4:] == 2)
    same = tiny(method__per_modality_brain=False).play({"labelled": batch})
    assert torch.equal(same["labels.1"].long(), batch.labels)


def test_augmentation_moves_each_modalitys_brain_with_its_labels_and_makes_none_of_the_air():
    game, batch = tiny(), sample()
    batch.image[:, 1, :, :, 2:4] = -1.0  # flair does not reach the first two columns
    clean = {place: game.play({"labelled": batch})[f"labels.{place}"] for place in (0, 1)}
    numbers = Augmentation(moved=0, flips=(0, 1, 2), gain=0.25, offset=0.25, noise=0.1)
    torch.manual_seed(1)
    parts = {}
    for name, part in game.learned_from({"labelled": batch}).items():
        image, labels = augmented(part.image, part.labels, numbers)
        assert (image != -1).all()  # nothing tells the air by its value any more
        parts[name] = Batch(image, labels)
    scene = game.play(parts)
    axes = [subset for n in range(4) for subset in combinations((1, 2, 3), n)]
    for place in (0, 1):
        mirrored = [clean[place].flip(chosen) for chosen in axes]
        assert any(torch.equal(scene[f"labels.{place}"], each) for each in mirrored)
        assert torch.equal(scene[f"real.{place}"], parts[f"labelled.{place}"].image)


def test_a_tumour_is_never_taken_away_and_several_tissues_are_never_made_up():
    game, batch = tiny(context=("context 1", "context 2")), sample()
    image = torch.full_like(batch.image[:, :1], -1.0)
    image[:, :, 0, 0, 0] = 0.3
    labels = game.seen(batch.labels, image)
    assert (labels[batch.labels == 2] == 2).all()
    assert set(labels.unique().tolist()) == {0, 2}


def test_what_is_made_is_surroundings_outside_the_body_and_depends_on_the_labels_alone():
    game, batch = tiny().eval(), sample()
    with torch.no_grad():
        made = game.make(batch, torch.Generator())
        again = game.make(Batch(torch.zeros_like(batch.image), batch.labels), torch.Generator())
    assert torch.equal(made, again)
    assert made.shape == batch.image.shape
    outside = (batch.labels == 0).unsqueeze(1).expand_as(made)
    assert (made[outside] == -1).all()
    assert made.abs().max() <= 1
    assert CODEC.decode(made.numpy())[outside.numpy()].max() == 0  # and 0 in the file
    free = tiny(method__clean_outside=False).eval()
    with torch.no_grad():
        assert (free.make(batch, torch.Generator())[outside] > -1).any()


def test_a_larger_volume_is_made_by_windows_much_as_if_it_were_whole():
    whole, parts = tiny().eval(), tiny(method__window=(16, 16, 16)).eval()
    with torch.no_grad():
        one, two = (g.make(sample(), torch.Generator()) for g in (whole, parts))
    assert not torch.equal(one, two)
    assert (one - two).abs().mean() < 0.5 * one[one > -1].std()


def test_the_paper_is_200_voxels_from_front_to_back_and_its_networks_take_that():
    settings = load_settings(MmGan.settings_type)
    assert settings.data.size == (150, 200, 160)
    facts = Facts(
        dims=3,
        size=settings.data.size,
        modalities=("t1",),
        structures=(*TUMOUR, "context"),
        codecs=(CODEC,),
    )
    with torch.device("meta"):
        game = MmGan(settings, facts)
        labels = torch.empty(1, 150, 200, 160, dtype=torch.uint8)
        made = game.generators[0](game.condition(labels))
        assert made.shape == (1, 1, 150, 200, 160)
        assert game.critics[0](game.condition(labels), made).shape == (1, 1, 38, 50, 40)


def test_the_recipe_asks_for_z_scores_over_the_brain_clipped_at_five():
    recipe = MmGan.recipe(load_settings(MmGan.settings_type))
    rule = recipe.intensity
    assert (rule.kind, rule.clip, rule.foreground_only, rule.background) == ("zscore", 5, True, -1)
    assert (recipe.fit, recipe.dims, recipe.channels) == ("crop", 3, None)
    assert recipe.regions.kind == "foreground"
    edits = recipe.edits
    assert (edits.kind, edits.lesion, edits.organ) == ("reshape", ("*",), ("context",))
    assert is_context("context")


@pytest.mark.parametrize(
    ("sets", "kind", "organ"),
    [
        ({"data.context": "kmeans"}, "reshape", ("context",)),
        ({"data.context": "none"}, "reshape", ("background",)),
        ({"data.lesion": ("tumour",), "data.organ": ("liver",)}, "reshape", ("context", "liver")),
        ({"data.edits": "deform"}, "deform", ()),
    ],
)
def test_edits_are_what_the_data_settings_say(sets, kind, organ):
    recipe = MmGan.recipe(load_settings(MmGan.settings_type, preset=sets))
    assert (recipe.edits.kind, recipe.edits.organ) == (kind, organ)
    weak = {"data.edits": "deform", "data.deform": 0.5}
    recipe = MmGan.recipe(load_settings(MmGan.settings_type, preset=weak))
    assert recipe.edits.strength == 0.5


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        ({"data.size": (40, 56)}, r"data\.size: found \(40, 56\)"),
        ({"data.size": (40, 56, 8)}, "from 16 up"),
        ({"method.window": (8, 8, 8)}, r"method\.window"),
        ({"data.organ": ("liver",)}, r"data\.organ: .* Name those"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(sets, words):
    settings = load_settings(MmGan.settings_type, preset=sets)
    with pytest.raises(SettingsError, match=words):
        MmGan.recipe(settings)


def test_accuracies_of_every_critic_are_watched():
    game = tiny()
    game.critics[0], game.critics[1] = Constant(0.9), Constant(0.1)
    watched = game.watch(game.play({"labelled": sample()}))
    assert watched == {
        "D.t1.accuracy_real": 1.0,
        "D.t1.accuracy_fake": 0.0,
        "D.flair.accuracy_real": 0.0,
        "D.flair.accuracy_fake": 1.0,
    }
