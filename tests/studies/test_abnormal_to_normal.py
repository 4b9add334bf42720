"""The healing study: measures by hand on drawn slices, and the whole of it on phantoms."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from scansmith.data.phantom import write_phantoms
from scansmith.methods.ant_gan import AntGan
from scansmith.recipe import Codec, Facts
from scansmith.scan import DataError
from scansmith.settings import load_settings
from scansmith.studies import abnormal_to_normal, healing
from scansmith.studies.feature_maps import GAP, feature_sheet, joint_tsne
from scansmith.studies.tables import Slice
from scansmith.workflow import prepare, train

TINY = {"data.size": (16, 16), "method.base": 4, "method.critic_base": 4, "method.blocks": 1}


def tiny(**sets):
    settings = load_settings(AntGan.settings_type, preset={**TINY, "method.least_piece": 1, **sets})
    codec = Codec(offset=0.0, scale=1.0, low=-1.0, high=1.0, data_range=2.0)
    facts = Facts(
        dims=2, size=(16, 16), modalities=("flair",), structures=("background", "oedema"),
        codecs=(codec,),
    )  # fmt: skip
    torch.manual_seed(0)
    return AntGan(settings, facts).eval()


def brain():
    """0..1: a body of 14 x 14 at 0.5 with a lesion of 4 x 4 at 0.9."""
    image = np.zeros((1, 16, 16), np.float32)
    image[:, 1:15, 1:15] = 0.5
    lesion = np.zeros((16, 16), bool)
    lesion[6:10, 6:10] = True
    twin = image.copy()
    image[:, lesion] = 0.9
    return image, lesion, image[0] > 0, twin


def test_scores_outside_do_not_see_the_lesion_and_scores_inside_see_nothing_else():
    x, lesion, inside, twin = brain()
    y = np.where(lesion, 0.6, x).astype(np.float32)
    y[:, 0, :] += 0.1  # 16 pixels of air
    found = healing.of_abnormal(x, y, lesion, inside, twin)
    # Outside: 16 of 240 pixels differ by 0.1, MSE 0.01 * 16 / 240; inside the body none.
    assert found["psnr outside"] == pytest.approx(10 * np.log10(240 / 0.16))
    assert found["psnr outside, body"] == np.inf
    assert found["change outside"] == pytest.approx(0.1 * 16 / 240)
    assert found["change inside"] == pytest.approx(0.3)
    assert found["psnr inside, twin"] == pytest.approx(20)  # 0.6 for 0.5, MSE 0.01
    assert found["bias inside, twin"] == pytest.approx(0.1)


def test_dice_by_hand():
    a, b = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    a[:2], b[1:3] = True, True
    assert healing.dice(a, b) == 0.5  # 8 and 8 pixels, 4 shared
    assert healing.dice(a, ~a) == 0.0
    assert np.isnan(healing.dice(a & ~a, a & ~a))


def test_mean_fill_takes_the_mean_of_the_body_around():
    x, lesion, _, twin = brain()
    filled = healing.mean_fill(2 * x[None] - 1, lesion[None])
    np.testing.assert_allclose(filled, 2 * twin[None] - 1, atol=1e-6)


def slices(cases=("a", "b")):
    x, lesion, inside, _ = brain()
    network = 2 * x - 1
    places = [Slice(case, case, network, lesion.astype(np.uint8)) for case in cases]
    count = len(cases)
    return healing.Slices(
        places, np.stack([network] * count), np.stack([lesion] * count), np.stack([inside] * count)
    )


def test_the_best_threshold_is_the_one_that_shows_the_lesion_and_no_more():
    def heal(images, lesion):
        """Takes 0.3 of the lesion, and 0.11 of a square of 6 x 6 in the body."""
        made = images.copy()
        made[:, :, 1:7, 1:7] -= 0.22
        made[:, 0][lesion] -= 0.6
        return made

    # Up to 0.10 the square is found too; above 0.29 nothing is.
    assert healing.best_threshold(slices(), heal, tiny()) == pytest.approx(0.12)


def test_slices_can_be_thinned_evenly():
    five = slices("abcde")
    assert [place.case for place in five.thinned(3).places] == ["a", "c", "e"]
    assert len(five.thinned(9).places) == 5


class Silent(nn.Module):
    def forward(self, x):
        return x


def test_a_generator_that_does_nothing_draws_no_lesion():
    method = tiny()
    method.n2a = Silent()
    assert healing.drawn(slices(), method) == {"share": 0.0, "pixels": 0.0}


def test_feature_sheets_show_the_liveliest_maps_enlarged():
    sheet = feature_sheet(tiny(), slices().images[0], ["conv3", "deconv2"], count=6)
    # conv3 has 16 maps of 4 x 4, deconv2 4 of 16 x 16: two places stay empty.
    assert sheet.shape == (2 * (16 + GAP), 7 * (16 + GAP))
    first = sheet[:16, 16 + GAP : 32 + GAP]
    assert (first.reshape(4, 4, 4, 4) == first[::4, ::4][:, None, :, None]).all()
    assert {int(first.min()), int(first.max())} == {0, 255}
    assert not sheet[16 + GAP : 32 + GAP, 5 * (16 + GAP) :].any()


def test_a_joint_map_parts_what_is_far_apart_and_repeats():
    rng = np.random.default_rng(0)
    sets = {"dark": rng.normal(0, 0.1, (12, 1, 4, 4)), "light": rng.normal(5, 0.1, (10, 1, 4, 4))}
    places = joint_tsne(sets)
    assert {name: points.shape for name, points in places.items()} == {
        "dark": (12, 2),
        "light": (10, 2),
    }
    centres = [points.mean(axis=0) for points in places.values()]
    spread = max(points.std() for points in places.values())
    assert np.linalg.norm(centres[0] - centres[1]) > spread
    np.testing.assert_array_equal(joint_tsne(sets)["light"], places["light"])
    with pytest.raises(DataError, match="four at least"):
        joint_tsne({"few": np.zeros((3, 2))})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("healing")
    write_phantoms(folder / "brain", "brain", 4, 3, (32, 32, 16))
    small = ["data.size=32,32", "data.modality=flair", "data.split=0.5,0,0.5", "data.min_pixels=4"]
    tiny_nets = ["method.base=4", "method.critic_base=4", "method.blocks=1", "train.steps=1"]
    store = prepare(folder / "brain", folder / "store", "ant-gan", sets=small)
    train("ant-gan", store.path, folder / "run", sets=[*small, *tiny_nets])
    return folder


def test_the_study_measures_a_run_beside_the_baselines(run, tmp_path, capsys):
    twins = run / "brain" / "twins"
    words = [f"tiny={run / 'run'}", f"again={run / 'run'}", "--twins", str(twins), "--tsne", "4"]
    abnormal_to_normal.main([*words, "--out", str(tmp_path)])
    found = json.loads((tmp_path / "study.json").read_text())
    unchanged, fill = found["healed"]["unchanged"], found["healed"]["mean fill"]
    assert unchanged["change inside"]["mean"] == unchanged["dice"]["mean"] == 0
    assert fill["change outside"]["mean"] == 0
    # A FLAIR lesion is bright: any fill comes nearer to the healthy brain than the lesion itself.
    assert fill["psnr inside, twin"]["mean"] > unchanged["psnr inside, twin"]["mean"]
    assert found["better than"]["again"]["psnr outside"]["mean"] == 0
    assert found["better than"]["again"]["psnr healthy"]["mean"] == 0
    assert "| mean fill |" in capsys.readouterr().out
    assert all((tmp_path / f"{name}.png").is_file() for name in ("study", "features", "tsne"))


def test_twins_are_the_slices_outside_the_lesion(run):
    ground = healing.Ground.of(run / "store", run / "brain" / "twins")
    apart = np.abs(ground.twins - ground.abnormal.images)[:, 0] > 0.01
    # The lesion's soft edge reaches beyond its label.
    assert (apart & ground.abnormal.lesion).sum() > 0.5 * ground.abnormal.lesion.sum()
    assert apart[~ground.abnormal.lesion].mean() < 0.05


def test_twins_of_other_patients_are_refused(run, tmp_path):
    write_phantoms(tmp_path / "other", "brain", 4, 4, (32, 32, 16))
    with pytest.raises(DataError, match=r"differs from its twin|has \d+ slices"):
        healing.Ground.of(run / "store", tmp_path / "other" / "twins")
    write_phantoms(tmp_path / "fewer", "brain", 1, 3, (32, 32, 16))
    with pytest.raises(DataError, match="no twin of"):
        healing.Ground.of(run / "store", tmp_path / "fewer" / "twins")
