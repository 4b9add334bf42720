import numpy as np
import pytest
from pydantic import ValidationError

from scansmith.recipe import Codec, Draw, Facts, Intensity, Recipe


def a_recipe(**changes):
    plain = dict(method="test", dims=2, size=(8, 8), intensity=Intensity(kind="zscore"))
    return Recipe(**plain | changes)


def test_a_recipe_survives_json():
    recipe = a_recipe(
        spacing_mm=(1.5, 1.5), needs=("liver",), draws=(Draw(name="a", has=("liver",)),)
    )
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


def test_facts_survive_json():
    codec = Codec(offset=1.5, scale=0.1, low=-1, background=-1, data_range=2)
    facts = Facts(
        dims=3, size=(8, 9, 10), modalities=("t1",), structures=("background",), codecs=(codec,)
    )
    assert Facts.model_validate_json(facts.model_dump_json()) == facts


def test_a_recipe_does_not_change():
    with pytest.raises(ValidationError):
        a_recipe().dims = 3


def test_an_unknown_word_in_a_recipe_is_a_mistake():
    with pytest.raises(ValidationError, match="modality"):
        a_recipe(modality="ct")


def test_without_draws_every_sample_is_drawn_as_real():
    assert a_recipe().draws == (Draw(name="real"),)


def test_a_codec_maps_and_clips():
    codec = Codec(offset=40, scale=200, low=-1, high=1, data_range=400)
    raw = np.array([-200, 40, 140, 1000], dtype=np.int16)
    assert codec.encode(raw).tolist() == [-1, 0, 0.5, 1]
    assert codec.encode(raw).dtype == np.float32


def test_a_codec_keeps_the_background_apart():
    codec = Codec(offset=100, scale=50, low=-1, high=1, background=-1, data_range=100)
    assert codec.encode(np.array([0, 100, 125])).tolist() == [-1, 0, 0.5]
    assert codec.decode(np.array([-1, 0, 0.5])).tolist() == [0, 100, 125]


def test_a_codec_leaves_the_input_alone():
    raw, network = np.array([0.0, 5.0]), np.array([-1.0, 0.0])
    codec = Codec(offset=1, scale=2, low=-1, high=1, background=-1, data_range=4)
    codec.encode(raw)
    codec.decode(network)
    assert raw.tolist() == [0, 5]
    assert network.tolist() == [-1, 0]
