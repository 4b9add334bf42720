"""ANT-GAN: the losses by hand, the ablations, labels from changes, healing."""

import pytest
import torch
from torch import nn

from scansmith.methods.ant_gan import AntGan
from scansmith.methods.ant_settings import ABLATIONS
from scansmith.recipe import Codec, Facts
from scansmith.scan import Batch, SettingsError
from scansmith.settings import load_settings
from scansmith.train.arena import Arena

TINY = {
    "data.size": (16, 16),
    "method.base": 4,
    "method.critic_base": 4,
    "method.blocks": 1,
    "method.least_piece": 1,
}
BRAIN = ("background", "necrosis", "oedema", "enhancing")
LIVER = ("background", "liver", "tumour")
CODEC = Codec(offset=50.0, scale=50.0, low=-1.0, high=1.0, data_range=100.0)


def tiny(structures=BRAIN, modalities=("flair",), **sets):
    preset = TINY | {name.replace("__", "."): value for name, value in sets.items()}
    settings = load_settings(AntGan.settings_type, preset=preset)
    facts = Facts(
        dims=2,
        size=settings.data.size,
        modalities=modalities,
        structures=structures,
        codecs=(CODEC,) * len(modalities),
    )
    torch.manual_seed(0)
    return AntGan(settings, facts)


def liver(**sets):
    return tiny(LIVER, data__organ="liver", data__lesion=("tumour",), **sets)


def batch(value=0.0, channels=1):
    labels = torch.zeros(2, 16, 16, dtype=torch.long)
    labels[:, 4:8, 4:8] = 2
    noise = torch.rand(2, channels, 16, 16, generator=torch.Generator().manual_seed(1))
    healthy = Batch(noise.flip(-1) * 0.2 + value, torch.zeros_like(labels))
    return {"abnormal": Batch(noise * 0.2 + value, labels), "normal": healthy}


class Constant(nn.Module):
    """A critic or generator that answers one value, whatever it sees."""

    def __init__(self, value):
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, x):
        return self.value.expand(x.shape)


class Plus(Constant):
    """A generator that adds a value."""

    def forward(self, x):
        return x + self.value


def test_critics_have_half_of_the_least_squares_error():
    game = tiny()
    game.d_n, game.d_a = Constant(0.25), Constant(0.5)
    kinds = ("normal", "made_normal", "abnormal", "made_abnormal")
    scene = dict.fromkeys((f"seen_{kind}" for kind in kinds), torch.zeros(1))
    # D_N: ((0.25 - 1)^2 + 0.25^2) / 2 = (0.5625 + 0.0625) / 2; D_A: (0.25 + 0.25) / 2
    torch.testing.assert_close(game.normal_critic_loss(scene)["L_D"].data, torch.tensor(0.3125))
    torch.testing.assert_close(game.abnormal_critic_loss(scene)["L_D"].data, torch.tensor(0.25))


def test_the_generators_terms_by_hand():
    game = tiny()
    game.d_n, game.d_a = Constant(0.25), Constant(0.5)
    game.a2n, game.n2a = Plus(-0.2), Plus(0.3)
    with torch.no_grad():
        terms = game.generator_loss(game.play(batch()))
    expected = {
        "L_adv_N": 0.5625,  # (0.25 - 1)^2
        "L_adv_A": 0.25,  # (0.5 - 1)^2
        "AC": 10 * 0.1,  # x - 0.2 + 0.3
        "NC": 10 * 0.1,
        "L_AM": 10 * 0.04 * 240 / 256,  # 0.2^2 on all but the 16 lesion pixels
    }
    assert {name: round(float(term), 5) for name, term in terms.items()} == expected


def test_the_remedy_for_n2a_weighs_all_that_it_changes():
    game = tiny(method__lambda_change=2.0)
    game.n2a = Plus(0.3)
    with torch.no_grad():
        terms = game.generator_loss(game.play(batch()))
    torch.testing.assert_close(terms["change"], torch.tensor(2 * 0.3))


def test_the_mask_term_does_not_see_the_lesion():
    game = tiny()
    scene = game.play(batch())
    scene["made_normal"] = scene["abnormal"] + 0.7 * scene["mask_abnormal"]
    assert game.generator_loss(scene)["L_AM"].item() == 0


