"""What every method promises, tried on each of them at a tiny size."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scansmith.methods import METHODS, find_method
from scansmith.recipe import Codec, Facts
from scansmith.scan import Batch, SettingsError
from scansmith.settings import commented_yaml, load_settings, walk
from scansmith.train.arena import Arena
from scansmith.train.checkpoint import load_weights
from scansmith.train.loop import fit

STRUCTURES = ("background", "liver", "tumour")
TINY = {
    "magan": {"data.size": (32, 32), "data.intensity": "window", "method.base": 4},
    "heart-gan": {"data.size": (32, 32), "method.base": 4, "method.patch": 8},
}
LOOP = {"train.batch": 2, "train.checkpoint_every": 2, "train.device": "cpu", "train.log_every": 1}


def tiny(name, **sets):
    kind = find_method(name)
    settings = load_settings(kind.settings_type, preset={**TINY[name], **LOOP, **sets})
    recipe = kind.recipe(settings)
    low, high = recipe.intensity.target if recipe.intensity.kind != "zscore" else (-3.0, 3.0)
    codec = Codec(offset=0.0, scale=100.0, low=low, high=high, data_range=200.0)
    facts = Facts(
        dims=recipe.dims,
        size=recipe.size,
        modalities=("ct",),
        structures=STRUCTURES,
        codecs=(codec,),
    )
    torch.manual_seed(0)
    return kind(settings, facts), settings, recipe


def samples(recipe, step):
    """Blobs of organ and lesion, new at each step; a function of the step alone."""
    chance = torch.Generator().manual_seed(step)
    low, high = recipe.intensity.target
    drawn = {}
    for draw in recipe.draws:
        labels = torch.zeros(2, *recipe.size, dtype=torch.long)
        labels[:, 4:-4, 4:-4] = 1
        if "tumour" in draw.has or "*" in draw.has:
            labels[:, 10:18, 12:20] = 2
        noise = torch.rand(2, 1, *recipe.size, generator=chance)
        drawn[draw.name] = Batch(low + (high - low) * noise, labels)
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
    scene = game.play(samples(recipe, 1))
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


def trained(name, folder, steps, resume=False, seed=0):
    game, settings, recipe = tiny(name, **{"train.steps": steps, "train.seed": seed})
    fit(
        game,
        lambda step: samples(recipe, step),
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
    trained(name, tmp_path / "parts", 2)
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
