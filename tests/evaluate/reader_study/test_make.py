"""Reader studies: what lies in the readers' folder says nothing but what the pictures show."""

from __future__ import annotations

import json
import re
import struct
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from scansmith.evaluate.reader_study.cases import TooFewPictures, choose, open_sets
from scansmith.evaluate.reader_study.grid import (
    Shape,
    common_grid,
    compare_sides,
    fit_greys,
    spread_slices,
)
from scansmith.evaluate.reader_study.make import make_study, reach
from scansmith.evaluate.reader_study.options import StudyOptions
from scansmith.evaluate.reader_study.pages import Pages
from scansmith.evaluate.reader_study.score import score_study
from scansmith.evaluate.view import AXES, View
from scansmith.scan import DataError, RunError, SettingsError

REAL_STEP = np.diag([-2.0, -2.0, 5.0, 1.0])  # LPS
SHAPE = (24, 20, 5)


def body(seed: int, lesion: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Air, a body, a liver that is nowhere symmetric, a tumour in slice 3; (i, j, k) in LPS."""
    rng = np.random.default_rng(seed)
    image = np.full(SHAPE, -900.0)
    labels = np.zeros(SHAPE, np.uint8)
    image[2:22, 2:18] = 40
    labels[4:16, 4:12] = 1
    if lesion:
        labels[6:10, 6:9, 3] = 2
        labels[6:8, 6:8, 1] = 2
    image[labels == 1], image[labels == 2] = 90, 60
    image[:, :, 0] -= 20  # feet differ from head
    return np.rint(image + rng.normal(0, 6, SHAPE)), labels


def write_set(
    root: Path,
    cases: dict[str, tuple[np.ndarray, np.ndarray]],
    *,
    affine: np.ndarray = REAL_STEP,
    dtype: type = np.int16,
    modality: str = "CT",
    description: str = "",
    sources: dict[str, str] | None = None,
) -> Path:
    """An nnU-Net raw data set, with provenance.jsonl if there are sources."""
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True)
    facts = {
        "channel_names": {"0": modality},
        "labels": {"background": 0, "liver": 1, "tumour": 2},
        "numTraining": len(cases),
        "file_ending": ".nii.gz",
    }
    (root / "dataset.json").write_text(json.dumps(facts))
    for name, (image, labels) in cases.items():
        file = nibabel.Nifti1Image(image.astype(dtype), affine)
        file.header["descrip"] = description.encode()
        nibabel.save(file, root / "imagesTr" / f"{name}_0000.nii.gz")
        nibabel.save(nibabel.Nifti1Image(labels, affine), root / "labelsTr" / f"{name}.nii.gz")
    if sources is not None:
        rows = [{"case": case, "source_case": real} for case, real in sources.items()]
        (root / "provenance.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return root


def write_sides(folder: Path, count: int = 6, **options: object) -> tuple[Path, Path]:
    """A real set, and a synthetic one that lies otherwise: RAS, float32, padded, with a mark."""
    real = write_set(folder / "real", {f"p{n:02}": body(n) for n in range(count)})
    made = {}
    for n in range(count):
        image, labels = (array[::-1, ::-1] for array in body(100 + n))
        wide = ((3, 3), (5, 5), (0, 0))
        made[f"synth_{n}"] = np.pad(image, wide, constant_values=-1000.0), np.pad(labels, wide)
    synthetic = write_set(
        folder / "synthetic",
        made,
        affine=np.diag([2.0, 2.0, 5.0, 1.0]),
        dtype=np.float32,
        description="SYNTHETIC scansmith",
        **options,
    )
    return real, synthetic


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_sides(tmp_path_factory.mktemp("sides"))


def made(sides: tuple[Path, Path], out: Path, cases: int = 8, **options: object) -> dict:
    return make_study(*sides, out, StudyOptions(cases, **options))


def chunks(png: bytes) -> list[bytes]:
    """The kinds of the parts of a PNG file."""
    found, at = [], 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        found.append(png[at + 4 : at + 8])
        at += 12 + length
    return found


def test_slices_of_both_sides_are_files_of_one_kind(sides, tmp_path: Path) -> None:
    out = tmp_path / "study"
    record = made(sides, out, seed=4)
    files = sorted((out / "cases").iterdir())
    tag = record["study"]
    assert [path.name for path in files] == [f"{tag}_{n}.png" for n in range(1, 9)]
    truths = [row["truth"] for row in record["cases"].values()]
    assert sorted(truths) == ["real"] * 4 + ["synthetic"] * 4
    assert truths != sorted(truths)  # shuffled
    assert truths != sorted(truths, reverse=True)
    assert len({path.stat().st_size for path in files}) == 1
    assert {path.stat().st_mtime for path in out.rglob("*")} == {946728000.0}
    for path in files:
        with Image.open(path) as picture:
            # 20 x 24 pixels, 21 times as large: 512 // 24.
            assert (picture.mode, picture.size) == ("L", (24 * 21, 20 * 21))
        assert set(chunks(path.read_bytes())) == {b"IHDR", b"IDAT", b"IEND"}


def test_nothing_in_the_folder_names_a_case_or_a_data_set(sides, tmp_path: Path) -> None:
    record = made(sides, tmp_path / "study")
    names = {row["case"] for row in record["cases"].values()}
    for path in (tmp_path / "study").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            text = re.sub(rb"[A-Za-z0-9+/=]{200,}", b"", content)  # pictures
            assert not [name for name in names if name.encode() in text], path
            assert b"truth" not in text
    assert {p.name for p in tmp_path.iterdir()} == {"study", "study-key.json"}
    assert json.loads((tmp_path / "study-key.json").read_text()) == record


def test_volumes_of_both_sides_have_one_header_to_the_byte(sides, tmp_path: Path) -> None:
    out = tmp_path / "study"
    record = made(sides, out, dims=3)
    files = sorted((out / "cases").iterdir())
    assert {path.suffix for path in files} == {".nii"}
    assert len({path.stat().st_size for path in files}) == 1
    assert len({path.read_bytes()[:352] for path in files}) == 1
    image = nibabel.load(files[0])
    assert image.shape == SHAPE
    assert image.get_data_dtype() == np.uint8
    assert nibabel.aff2axcodes(image.affine) == ("L", "P", "S")
    assert image.header.get_zooms() == (2, 2, 5)
    # The body lies where it lay, whichever way its file ran: fat on the air side, dark feet.
    for path, row in zip(files, record["cases"].values(), strict=True):
        grey = np.asarray(nibabel.load(path).dataobj)
        image, _ = body(
            int(row["case"][1:]) if row["truth"] == "real" else 100 + int(row["case"][6:])
        )
        np.testing.assert_array_equal(grey, np.rint(255 * (image.clip(-140, 260) + 140) / 400))


def test_the_same_picture_stored_in_two_ways_becomes_the_same_file(tmp_path: Path) -> None:
    """Not only alike: left is left, front is front, and the slice with most lesion is taken."""
    real, synthetic = write_sides(tmp_path)
    cases = {}
    for n in range(6):  # the synthetic side holds the real pictures
        image, labels = (array[::-1, ::-1] for array in body(n))
        cases[f"other_{n}"] = image, labels
    twin = write_set(
        tmp_path / "twin", cases, affine=np.diag([2.0, 2.0, 5.0, 1.0]), dtype=np.float32
    )
    del synthetic
    record = make_study(real, twin, tmp_path / "study", StudyOptions(12))
    picture = {}
    for name, row in record["cases"].items():
        number = int(row["case"].strip("pother_"))
        content = (tmp_path / "study" / "cases" / f"{name}.png").read_bytes()
        picture.setdefault(number, set()).add(content)
        assert row["slice"] == 4
    assert {len(found) for found in picture.values()} == {1}
    assert len(picture) == 6


def test_both_sides_get_the_coarsest_step_and_the_smallest_field_of_view() -> None:
    shapes = [
        Shape("fine", (9, 100, 120), (5.0, 1.0, 1.0), AXES),
        Shape("coarse", (7, 64, 64), (4.0, 1.5, 1.6), AXES),
    ]
    # Fields of view: 100 x 120 mm and 96 x 102.4 mm; pixels of 1.6 mm: 96 / 1.6 = 60, 64.
    flat = common_grid(shapes, 2)
    assert flat.shape == (1, 60, 64)
    assert flat.spacing_mm[1:] == (1.6, 1.6)
    # 45 and 28 mm deep in steps of 5; 96 / 1.5 = 64; 102.4 / 1.6 = 64.
    assert common_grid(shapes, 3).shape == (5, 64, 64)
    assert common_grid(shapes, 3).spacing_mm == (5.0, 1.5, 1.6)


def test_the_finer_side_is_averaged_and_the_coarser_left_as_it_is() -> None:
    shapes = [
        Shape("fine", (1, 32, 32), (1.0,) * 3, AXES),
        Shape("coarse", (1, 16, 16), (1.0, 2.0, 2.0), AXES),
    ]
    grid = common_grid(shapes, 2)
    coarse = np.arange(256.0).reshape(1, 1, 16, 16)
    np.testing.assert_array_equal(grid.applied(coarse, (1.0, 2.0, 2.0)), coarse)
    noise = np.random.default_rng(0).normal(size=(1, 1, 32, 32))
    assert grid.applied(noise, (1.0, 1.0, 1.0)).std() < 0.6 * noise.std()


def test_cases_that_would_spoil_the_others_are_refused_and_all_named() -> None:
    usual = [Shape(f"usual {n}", (10, 64, 64), (3.0, 1.0, 1.0), AXES) for n in range(5)]
    odd = [
        Shape("coarse", (10, 24, 24), (3.0, 2.5, 2.5), AXES),
        Shape("small", (10, 30, 64), (3.0, 1.0, 1.0), AXES),
        Shape("sagittal", (10, 64, 64), (3.0, 1.0, 1.0), (AXES[2], AXES[0], AXES[1])),
    ]
    with pytest.raises(DataError) as error:
        common_grid([*usual, *odd], 2)
    assert [(p.where, p.kind) for p in error.value.problems] == [
        ("sagittal", "orientation"),
        ("coarse", "grid"),
        ("small", "grid"),
    ]
    assert common_grid(usual, 2).shape == (1, 64, 64)
    with pytest.raises(DataError, match="expected 16 a side"):
        common_grid([Shape("tiny", (4, 12, 12), (1.0,) * 3, AXES)], 2)


def sides_of(synthetic: Shape) -> dict[str, list[Shape]]:
    """Three real cases of 96 x 96 mm in steps of 1 mm, and three synthetic ones like this."""
    real = Shape("real", (10, 96, 96), (3.0, 1.0, 1.0), AXES)
    return {"real": [real] * 3, "synthetic": [synthetic] * 3}


def test_sides_that_show_another_part_are_refused_though_no_case_is_unlike_the_median() -> None:
    # 96 and 34 mm: the median of all is 65, and 34 / 65 = .52 is not below one half.
    sides = sides_of(Shape("made", (10, 34, 34), (3.0, 1.0, 1.0), AXES))
    assert common_grid([*sides["real"], *sides["synthetic"]], 2).shape == (1, 34, 34)
    with pytest.raises(DataError, match="real cases 96 x 96 mm, synthetic cases 34 x 34 mm"):
        compare_sides(sides, 2)
    with pytest.raises(DataError, match="30 x 96 x 96 mm, synthetic cases 12 x 96 x 96 mm"):
        compare_sides(sides_of(Shape("thin", (4, 96, 96), (3.0, 1.0, 1.0), AXES)), 3)


def test_sides_that_are_less_unlike_are_noted() -> None:
    # 96 / 64 = 1.5 is not noted, 96 / 60 = 1.6 is; 24 pixels of 4 mm show 96 mm, too.
    assert compare_sides(sides_of(Shape("made", (10, 64, 96), (3.0, 1.0, 1.0), AXES)), 2) == []
    (note,) = compare_sides(sides_of(Shape("made", (10, 60, 96), (3.0, 1.0, 1.0), AXES)), 2)
    assert note.startswith("Fields of view: real cases 96 x 96 mm, synthetic cases 60 x 96 mm")
    (note,) = compare_sides(sides_of(Shape("made", (10, 24, 24), (3.0, 4.0, 4.0), AXES)), 2)
    assert note.startswith("Steps: real cases 1 x 1 mm, synthetic cases 4 x 4 mm (medians)")


def test_a_study_of_crops_and_wholes_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    sides = write_sides(tmp_path, 4)
    crops = {f"crop_{n}": tuple(a[:18, :18] for a in body(50 + n)) for n in range(4)}
    small = write_set(tmp_path / "crops", crops)
    wide = {
        f"w{n}": tuple(np.pad(a, ((0, 24), (0, 20), (0, 0))) for a in body(n)) for n in range(4)
    }
    real = write_set(tmp_path / "wide", wide)
    # 48 x 40 and 18 x 18 pixels of 2 mm; 36 mm is .55 of 66 mm, the median of all along one axis.
    with pytest.raises(DataError, match="cut to the smaller, one side would show a part"):
        make_study(real, small, tmp_path / "study", StudyOptions(8))
    assert not (tmp_path / "study").exists()
    record = made(sides, tmp_path / "noted")
    assert record["notes"] == []  # 30 of 20 pixels, padded to a square


def test_one_folder_for_both_sets_is_refused(sides, tmp_path: Path) -> None:
    real, _ = sides
    again = real / ".." / real.name
    with pytest.raises(SettingsError, match="for both, expected two data sets"):
        make_study(real, again, tmp_path / "study", StudyOptions(8))
    assert not list(tmp_path.iterdir())


def test_ct_has_one_window_and_mr_one_of_each_picture() -> None:
    air = [np.array([-1000.0, -100.0, 40.0, 200.0] * 50)]
    ct = fit_greys("ct", air, None)
    assert ct.window == (-140.0, 260.0)
    # (60 + 140) / 400 of 255 is 127.5, to the even neighbour.
    assert list(ct.of(np.array([-500.0, -140, 60, 260, 900]))) == [0, 0, 128, 255, 255]
    mr = fit_greys("t1", [np.arange(1000.0)], None)
    assert mr.window is None
    picture = np.random.default_rng(0).gamma(2, 50, (30, 30))
    np.testing.assert_array_equal(mr.of(picture), mr.of(300 * picture))  # another scanner's units
    assert mr.of(picture).min() == 0
    assert mr.of(picture).max() == 255
    assert fit_greys("t1", air, (0.0, 100.0)).window == (0.0, 100.0)
    with pytest.raises(SettingsError, match="window: found 5 to 5"):
        fit_greys("t1", air, (5.0, 5.0))
    assert not mr.of(np.zeros((4, 4))).any()  # a blank picture is black, not an error


def test_slices_are_those_with_lesion_and_spread_over_it() -> None:
    lesion = np.zeros((10, 4, 4), bool)
    lesion[2:8, 0, 0] = True
    lesion[5, :2] = True
    case = View("c", "c", np.zeros((1, 10, 4, 4)), lesion.astype(np.uint8), (1.0,) * 3)
    assert spread_slices(case, lesion, 1) == [5]
    assert spread_slices(case, lesion, 3) == [3, 5, 7]  # middles of 2-3, 4-5, 6-7
    nothing = np.zeros_like(lesion)
    assert spread_slices(case, nothing, 1) == [5]  # labelled
    bare = View("c", "c", np.zeros((1, 10, 4, 4)), None, (1.0,) * 3)
    assert spread_slices(bare, nothing, 1) == [5]
    assert spread_slices(bare, nothing, 2) == [3, 6]
    assert spread_slices(case, lesion, 7) == [2, 3, 4, 5, 6, 7]  # all that show it


def test_nobody_is_shown_on_both_sides(tmp_path: Path) -> None:
    """p00 to p09 are real; each synthetic case was made from one of them."""
    real = write_set(tmp_path / "real", {f"p{n:02}": body(n) for n in range(10)})
    made_from = {f"synth_{n}": f"p{n % 10:02}" for n in range(20)}
    synthetic = write_set(
        tmp_path / "synthetic", {name: body(50) for name in made_from}, sources=made_from
    )
    sets = open_sets(real, synthetic, ())
    for seed in range(20):
        chosen = choose(sets, 5, 1, np.random.default_rng(seed))
        shown = {s: [c.patient for c in chosen if c.truth == s] for s in ("real", "synthetic")}
        assert len(shown["real"]) == len(shown["synthetic"]) == 5
        assert not set(shown["real"]) & set(shown["synthetic"])
        assert {made_from[c.files.case] for c in chosen if c.truth == "synthetic"} <= {
            *shown["synthetic"]
        }
        # Five patients on either side, although three would do for five synthetic cases.
        assert len(set(shown["synthetic"])) == 5
    # Six real cases need six patients; with two cases of each, three are enough for the others.
    assert len(choose(sets, 6, 1, np.random.default_rng(0))) == 12
    with pytest.raises(DataError, match=r"real set: 5 pictures .* \(10 patients are in both"):
        choose(sets, 9, 1, np.random.default_rng(0))


def test_pictures_of_one_source_are_noted_though_it_is_not_in_the_real_set(tmp_path: Path) -> None:
    real = write_set(tmp_path / "real", {f"p{n}": body(n) for n in range(4)})
    made_from = {f"synth_{n}": f"train{n % 2}" for n in range(4)}
    synthetic = write_set(
        tmp_path / "synthetic", {name: body(50) for name in made_from}, sources=made_from
    )
    record = make_study(real, synthetic, tmp_path / "study", StudyOptions(8))
    rows = [row for row in record["cases"].values() if row["truth"] == "synthetic"]
    assert {row["case"]: row["patient"] for row in rows} == made_from
    (note,) = record["notes"]
    assert note.startswith("The 4 synthetic pictures are of 2 patients")


def test_a_case_of_the_same_name_counts_as_the_same_patient(tmp_path: Path) -> None:
    cases = {f"p{n:02}": body(n) for n in range(8)}
    sets = open_sets(write_set(tmp_path / "a", cases), write_set(tmp_path / "b", cases), ())
    chosen = choose(sets, 4, 1, np.random.default_rng(0))
    assert len({c.files.case for c in chosen}) == 8


def test_more_slices_of_a_case_are_taken_only_when_cases_run_out(tmp_path: Path) -> None:
    sides = write_sides(tmp_path)
    sets = open_sets(*sides, ())
    chosen = choose(sets, 9, 2, np.random.default_rng(0))
    real = [(c.files.case, c.rank) for c in chosen if c.truth == "real"]
    assert len(set(real)) == 9
    assert len({case for case, rank in real if rank == 0}) == 6
    record = made(sides, tmp_path / "study", 18, per_case=2)
    assert any("9 real pictures are of 6 patients" in note for note in record["notes"])
    slices = {(r["truth"], r["case"], r["slice"]) for r in record["cases"].values()}
    assert len(slices) == 18
    assert {number for _, _, number in slices} == {2, 4}  # those with tumour


def test_a_case_shows_as_many_slices_as_it_has_and_others_more(tmp_path: Path) -> None:
    """Tumours are in two slices of each case; the first of either side has it in all five."""
    sides = {}
    for side, seed in (("real", 0), ("synthetic", 50)):
        cases = {f"{side}{n}": body(seed + n) for n in range(6)}
        cases[f"{side}0"][1][6:8, 6:8] = 2
        sides[side] = write_set(tmp_path / side, cases)
    record = made((sides["real"], sides["synthetic"]), tmp_path / "study", 28, per_case=4)
    rows = list(record["cases"].values())
    assert len({(row["case"], row["slice"]) for row in rows}) == 28
    shown = [row["case"] for row in rows]
    for side in sides:  # 14 = 4 + 5 * 2
        assert [shown.count(f"{side}{n}") for n in range(6)] == [4, 2, 2, 2, 2, 2]


@pytest.mark.parametrize(("patients", "least"), [(4, 0.8 ** (1 / 8)), (3, None)])
def test_what_can_be_found_out_is_counted_by_patients_as_the_score_does(
    tmp_path: Path, patients, least
) -> None:
    """Two slices of each; of four and four patients all right counts, of three not even that."""
    record = made(write_sides(tmp_path, patients), tmp_path / "study", 4 * patients, per_case=2)
    assert record["detectable_accuracy"] == (least and pytest.approx(least, abs=1e-5))
    rows = [f"{name},{row['truth']}" for name, row in record["cases"].items()]
    sheet = tmp_path / "answers-anna.csv"
    sheet.write_text("\n".join(["case,answer", *rows]))
    scored = score_study([sheet], tmp_path / "study-key.json", tmp_path / "score")
    assert scored["detectable_accuracy"] == record["detectable_accuracy"]
    words = "even a reader who is always right" if least is None else "is right in 97 % of the"
    assert words in reach(record)


def test_what_a_side_lacks_is_counted_by_what_its_cases_can_show(tmp_path: Path) -> None:
    sides = write_sides(tmp_path, count=6)
    with pytest.raises(TooFewPictures, match="real set: 12 pictures of 6 patients") as told:
        made(sides, tmp_path / "study", 26, per_case=5)
    assert told.value.missing == {"real": 1, "synthetic": 1}
    assert not (tmp_path / "study").exists()


def test_what_readers_may_go_by_is_noted(tmp_path: Path) -> None:
    healthy = {f"p{n}": body(n, lesion=n < 2) for n in range(4)}
    real = write_set(tmp_path / "real", healthy)
    synthetic = write_set(tmp_path / "synthetic", {f"s{n}": body(n) for n in range(4)})
    record = make_study(real, synthetic, tmp_path / "study", StudyOptions(8))
    assert record["notes"] == [
        "2 of 4 real and 4 of 4 synthetic cases have a lesion: readers may go by that."
    ]


def test_the_same_seed_gives_the_same_bytes_and_another_another_order(
    sides, tmp_path: Path
) -> None:
    def content(name: str, seed: int) -> dict[str, bytes]:
        made(sides, tmp_path / name, 12, seed=seed)
        found = {p.name: p.read_bytes() for p in (tmp_path / name).rglob("*") if p.is_file()}
        return found | {"key": (tmp_path / f"{name}-key.json").read_bytes()}

    one, again, other = content("one", 1), content("again", 1), content("other", 2)
    assert one == again
    assert one.keys() != other.keys()  # a tag of its own, so that no answer meets a wrong key
    truths = [
        [row["truth"] for row in json.loads(found["key"])["cases"].values()]
        for found in (one, other)
    ]
    assert truths[0] != truths[1]


def write_anew(
    folder: Path, seed: int, name: str = "s", depth_mm: float = 5.0
) -> tuple[Path, Path]:
    """Six real cases, the same ones each time, and six synthetic ones of this seed."""
    real = write_set(folder / "real", {f"p{n}": body(n) for n in range(6)})
    cases = {f"{name}{n}": body(seed + n) for n in range(6)}
    affine = np.diag([-2.0, -2.0, depth_mm, 1.0])
    return real, write_set(folder / "synthetic", cases, affine=affine)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_set_that_is_made_anew_makes_another_study(tmp_path: Path, dims: int) -> None:
    """Folders, names, seed and options are the same; the pictures are not."""
    keys = {
        name: made(write_anew(tmp_path / name, seed), tmp_path / f"study_{name}", dims=dims)
        for name, seed in (("old", 100), ("same", 100), ("new", 200))
    }
    assert keys["old"] == keys["same"]
    assert keys["old"]["sets"] == keys["new"]["sets"] == {"real": "real", "synthetic": "synthetic"}
    assert keys["old"]["study"] != keys["new"]["study"]
    rows = [f"{case},{row['truth']}" for case, row in keys["old"]["cases"].items()]
    (tmp_path / "answers-x.csv").write_text("\n".join(["case,answer", *rows]))
    with pytest.raises(DataError, match="which this study does not have"):
        score_study([tmp_path / "answers-x.csv"], tmp_path / "study_new-key.json", tmp_path / "out")


def test_other_voxel_sizes_make_another_study(tmp_path: Path) -> None:
    """Resampled, the same voxels are other pictures."""
    one = made(write_anew(tmp_path / "one", 100), tmp_path / "a", dims=3)
    thick = made(write_anew(tmp_path / "two", 100, depth_mm=6.0), tmp_path / "b", dims=3)
    assert one["study"] != thick["study"]


def test_who_learned_one_order_does_not_know_the_next(tmp_path: Path) -> None:
    """The seed is 0 throughout; names or pictures of the synthetic cases differ."""
    orders = []
    for number, (seed, name) in enumerate([(100, "s"), (200, "s"), (100, "t"), (300, "u")]):
        sides = write_anew(tmp_path / str(number), seed, name)
        record = made(sides, tmp_path / f"study_{number}", 12)
        orders.append([row["truth"] for row in record["cases"].values()])
    assert len(set(map(tuple, orders))) == 4


def test_several_modalities_stand_side_by_side_or_in_files_of_their_own(tmp_path: Path) -> None:
    for side in ("real", "made"):
        for n in range(4):
            folder = tmp_path / side / f"{side}{n}"
            folder.mkdir(parents=True)
            image, labels = body(n)
            for name, volume in (("t1", image), ("flair", -image)):
                file = nibabel.Nifti1Image(volume.astype(np.float32), REAL_STEP)
                nibabel.save(file, folder / f"{side}{n}_{name}.nii.gz")
            file = nibabel.Nifti1Image((labels == 2).astype(np.uint8), REAL_STEP)
            nibabel.save(file, folder / f"{side}{n}_seg.nii.gz")
    sides = tmp_path / "real", tmp_path / "made"
    record = made(sides, tmp_path / "flat")
    with Image.open(next((tmp_path / "flat" / "cases").iterdir())) as picture:
        assert picture.size == (2 * 24 * 21 + 4, 20 * 21)
        pixels = np.asarray(picture)
    left, right = pixels[:, : 24 * 21], pixels[:, 24 * 21 + 4 :]
    assert left[200, 0] < 40 < 200 < right[200, 0]  # air, and air with its sign changed
    assert "from left to right: t1, flair" in (tmp_path / "flat" / "INSTRUCTIONS.md").read_text()
    made(sides, tmp_path / "deep", dims=3)
    names = sorted(path.name for path in (tmp_path / "deep" / "cases").iterdir())
    assert len(names) == 16
    assert names[0].endswith("_1_flair.nii")
    made(sides, tmp_path / "one", modalities=("flair",))
    assert record["grey"].keys() == {"t1", "flair"}
    assert json.loads((tmp_path / "one-key.json").read_text())["grey"].keys() == {"flair"}
    with pytest.raises(SettingsError, match="modality: found t2, which not both sets have"):
        made(sides, tmp_path / "two", modalities=("flair", "t2"))


def test_the_page_holds_every_case_and_needs_nothing_else(sides, tmp_path: Path) -> None:
    record = made(sides, tmp_path / "study", dims=3)
    page = (tmp_path / "study" / "study.html").read_text()
    study = json.loads(re.search(r"const study = (\{.*?\});", page)[1])
    assert study["names"] == list(record["cases"])
    assert (study["depth"], study["height"], study["width"]) == (5, 20, 24)
    assert len(set(map(len, study["films"]))) == 1
    rest = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", page)
    assert not re.findall(r"(?:https?:|//[a-z]|<link|@import|url\(|src=)", rest)
    assert "default-src 'none'" in page
    sheet = (tmp_path / "study" / "answers-reader-2.csv").read_text().splitlines()
    assert sheet == ["case,answer,comment", *(f"{name},," for name in record["cases"])]


def test_volumes_too_large_for_a_page_are_read_in_a_viewer(
    sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[Pages.__module__], "PAGE_BYTES", 1000)
    made(sides, tmp_path / "study", dims=3, readers=1)
    assert not (tmp_path / "study" / "study.html").exists()
    text = (tmp_path / "study" / "INSTRUCTIONS.md").read_text()
    assert "study.html" not in text
    assert "ITK-SNAP" in text
    assert not (tmp_path / "study" / "answers-reader-2.csv").exists()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"cases": 6}, "cases: found 6, expected an even number from 8"),
        ({"cases": 9}, "cases: found 9"),
        ({"cases": 8, "dims": 4}, "dims: found 4"),
        ({"cases": 8, "dims": 3, "per_case": 2}, "slices of a case: found 2"),
        ({"cases": 8, "readers": 0}, "readers: found 0"),
        ({"cases": 8, "window": (3.0, 1.0)}, "window: found 3 to 1"),
    ],
)
def test_options_that_cannot_be_are_refused(sides, tmp_path: Path, options, text) -> None:
    with pytest.raises(SettingsError, match=text):
        make_study(*sides, tmp_path / "study", StudyOptions(**options))
    assert not list(tmp_path.iterdir())


def test_a_key_that_readers_would_find_or_that_is_there_is_refused(sides, tmp_path: Path) -> None:
    out, options = tmp_path / "study", StudyOptions(8)
    for inside in (out / "key.json", out / "deep" / ".." / "k" / "key.json", out):
        with pytest.raises(SettingsError, match="would lie in the readers' folder"):
            make_study(*sides, out, options, key=inside)
    (tmp_path / "old.json").write_text("kept")
    with pytest.raises(RunError, match="is there already, and a study cannot be scored without"):
        make_study(*sides, out, options, key=tmp_path / "old.json")
    assert (tmp_path / "old.json").read_text() == "kept"
    out.mkdir()
    (out / "something").touch()
    with pytest.raises(RunError, match="expected a new or an empty folder"):
        make_study(*sides, out, options)
    assert {p.name for p in tmp_path.iterdir()} == {"old.json", "study"}


def test_sets_that_cannot_be_shown_together_are_refused(sides, tmp_path: Path) -> None:
    real, _ = sides
    mr = write_set(tmp_path / "mr", {f"m{n}": body(n) for n in range(4)}, modality="T1")
    with pytest.raises(DataError, match="the real set has ct, the synthetic t1"):
        make_study(real, mr, tmp_path / "study", StudyOptions(8))
    few = write_set(tmp_path / "few", {f"f{n}": body(n) for n in range(3)})
    with pytest.raises(DataError, match=r"synthetic set: 3 pictures of 3 patients .* expected 4"):
        make_study(real, few, tmp_path / "study", StudyOptions(8))
    with pytest.raises(DataError, match="leave out nobody: neither set has such a case"):
        make_study(real, few, tmp_path / "study", StudyOptions(8, leave_out=("nobody",)))


def test_broken_cases_are_all_named_and_nothing_is_left(tmp_path: Path) -> None:
    real, synthetic = write_sides(tmp_path, 4)
    for path in (
        real / "imagesTr" / "p01_0000.nii.gz",
        synthetic / "imagesTr" / "synth_2_0000.nii.gz",
    ):
        path.write_bytes(path.read_bytes()[:300])
    before = {p.name for p in tmp_path.iterdir()}
    with pytest.raises(DataError) as error:
        make_study(real, synthetic, tmp_path / "study", StudyOptions(8))
    assert sorted(p.where.split(" (")[0] for p in error.value.problems) == [
        "real set, p01",
        "synthetic set, synth_2",
    ]
    assert {p.name for p in tmp_path.iterdir()} == before
    with pytest.raises(DataError, match="3 pictures of 3 patients"):
        make_study(real, synthetic, tmp_path / "study", StudyOptions(8, leave_out=("p01",)))


def test_a_study_that_fails_half_way_leaves_neither_folder_nor_key(
    sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Pages, folder: Path, readers: int) -> None:
        raise RunError("disk full")

    monkeypatch.setattr(Pages, "write", full)
    with pytest.raises(RunError, match="disk full"):
        made(sides, tmp_path / "study")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_put_in_place_leaves_no_key(
    sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def occupied(self: Pages, folder: Path, readers: int) -> None:
        (tmp_path / "study").mkdir()
        (tmp_path / "study" / "somebody's").touch()

    monkeypatch.setattr(Pages, "write", occupied)
    with pytest.raises(RunError, match="study: could not be written"):
        made(sides, tmp_path / "study")
    assert [p.name for p in tmp_path.rglob("*")] == ["study", "somebody's"]


def test_single_pictures_are_no_volumes(tmp_path: Path) -> None:
    for side in ("real", "made"):
        folder = tmp_path / side / "images"
        folder.mkdir(parents=True)
        for n in range(4):
            grey = np.random.default_rng(n).integers(0, 256, (20, 30), np.uint8)
            Image.fromarray(grey).save(folder / f"{side}{n}_1.png")
    sides = tmp_path / "real", tmp_path / "made"
    with pytest.raises(DataError, match="is a single picture, expected a volume"):
        made(sides, tmp_path / "study", dims=3)
    record = made(sides, tmp_path / "study")
    assert record["grid"]["shape"] == [1, 20, 30]
    assert record["notes"] == []