def test_every_structure_that_is_labelled_belongs_to_the_mask():
    labels = torch.tensor([[[0, 1, 2, 3]]])
    assert tiny().mask(labels).tolist() == [[[[0, 1, 1, 1]]]]
    assert tiny(data__lesion=("edema",)).mask(labels).tolist() == [[[[0, 0, 1, 0]]]]
    assert liver().mask(labels[..., :3]).tolist() == [[[[0, 0, 1]]]]
    context = tiny((*BRAIN, "context"))
    assert context.mask(torch.tensor([[[3, 4]]])).tolist() == [[[[1, 0]]]]


@pytest.mark.parametrize(
    ("preset", "terms", "shortcut"),
    [
        ("gan", set(), "none"),
        ("gan-ac", {"AC"}, "none"),
        ("gan-nc", {"NC"}, "none"),
        ("cyclegan", {"AC", "NC"}, "none"),
        ("shortcut", {"AC", "NC"}, "add"),
        ("ant-gan", {"AC", "NC", "L_AM"}, "add"),
    ],
)
def test_each_ablation_has_the_terms_of_its_name(preset, terms, shortcut):
    sets = {name.replace(".", "__"): value for name, value in AntGan.presets[preset].items()}
    game = tiny(**sets)
    found = game.generator_loss(game.play(batch()))
    assert set(found) == {"L_adv_N", "L_adv_A"} | terms
    assert game.a2n.shortcut == shortcut
    assert game.n2a.shortcut == "none"


def test_the_defaults_are_the_papers():
    numbers = load_settings(AntGan.settings_type).method
    assert (numbers.base, numbers.blocks, numbers.pool) == (64, 9, 50)
    assert (numbers.lambda_cc, numbers.lambda_am) == (10, 10)
    whole = AntGan.presets["ant-gan"]
    assert whole == {f"method.{n.partition('.')[2]}": getattr(numbers, n[7:]) for n in whole}
    assert set(ABLATIONS) <= set(AntGan.presets)


def test_networks_have_the_papers_layers():
    settings = load_settings(AntGan.settings_type)
    facts = Facts(dims=2, size=(240, 240), modalities=("flair",), structures=BRAIN, codecs=(CODEC,))
    with torch.device("meta"):
        game = AntGan(settings, facts)
        x = torch.empty(1, 1, 240, 240)
        assert game.a2n(x).shape == game.n2a(x).shape == x.shape
        assert game.d_n(x).shape == game.d_a(x).shape == (1, 1, 30, 30)
    assert game.a2n.layers["deconv1"][0].out_channels == 256
    assert game.d_n.receptive_field == game.d_a.receptive_field == 70
    assert not any("1.weight" in name for name, _ in game.a2n.layers["conv1"].named_parameters())


def test_narrow_networks_keep_the_proportions_of_the_first_upconv():
    assert tiny().a2n.layers["deconv1"][0].out_channels == 16  # 256 * 4 / 64
    assert tiny(method__deconv1=128).a2n.layers["deconv1"][0].out_channels == 8


@pytest.mark.parametrize(("halvings", "field"), [(3, 70), (2, 34), (1, 16)])
def test_critics_with_fewer_halvings_see_smaller_patches(halvings, field):
    assert tiny(method__critic_halvings=halvings).d_n.receptive_field == field


def test_critics_see_fifty_old_slices_of_each_kind_on_their_own():
    assert tiny().pools == {("seen_made_normal",): 50, ("seen_made_abnormal",): 50}
    game = tiny(method__pool=1)
    arena = Arena(game, load_settings(AntGan.settings_type).train, torch.device("cpu"))
    first, second = batch(), batch(0.5)
    healed = game.a2n(first["abnormal"].image)[:1].detach()
    for step, drawn in ((1, first), (2, second)):
        arena.step(step, drawn, "here")
    slots = [pool.slots for pool in arena.pools]
    assert [len(s) for s in slots] == [1, 1]
    assert slots[0][0][0].shape == healed.shape[1:]


