"""What every method promises, tried on each of them at a tiny size."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scansmith.data.regions import region_names
from scansmith.methods import METHODS, find_method
from scansmith.recipe import Codec, Facts
from scansmith.scan import Batch, DataError, SettingsError
from scansmith.settings import commented_yaml, load_settings, walk
from scansmith.train.arena import Arena
from scansmith.train.checkpoint import load_weights
from scansmith.train.loop import fit

LIVER = ("background", "liver", "tumour")
BRAIN = ("background", "necrosis", "oedema", "enhancing")
TINY = {
    "magan": {"data.size": (32, 32), "data.intensity": "window", "method.base": 4},
    "heart-gan": {"data.size": (32, 32), "method.base": 4, "method.patch": 8},
    "ant-gan": {
        "data.size": (32, 32),
        "data.min_pixels": 4,
        "method.base": 4,
        "method.critic_base": 4,
        "method.blocks": 2,
        "method.pool": 3,
    },
    "registered-multimodal": {
        "data.size": (32, 32),
        "data.modality": ("t1", "flair"),
        "data.min_lesion_pixels": 4,
        "method.base": 2,
        "method.latent": 16,
        "method.translations": "one",
        "method.structure_tries": 2,
        "method.tries": 2,
    },
    "mm-gan": {
        "data.size": (17, 24, 18),
        "data.modality": ("t1", "flair"),
        "method.base": 2,
        "method.base_critic": 2,
    },
}
STRUCTURES = {
    **dict.fromkeys(("magan", "heart-gan"), LIVER),
    **dict.fromkeys(("ant-gan", "registered-multimodal", "mm-gan"), BRAIN),
}
REFUSING = {"registered-multimodal"}
"""Methods whose filters refuse what an untrained form makes."""
LOOP = {"train.batch": 2, "train.checkpoint_every": 2, "train.device": "cpu", "train.log_every": 1}


def tiny(name, **sets):
    kind = find_method(name)
    settings = load_settings(kind.settings_type, preset={**TINY[name], **LOOP, **sets})
    recipe = kind.recipe(settings)
    low, high = recipe.intensity.target if recipe.intensity.kind != "zscore" else (-3.0, 3.0)
    modalities = recipe.modalities or ("ct",)
    codec = Codec(offset=0.0, scale=100.0, low=low, high=high, data_range=200.0)
    facts = Facts(
        dims=recipe.dims,
        size=recipe.size,
        modalities=modalities,
        structures=(*STRUCTURES[name], *region_names(recipe.regions)),
        codecs=(codec,) * len(modalities),
    )
    torch.manual_seed(0)
    return kind(settings, facts), settings, recipe


def samples(recipe, step):
    """Noise with blobs as labels, new at each step; a function of the step alone.

    Structure 1 fills the body, or the first region does where the recipe has regions; a draw that
    has something named beside an organ shows a blob of structure 2 in it.
    """
    chance = torch.Generator().manual_seed(step)
    low, high = recipe.intensity.target
    modalities = recipe.modalities or ("ct",)
    body = len(STRUCTURES[recipe.method]) if recipe.regions else 1
    drawn = {}
    for draw in recipe.draws:
        for each in draw.names(modalities):
            labels = torch.zeros(2, *recipe.size, dtype=torch.long)
            if recipe.edits.kind in ("place", "deform", "reshape"):
                labels[..., 4:-4, 4:-4] = body
            if "tumour" in draw.has or "*" in draw.has:
                labels[..., 10:18, 6:12] = 2
            noise = torch.rand(2, len(modalities), *recipe.size, generator=chance)
            drawn[each] = Batch(low + (high - low) * noise, labels)
    return drawn


@pytest.fixture(params=sorted(METHODS))
def name(request):
    return request.param


def test_every_method_has_a_tiny_form_here(name):
    assert name in TINY, "add a tiny form of the new method to TINY"


def test_every_network_is_moved_by_exactly_one_player(name):
    game, _, _ = tiny(name)
    moved = [p for player in game.players() for n in player.moves for p in n.parameters()]
    assert len(moved) == len({id(p) for p in moved})
    assert {id(p) for p in moved} == {id(p) for p in game.parameters()}


def test_a_turn_changes_the_players_own_networks_and_no_other(name):
    game, settings, recipe = tiny(name)
    arena = Arena(game, settings.train, torch.device("cpu"))
    scene = game.play(game.learned_from(samples(recipe, 1)))
    detached = {key: tensor.detach() for key, tensor in scene.items()}
    for side in arena.sides:
        before = {key: tensor.clone() for key, tensor in game.state_dict().items()}
        arena._stage(side.player.moves)
        terms = side.player.loss(detached if side.player.critic else scene)
        torch.autograd.backward(sum(terms.values()), inputs=list(side.parameters))
        arena._move(side, 1)
        own = {id(p) for p in side.parameters}
        live = dict(game.named_parameters(remove_duplicate=False)) | dict(game.named_buffers())
        for key, tensor in game.state_dict().items():
            changed = not torch.equal(before[key], tensor)
            assert not changed or id(live[key]) in own or _is_own_buffer(game, side, key), key


def _is_own_buffer(game, side, key):
    owner = game.get_submodule(key.rpartition(".")[0])
    return any(owner is module for network in side.player.moves for module in network.modules())


def test_what_is_made_is_finite_in_range_and_on_the_sources_grid(name):
    game, _, recipe = tiny(name)
    source = next(iter(samples(recipe, 3).values()))
    with torch.no_grad():
        made = game.eval().make(source, torch.Generator().manual_seed(0))
    assert made.shape == source.image.shape
    assert torch.isfinite(made).all()
    low, high = recipe.intensity.target
    assert made.min() >= low
    assert made.max() <= high


def test_a_sample_has_labels_of_the_table_and_depends_on_its_chance_alone(name):
    game, _, recipe = tiny(name)
    drawn = samples(recipe, 3)
    source = drawn[recipe.edits.draw or next(iter(drawn))]
    for task in ("", *recipe.tasks):
        made = []
        for outer in (1, 2):  # the global stream must not matter
            torch.manual_seed(outer)
            with torch.no_grad():
                try:
                    made.append(game.eval().sample(source, torch.Generator().manual_seed(5), task))
                except DataError as error:
                    assert name in REFUSING
                    made.append(str(error))
        if name in REFUSING and isinstance(made[0], str):
            assert made[0] == made[1]
            continue
        assert made[0].image.shape == source.image.shape
        assert made[0].labels.shape == source.labels.shape
        assert not made[0].labels.is_floating_point()
        assert 0 <= made[0].labels.min() <= made[0].labels.max() < len(game.facts.structures)
        assert len(made[0].notes) in (0, len(source.image))
        assert torch.equal(made[0].image, made[1].image)
        assert torch.equal(made[0].labels, made[1].labels)


def test_what_a_method_cannot_do_it_says(name):
    game, _, recipe = tiny(name)
    image = next(iter(samples(recipe, 3).values())).image
    for verb, able, words in (
        (lambda: game.eval().heal(image), name == "ant-gan", "ant-gan"),
        (
            lambda: game.eval().translate(image, 0, 0),
            name == "registered-multimodal",
            "registered-multimodal",
        ),
    ):
        if able:
            with torch.no_grad():
                assert torch.isfinite(verb()).all()
        else:
            with pytest.raises(SettingsError, match=words):
                verb()


class Stopped(Exception):
    pass


def trained(name, folder, steps, resume=False, stop_at=None):
    game, settings, recipe = tiny(name, **{"train.steps": steps})

    def batches(step):
        if step == stop_at:
            raise Stopped
        return game.learned_from(samples(recipe, step))

    fit(
        game,
        batches,
        folder,
        settings.train,
        record={"method": name},
        resume=resume,
    )
    return load_weights(folder)


def test_training_repeats_to_the_bit_and_does_move(name, tmp_path):
    one, two = trained(name, tmp_path / "a", 2), trained(name, tmp_path / "b", 2)
    assert all(torch.equal(one[key], two[key]) for key in one)
    moved = trained(name, tmp_path / "c", 1)
    assert any(not torch.equal(one[key], moved[key]) for key in one)


def test_stopping_and_going_on_ends_where_one_run_ends_to_the_bit(name, tmp_path):
    whole = trained(name, tmp_path / "whole", 4)
    with pytest.raises(Stopped):  # a schedule may look at the number of steps: the same for both
        trained(name, tmp_path / "parts", 4, stop_at=3)
    parts = trained(name, tmp_path / "parts", 4, resume=True)
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


def test_a_saved_and_reloaded_method_makes_the_same_scan(name, tmp_path):
    weights = trained(name, tmp_path / "run", 2)
    source = next(iter(samples(tiny(name)[2], 5).values()))
    made = []
    for _ in range(2):
        game, _, _ = tiny(name)
        game.load_state_dict(weights)
        with torch.no_grad():
            made.append(game.eval().make(source, torch.Generator().manual_seed(7)).numpy())
    np.testing.assert_array_equal(*made)


def test_every_setting_says_what_it_is_and_every_preset_can_be_loaded(name):
    kind = find_method(name)
    for setting, field in walk(kind.settings_type):
        assert field.description, setting
    for preset in kind.presets.values():
        settings = load_settings(kind.settings_type, preset=preset)
        kind.recipe(settings)
        assert commented_yaml(settings)
    assert {"paper", "cpu"} <= set(kind.presets)


def test_an_unknown_method_is_refused_with_the_names_there_are():
    with pytest.raises(SettingsError, match="magan"):
        find_method("magna")
