"""The papers' numbers that stand beside ours, typed off the papers' tables once more."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from scansmith.studies.analyses import options_of
from scansmith.studies.healed_channel import PUBLISHED as TABLE_V
from scansmith.studies.lesion_classification import Asked, Study
from scansmith.studies.lesion_classification_report import PUBLISHED as TABLES_VI_VII
from scansmith.studies.spec import LABEL_DICE, LABEL_MSE, Analysis, find_spec, paper_specs

TUMOURS = ("whole tumour", "tumour core", "enhancing tumour")
# MSE and Dice of registered multimodal's nos. 1 to 25.
TABLE_2 = [
    (0.026, 0.915), (0.032, 0.902), (0.205, 0.708), (0.206, 0.736), (0.205, 0.754),
    (0.031, 0.908), (0.028, 0.907), (0.030, 0.907), (0.041, 0.850), (0.031, 0.904),
    (0.024, 0.935), (0.025, 0.921), (0.023, 0.939), (0.026, 0.916), (0.027, 0.913),
    (0.033, 0.901), (0.034, 0.897), (0.027, 0.911), (0.025, 0.927), (0.026, 0.920),
    (0.026, 0.915), (0.032, 0.898), (0.036, 0.885), (0.195, 0.795), (0.021, 0.940),
]  # fmt: skip


def rows(measures, **arms):
    """Arm -> measure -> value, of arms whose values are given in the order of the measures."""
    return {arm: dict(zip(measures, values, strict=True)) for arm, values in arms.items()}


def volumes(measures, *values):
    names = ("100R", "100F", "100F+R", "300F+R", "500F+R")
    return rows(measures, **dict(zip(names, values, strict=True)))


PUBLISHED = {
    "magan/painting": rows(
        ["slice raw psnr"], **{"MAGAN": [64.72], "no dilation": [59.66], "no residual": [55.23]}
    ),
    "magan/segmentation": rows(["tumour"], **{"real": [0.611], "real + painted": [0.658]}),
    "ant-gan/ablations": rows(
        ["psnr outside"],
        **{"CycleGAN": [21.34], "CycleGAN + shortcut": [27.29], "ANT-GAN": [28.44]},
    ),
    "mm-gan/table-1-unet": volumes(
        TUMOURS,
        (0.8722, 0.7525, 0.6638),
        (0.6539, 0.5170, 0.4117),
        (0.8720, 0.7621, 0.6632),
        (0.8875, 0.7685, 0.6618),
        (0.8891, 0.7674, 0.6662),
    ),
    "mm-gan/table-1-cascade": volumes(
        TUMOURS,
        (0.8989, 0.8356, 0.7349),
        (0.5227, 0.3763, 0.3380),
        (0.8981, 0.8249, 0.7321),
        (0.8963, 0.8298, 0.7346),
        (0.8990, 0.8305, 0.7379),
    ),
    "mm-gan/table-2": volumes(["tumour"], [0.6856], [0.4166], [0.6795], [0.6903], [0.6880]),
    "registered-multimodal/table-1": rows(
        ["MSE", "Dice"],
        **{
            "real": (0.026, 0.915),
            "1 SEG": (0.053, 0.741),
            "1 EC + 4 DC": (0.055, 0.808),
            "4 SEG": (0.043, 0.838),
        },
    ),
    "registered-multimodal/table-2": rows(
        [LABEL_MSE, LABEL_DICE],
        **{f"no {n}": values for n, values in enumerate(TABLE_2, 1)},
    ),
}


@pytest.mark.parametrize("study", paper_specs())
def test_a_study_has_the_numbers_of_its_table(study):
    assert find_spec(study).published.arms == PUBLISHED.get(study, {})


def test_what_others_reached_is_cited():
    cited = find_spec("magan/painting").published.cited
    found = {name: row["slice raw psnr"] for name, row in cited.items()}
    assert found == {
        "Atlas": 45.15, "SR": 49.77, "SRF+": 55.30, "MOS": 60.11, "DCAN": 58.26,
        "MC-GAN": 59.29, "ME-cGAN": 61.35,
    }  # fmt: skip
    readers = find_spec("magan/table-4").published.cited
    assert [tuple(row.values()) for row in readers.values()] == [
        (37, 13),
        (18, 32),
        (42, 8),
        (44, 6),
    ]


def test_a_study_that_publishes_one_structures_dice_is_decided_by_it():
    """A mean with the organ, which everybody finds, would hide the tumour."""
    asked = {}
    for name in paper_specs():
        measures = {m for row in find_spec(name).published.arms.values() for m in row}
        if len(measures) == 1 and measures <= {"tumour", "lesion", "liver"}:
            asked[name] = (find_spec(name).decided_by, tuple(measures))
    assert sorted(asked) == ["magan/segmentation", "mm-gan/table-2"]
    assert all(decided == published for decided, published in asked.values())


def test_ant_gans_tables_v_to_vii():
    assert [tuple(row.values()) for row in TABLE_V["arms"].values()] == [
        (0.7544, 0.8760, 0.7753), (0.7777, 0.8910, 0.7977),
    ]  # fmt: skip
    assert list(TABLE_V["arms"]["plain"]) == ["enhancing tumour", "whole tumour", "tumour core"]
    found = {name: list(told["arms"].values()) for name, told in TABLES_VI_VII.items()}
    measures = ("precision", "recall", "f1")
    wanted = {
        "channel": [(0.8941, 0.8986, 0.896), (0.9235, 0.9096, 0.917)],
        "fakes": [(0.6556, 0.6336, 0.644), (0.7719, 0.7794, 0.776)],
    }
    assert found == {
        name: [dict(zip(measures, values, strict=True)) for values in told]
        for name, told in wanted.items()
    }


def test_the_tables_sizes_are_the_defaults():
    # Table VII: 50 real slices of each kind and as many fakes; MAGAN's Table 4: 50 + 50 slices.
    assert (Asked().slices, Asked().repeats) == (50, 5)
    assert options_of(find_spec("magan/table-4")).cases == 100


def test_mm_gans_spread_over_cases_stands_with_its_means():
    sd = {
        "mm-gan/table-1-unet": (
            (0.14, 0.24, 0.33), (0.25, 0.28, 0.34), (0.14, 0.21, 0.33), (0.09, 0.20, 0.33),
            (0.10, 0.20, 0.32),
        ),
        "mm-gan/table-1-cascade": (
            (0.07, 0.16, 0.29), (0.30, 0.30, 0.31), (0.07, 0.15, 0.28), (0.08, 0.16, 0.28),
            (0.08, 0.15, 0.27),
        ),
    }  # fmt: skip
    for study, values in sd.items():
        assert find_spec(study).published.sd == volumes(TUMOURS, *values)
    found = find_spec("mm-gan/table-2").published.sd
    assert found == volumes(["tumour"], [0.18], [0.30], [0.19], [0.20], [0.18])


def test_every_comparison_has_what_one_would_do_instead():
    """Copies or drawn contrasts that train as long as any arm of a generator, and classical
    augmentation; where lesions are named, copies. Of analyses Table VII alone learns from fakes,
    all arms for the same steps.
    """
    for study in paper_specs():
        spec = find_spec(study)
        if isinstance(spec, Analysis):
            if spec.analysis == "lesion-classification":
                folds = SimpleNamespace(runs=spec.generators)
                arms = Study(folds, options_of(spec).classifiers).arms["fakes"]
                for name in spec.generators:
                    fakes = {f"real + {name}", f"real + {name}, augmented"}
                    assert {arm.replace(name, "copies") for arm in fakes} | fakes < {*arms}
            continue
        steps, makers = spec.relative_steps, spec.makers
        instead = [*makers.get("copy-paste", []), *makers.get("label-sampling", [])]
        trained = [arm for by in spec.generators for arm in makers.get(by, [])]
        assert max(steps[arm] for arm in instead) >= max(steps[arm] for arm in trained), study
        assert "copy-paste" in makers or not spec.lesion, study
        classical = [a for a in spec.arms.values() if not a.synthetic and (a.augment or a.enhanced)]
        assert classical, study