def test_critics_may_be_shown_the_organ_alone_relative_to_its_healthy_part():
    # Organ 0.25 and 0.75 (mean 0.5), lesion 0.125 in it, 0.875 beside: what was made adds 0.25.
    image = torch.tensor([[[[0.25, 0.75, 0.125, 0.875]]]])
    labels = torch.tensor([[[1, 1, 2, 0]]])
    normal = torch.tensor([[[1, 1, 1, 0]]])  # mean (0.25 + 0.75 + 0.125) / 3 = 0.375
    game = liver(method__critics_see="organ")
    game.a2n, game.n2a = Plus(0.25), Plus(0.25)
    scene = game.play({"abnormal": Batch(image, labels), "normal": Batch(image, normal)})
    expected = {
        "abnormal": [-0.25, 0.25, -0.375, 0],
        "made_normal": [0, 0.5, -0.125, 0],
        "normal": [-0.125, 0.375, -0.25, 0],
        "made_abnormal": [0.125, 0.625, 0, 0],
    }
    found = {kind: scene[f"seen_{kind}"].flatten().tolist() for kind in expected}
    assert found == expected
    # Where all of the organ is lesion, the lesion's own mean is the level: 0.375 again.
    full = game.play({"abnormal": Batch(image, 2 * normal), "normal": Batch(image, normal)})
    assert full["seen_abnormal"].flatten().tolist() == expected["normal"]
    beside = liver(method__critics_see="both")
    seen = beside.seen(image, scene, "abnormal")
    assert seen.flatten(2).tolist() == [[image.flatten().tolist(), expected["abnormal"]]]
    assert beside.d_n.layers[0].in_channels == 2


def test_critics_cannot_be_shown_an_organ_that_there_is_not():
    with pytest.raises(SettingsError, match=r"without data\.organ"):
        tiny(method__critics_see="organ")


def test_a_step_moves_all_four_networks():
    game = tiny()
    before = {name: p.detach().clone() for name, p in game.named_parameters()}
    arena = Arena(game, load_settings(AntGan.settings_type).train, torch.device("cpu"))
    arena.step(1, batch(), "here")
    moved = {n.partition(".")[0] for n, p in game.named_parameters() if not p.equal(before[n])}
    assert moved == {"a2n", "n2a", "d_n", "d_a"}


def test_healing_needs_no_mask_and_takes_the_lesion_out_of_the_labels():
    game, source = tiny().eval(), batch()["abnormal"]
    with torch.no_grad():
        made = game.sample(source, torch.Generator(), "heal")
        assert torch.equal(made.image, game.heal(source.image))
    assert not made.labels.any()


def test_healed_tumours_become_organ_and_other_labels_stay():
    game, source = liver().eval(), batch()["abnormal"]
    labels = torch.zeros_like(source.labels)
    labels[:, 2:12, 2:12] = 1
    healthy = labels.clone()
    labels[:, 4:8, 4:8] = 2
    with torch.no_grad():
        made = game.sample(Batch(source.image, labels), torch.Generator(), "heal")
    assert torch.equal(made.labels, healthy)


class Draws(nn.Module):
    """N2A that draws a bright square of 4 x 4 in the body and one in the air."""

    def forward(self, x):
        made = x.clone()
        made[..., 6:10, 6:10] += 0.3  # 0.15 of 0..1
        made[..., 14:, 14:] += 0.6
        return made


def brain_slices():
    image = torch.full((2, 1, 16, 16), -1.0)
    image[..., 2:13, 2:13] = 0.0
    return Batch(image, torch.zeros(2, 16, 16, dtype=torch.long))


def test_a_drawn_lesion_is_labelled_where_the_slice_changed_inside_the_body():
    game, source = tiny().eval(), brain_slices()
    game.n2a = Draws()
    made = game.sample(source, torch.Generator())
    assert torch.equal(made.image, game.n2a(source.image))
    # The opening by a cross takes the four corners of the 4 x 4 square; the air is no body.
    assert [note["lesion_pixels"] for note in made.notes] == [12, 12]
    assert torch.equal(made.labels[0].unique(), torch.tensor([0, 1]))
    assert int((made.labels[:, 6:10, 6:10] == 1).sum()) == 24
    higher = tiny(method__threshold=0.2, method__drawn_as="enhancing")
    higher.n2a = Draws()
    assert not higher.sample(source, torch.Generator()).labels.any()


def test_a_drawn_lesion_is_labelled_inside_the_organ_alone():
    game, source = liver().eval(), brain_slices()
    game.n2a = Draws()
    labels = source.labels.clone()
    labels[:, 2:9, 2:13] = 1  # the lower row of the square is not liver
    made = game.sample(Batch(source.image, labels), torch.Generator())
    assert (made.labels == 2).sum(dim=(1, 2)).tolist() == [8, 8]  # 3 x 4 less four corners
    assert torch.equal(made.labels > 0, labels > 0)


def test_what_a2n_changes_is_the_lesion_it_finds():
    game, source = tiny().eval(), brain_slices()
    game.a2n = Draws()
    found = game.segment(source.image)
    assert found.sum(dim=(1, 2)).tolist() == [12, 12]
    assert not game.segment(source.image, threshold=0.2).any()


def test_chosen_layers_can_be_looked_at_and_leave_no_hooks():
    game = tiny().eval()
    with torch.no_grad():
        seen = game.features(batch()["abnormal"].image, ["conv3", "block1", "deconv1"])
    assert {name: tuple(t.shape) for name, t in seen.items()} == {
        "conv3": (2, 16, 4, 4),
        "block1": (2, 16, 4, 4),
        "deconv1": (2, 16, 8, 8),
    }
    assert not any(layer._forward_hooks for layer in game.a2n.layers.values())
    with pytest.raises(SettingsError, match="no block7 in n2a"):
        game.features(batch()["abnormal"].image, ["block7"], "n2a")


def test_validation_does_not_prefer_a_generator_that_does_nothing():
    game, source = tiny().eval(), brain_slices()
    labels = source.labels.clone()
    labels[:, 6:10, 6:10] = 2
    source = Batch(source.image, labels)
    game.a2n, game.n2a = Plus(0.0), Plus(0.0)
    with torch.no_grad():
        idle = game.validate(source, torch.Generator())
    assert idle == {"lesion_missed": 1.0, "mae_outside": 0.0, "change_inside": 0.0, "cycle": 0.0}
    game.a2n = Draws()
    with torch.no_grad():
        found = game.validate(source, torch.Generator())
    # Dice of 12 of 16 pixels: 2 * 12 / (12 + 16) = 6/7. Outside 4 of 240 pixels changed by 0.6.
    assert next(iter(found)) == "lesion_missed"
    assert found["lesion_missed"] == pytest.approx(1 / 7)
    assert found["change_inside"] == pytest.approx(0.3)
    assert found["mae_outside"] == pytest.approx(0.6 * 4 / 240)


def test_the_recipe_draws_slices_with_and_without_lesion():
    brain = AntGan.recipe(load_settings(AntGan.settings_type))
    abnormal, normal = brain.draws
    assert (abnormal.name, abnormal.has, abnormal.min_pixels) == ("abnormal", ("*",), 50)
    assert (normal.name, normal.has, normal.lacks) == ("normal", (), ("*",))
    assert (brain.size, brain.min_foreground, brain.channels) == ((240, 240), 0.05, 1)
    assert brain.intensity.percentile == 99.5
    assert (brain.edits.kind, brain.edits.unit, brain.edits.draw) == ("keep", "sample", "normal")
    assert brain.tasks["heal"].unit == "case"
    ct = {"data.organ": "liver", "data.lesion": ("tumour",), "data.intensity": "window"}
    recipe = AntGan.recipe(load_settings(AntGan.settings_type, preset=ct))
    assert recipe.draws[1].has == ("liver",)
    assert recipe.draws[1].lacks == ("tumour",)
    assert recipe.structures == ("liver", "tumour")
    assert (recipe.intensity.low, recipe.intensity.high) == (-200, 250)
    assert recipe.around == ()
    cut = ct | {"data.cut_to_organ": True, "data.min_organ": 700}
    recipe = AntGan.recipe(load_settings(AntGan.settings_type, preset=cut))
    assert (recipe.around, recipe.margin_mm) == (("liver", "tumour"), 10)
    assert [draw.min_pixels for draw in recipe.draws] == [50, 700]


def test_several_modalities_must_be_asked_for():
    four = load_settings(AntGan.settings_type, sets=["data.modality=t1,t2"])
    assert AntGan.recipe(four).channels is None
    game = tiny(modalities=("t1", "t2")).eval()
    with torch.no_grad():
        assert game.heal(torch.zeros(1, 2, 16, 16)).shape == (1, 2, 16, 16)


@pytest.mark.parametrize(
    ("sets", "says"),
    [
        (["data.size=30,32"], "two multiples of 4"),
        (["data.size=12,12"], "from 16 up"),
        (["data.organ=liver"], "one structure"),
        (["data.cut_to_organ=true"], "without data.organ"),
    ],
)
def test_settings_that_cannot_be_are_refused_with_a_remedy(sets, says):
    with pytest.raises(SettingsError, match=says):
        AntGan.recipe(load_settings(AntGan.settings_type, sets=sets))


def test_data_without_a_lesion_are_refused():
    with pytest.raises(SettingsError, match="left to be the lesion"):
        tiny(("background", "context"))


def test_the_grid_shows_normal_slices_too():
    game = tiny().eval()
    with torch.no_grad():
        shown = game.gallery(batch(), torch.Generator())
    assert {"real", "A2N(x)", "normal", "N2A(normal)", "label drawn"} <= set(shown)
    assert shown["|x - A2N(x)| twice"].min() >= -1
