import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

import nibabel as nib
import numpy as np
import pytest
import torch

from scansmith.data.layouts import find_layout
from scansmith.data.prepare import prepare
from scansmith.data.write import LAYOUT_WRITERS
from scansmith.io import read_scan
from scansmith.io.atomic import write_bytes
from scansmith.recipe import Intensity
from scansmith.scan import DataError, RunError, SettingsError, UnfitLabels
from scansmith.settings import Settings
from scansmith.synthesize.make import synthesize_with
from scansmith.synthesize.order import Order
from scansmith.synthesize.provenance import Origin
from scansmith.synthesize.source import Sources
from scansmith.synthesize.works import CHUNK, _in_order, share_kept

ORIGIN = Origin("runs-a", "0123abcd", "painter")


def rows(folder):
    return [json.loads(line) for line in (folder / "provenance.jsonl").read_text().splitlines()]


def make(parts, store, out, order, **more):
    kind = parts.Painter if store.recipe.dims == 2 else parts.VolumePainter
    return synthesize_with(parts.painter(store, kind), store, out, order, ORIGIN, **more)


def test_what_is_drawn_is_written_in_raw_units_on_the_grid_of_the_source(liver, parts, tmp_path):
    out = make(parts, liver, tmp_path / "out", Order(cases=None, seed=1, edit=False))
    method = parts.painter(liver)
    for name in liver.names("train"):
        image = nib.load(out / f"imagesTr/{name}_0000.nii.gz")
        labels = nib.load(out / f"labelsTr/{name}.nii.gz")
        real = nib.load(liver.path.parent / f"raw/labelsTr/{name}.nii.gz")
        assert image.get_data_dtype() == np.int16
        assert labels.get_data_dtype() == np.uint8
        for made in (image, labels):
            np.testing.assert_allclose(made.affine, real.affine, atol=1e-5)
        np.testing.assert_array_equal(labels.dataobj, real.dataobj)
        colours = method.colours.detach().numpy()[np.asarray(real.dataobj)]
        # Window -200..250 to -1..1: one network unit is 225 HU, the noise is up to 0.01 of it.
        surplus = np.asarray(image.dataobj) - ((colours + 1) * 225 - 200)
        assert -0.51 <= surplus.min() <= surplus.max() <= 2.25 + 0.51


def test_a_case_is_the_same_whatever_was_made_before_and_however_many(liver, parts, tmp_path):
    few = parts.contents(make(parts, liver, tmp_path / "few", Order(2, seed=7)))
    many = parts.contents(make(parts, liver, tmp_path / "many", Order(9, seed=7)))
    other = parts.contents(make(parts, liver, tmp_path / "other", Order(2, seed=8)))
    of_cases = [name for name in few if "synth_" in name]
    assert len(of_cases) == 2 * 3
    assert all(few[name] == many[name] for name in of_cases)
    image = "imagesTr/synth_000001_0000.nii.gz"
    assert few[image] != other[image]


def test_samples_are_drawn_in_chunks_that_depend_on_the_case_alone(liver, parts, tmp_path):
    method = parts.painter(liver)
    sizes, states = [], []
    paint = method.make

    def watched(source, chance):
        sizes.append(len(source.labels))
        states.append(chance.initial_seed())
        assert not method.training
        assert torch.is_inference_mode_enabled()
        assert len(set(source.cases)) == 1
        return paint(source, chance)

    method.make = watched
    synthesize_with(method, liver, tmp_path / "out", Order(3, seed=1, edit=False), ORIGIN)
    slices = [len(liver.volume(row["source_case"])[0]) for row in rows(tmp_path / "out")]
    assert sizes == [n for total in slices for n in (CHUNK, total - CHUNK)]
    assert len(set(states)) == len(states)


class Refusing:
    """In a method's `make`: refuses what was asked for `times` times, of each case number anew."""

    def __init__(self, method, times):
        self.paint, self.times, self.refused = method.make, times, []

    def __call__(self, source, chance):
        if len(self.refused) < self.times:
            self.refused.append(source.labels.numpy().copy())
            raise UnfitLabels("no image")
        return self.paint(source, chance)


def test_labels_that_no_image_can_be_made_for_are_drawn_anew(liver, parts, tmp_path):
    method = parts.painter(liver)
    method.make = refusing = Refusing(method, 2)
    synthesize_with(method, liver, tmp_path / "out", Order(1, seed=1), ORIGIN)
    (row,) = rows(tmp_path / "out")
    assert row["edits"]["turn"] == 2
    sources = Sources(liver, 1)
    first, second, third = (sources.take(0, turn) for turn in range(3))
    assert row["source_case"] == third.case
    for seen, taken in zip(refusing.refused, (first, second), strict=True):
        np.testing.assert_array_equal(seen, taken.labels[:CHUNK])
    written = nib.load(tmp_path / "out" / "labelsTr" / "synth_000000.nii.gz").get_fdata()
    assert (written == parts.TUMOUR).sum() == (third.labels == parts.TUMOUR).sum()
    # Without a refusal, a case is what it was; labels that are not edited stay refused.
    assert "turn" not in first.edits
    method.make = Refusing(method, 1)
    with pytest.raises(UnfitLabels, match="no image"):
        synthesize_with(method, liver, tmp_path / "kept", Order(1, seed=1, edit=False), ORIGIN)


def test_a_method_that_can_make_nothing_of_any_labels_says_how_many_were_tried(
    liver, parts, tmp_path
):
    method = parts.painter(liver)
    method.make = Refusing(method, 10**6)
    with pytest.raises(UnfitLabels, match="20 edited label maps were tried"):
        synthesize_with(method, liver, tmp_path / "out", Order(1, seed=1), ORIGIN)


@pytest.mark.parametrize("shards", [2, 3])
def test_shards_in_one_folder_make_what_one_process_makes(liver, parts, tmp_path, shards):
    whole = make(parts, liver, tmp_path / "whole", Order(5, seed=7))
    for i in range(shards, 0, -1):
        out = make(parts, liver, tmp_path / "parts", Order(5, seed=7, shard=(i, shards)))
        made = {int(p.name[6:12]) for p in (out / "labelsTr").iterdir()}
        assert made == {n for n in range(5) if n % shards >= i - 1}
        assert json.loads((out / "dataset.json").read_text())["numTraining"] == len(made)
    assert parts.contents(out) == parts.contents(whole)


def test_shards_at_work_at_once_in_one_folder_do_not_disturb_each_other(liver, parts, tmp_path):
    whole = make(parts, liver, tmp_path / "whole", Order(9, seed=7))
    out = tmp_path / "parts"
    with ThreadPoolExecutor(3) as pool:
        orders = [Order(9, seed=7, shard=(i, 3)) for i in (1, 2, 3)]
        for result in [pool.submit(make, parts, liver, out, order) for order in orders]:
            result.result()
    assert parts.contents(out) == parts.contents(whole)


def test_shards_in_folders_of_their_own_can_be_joined(liver, parts, tmp_path):
    whole = make(parts, liver, tmp_path / "whole", Order(5, seed=7))
    joined = tmp_path / "joined"
    for i in (1, 2):
        part = make(parts, liver, tmp_path / f"part{i}", Order(5, seed=7, shard=(i, 2)))
        shutil.copytree(part, joined, dirs_exist_ok=True)
    make(parts, liver, joined, Order(5, seed=7, shard=(2, 2)), resume=True)
    assert parts.contents(joined) == parts.contents(whole)


def test_each_file_has_its_hash_and_its_mark(liver, parts, tmp_path):
    out = make(parts, liver, tmp_path / "out", Order(3, seed=1))
    found = rows(out)
    assert [row["number"] for row in found] == [0, 1, 2]
    files = {name: digest for row in found for name, digest in row["files"].items()}
    assert set(files) == {name for name in parts.contents(out) if "synth_" in name}
    for name, digest in files.items():
        assert sha256((out / name).read_bytes()).hexdigest() == digest
        if name.endswith(".nii.gz"):
            assert nib.load(out / name).header["descrip"].item() == b"SYNTHETIC scansmith painter"
    row = found[1]
    assert (row["run"], row["weights"], row["method"]) == ("runs-a", "0123abcd", "painter")
    assert (row["seed"], row["paired"], row["synthetic"]) == (1, False, True)
    assert row["source_case"] in liver.names("train")
    assert row["edits"]["kind"] == "place"
    sidecar = json.loads((out / "sidecars/synth_000001.json").read_text())
    assert sidecar["Synthetic"] is True
    assert sidecar["edits"] == row["edits"]


def test_the_data_card_says_what_it_is_and_where_it_is_from(liver, parts, tmp_path):
    out = make(parts, liver, tmp_path / "out", Order(3, seed=1))
    card = (out / "README.md").read_text()
    for said in (
        "none is a scan as it was taken",
        "No image holds parts of its source scan",
        "3 of 3 cases, layout nnunet, modalities ct.",
        "not a medical device",
        liver.facts.fingerprint,
        "| 2 | tumour |",
        "licence",
        "runs-a, weights 0123abcd",
    ):
        assert said in card


def test_what_an_image_keeps_of_a_real_scan_is_measured_and_told(liver, parts, tmp_path):
    # Of 6 voxels, two are at the scan's ends (-1 and 1, like air anywhere); 3 of the other 4 kept.
    source = np.array([-1.0, -0.5, 0.0, 0.25, 0.5, 1.0], np.float32).reshape(1, 1, 2, 3)
    made = np.array([-1.0, -0.5, 0.0, 0.25, 0.75, 1.0], np.float32).reshape(1, 1, 2, 3)
    assert share_kept(source, made) == 0.75
    assert share_kept(np.zeros((1, 1, 2, 3)), made) == 0

    method = parts.painter(liver)

    def left_half_only(source, chance):
        half = source.image.clone()
        half[..., :6] = 0.123
        return half

    method.make = left_half_only
    out = synthesize_with(method, liver, tmp_path / "out", Order(2, seed=1), ORIGIN)
    assert all(0.3 < row["source_kept"] < 0.7 for row in rows(out))
    card = (out / "README.md").read_text()
    assert "**2 of 2 images hold parts of their source scan as they were**" in card


def test_a_paired_reconstruction_is_called_like_its_source_and_says_so(liver, parts, tmp_path):
    out = make(parts, liver, tmp_path / "out", Order(None, seed=1, edit=False, split="test"))
    assert {row["case"] for row in rows(out)} == set(liver.names("test"))
    assert all(row["paired"] and row["case"] == row["source_case"] for row in rows(out))


@pytest.fixture(scope="module")
def two_scans(parts, tmp_path_factory):
    """Livers: patients.json says whose two of them are, ACDC's kind of name whose two others."""
    root = tmp_path_factory.mktemp("two-scans")
    raw = parts.write_liver(root / "raw", cases=5)
    for old, new in (("liver_002", "patient001_frame01"), ("liver_003", "patient001_frame12")):
        for path in sorted(raw.glob(f"*Tr/{old}*")):
            path.rename(path.with_name(path.name.replace(old, new)))
    (raw / "patients.json").write_text('{"liver_000": "ann", "liver_001": "ann"}')
    return prepare(raw, root / "store", parts.Painter.recipe(Settings()), workers=1)


WHOSE = {
    "liver_000": "ann",
    "liver_001": "ann",
    "liver_004": "liver_004",
    "patient001_frame01": "patient001",
    "patient001_frame12": "patient001",
}
# What patients.json has to say in each layout: whom a reader would not tell from the name.
TOLD = {
    "nnunet": {"liver_000": "ann", "liver_001": "ann"},
    "msd": {"liver_000": "ann", "liver_001": "ann"},
    "brats": {"liver_000": "ann", "liver_001": "ann"},
    "mmwhs": {f"ct_train_{case}": patient for case, patient in WHOSE.items()},
}


@pytest.mark.parametrize("layout", LAYOUT_WRITERS)
def test_a_reconstruction_is_of_the_patient_whose_scan_it_reconstructs(
    two_scans, parts, tmp_path, layout
):
    order = Order(None, seed=1, edit=False, split="all", layout=layout)
    out = make(parts, two_scans, tmp_path / "out", order)
    assert not find_layout(out).problems
    found = find_layout(out).cases
    assert len(found) == sum(
        case.samples if layout == "slices" else 1 for case in two_scans.cases.values()
    )
    for files in found:
        (case,) = [name for name in WHOSE if name in files.case]
        assert files.patient == WHOSE[case]
    told = json.loads((out / "patients.json").read_text())
    if layout == "slices":
        assert set(told) == {f.case for f in found if f.patient == "ann"}
    else:
        assert told == TOLD[layout]
    again = make(parts, two_scans, out, order, resume=True)
    assert json.loads((again / "patients.json").read_text()) == told
    recipe = parts.Painter.recipe(Settings())
    for seed in range(3):
        split = recipe.model_copy(update={"split": (0.5, 0.0, 0.5), "seed": seed})
        cases = prepare(out, tmp_path / f"store{seed}", split, workers=1).cases.values()
        sides = {(case.patient, case.split) for case in cases}
        assert len(sides) == len({patient for patient, _ in sides}) == 3


def test_shards_of_a_reconstruction_say_of_whom_it_is_as_one_process_does(
    two_scans, parts, tmp_path
):
    whole = Order(None, seed=1, edit=False, split="all")
    one = make(parts, two_scans, tmp_path / "one", whole)
    for i in (2, 1):
        part = Order(None, seed=1, edit=False, split="all", shard=(i, 2))
        out = make(parts, two_scans, tmp_path / "parts", part)
    assert parts.contents(out) == parts.contents(one)


def test_a_case_with_edited_labels_is_of_nobody(two_scans, parts, tmp_path):
    out = make(parts, two_scans, tmp_path / "out", Order(3, seed=1, split="all"))
    assert not (out / "patients.json").exists()
    assert all(files.patient == files.case for files in find_layout(out).cases)


def test_more_pairs_than_source_cases_are_refused(liver, parts, tmp_path):
    with pytest.raises(SettingsError, match="cases: found 99, but split 'train' has 6 source"):
        make(parts, liver, tmp_path / "out", Order(99, seed=1, edit=False))
    assert not (tmp_path / "out").exists()


def test_the_nnunet_layout_keeps_nnunets_rules(brains, parts, tmp_path):
    out = make(parts, brains, tmp_path / "out", Order(3, seed=1))
    told = json.loads((out / "dataset.json").read_text())
    assert told["channel_names"] == {"0": "T1w", "1": "FLAIR"}
    # BraTS's 1, 2, 4 have a gap, which nnU-Net refuses.
    assert told["labels"] == {"background": 0, "necrosis": 1, "oedema": 2, "enhancing": 3}
    assert told["file_ending"] == ".nii.gz"
    labels = sorted(path.name for path in (out / "labelsTr").iterdir())
    assert len(labels) == told["numTraining"] == 3
    for name in labels:
        case = name.removesuffix(".nii.gz")
        label = nib.load(out / "labelsTr" / name)
        assert set(np.unique(label.dataobj)) == {0, 1, 2, 3}
        for channel in told["channel_names"]:
            image = nib.load(out / f"imagesTr/{case}_{int(channel):04}.nii.gz")
            assert image.shape == label.shape == (12, 16, 8)
            np.testing.assert_array_equal(image.affine, label.affine)
            assert image.get_data_dtype() == np.float32
    assert len(list((out / "imagesTr").iterdir())) == 6


@pytest.mark.parametrize("layout", ["nnunet", "msd", "brats"])
def test_a_synthetic_set_is_found_and_read_like_a_real_one(brains, parts, tmp_path, layout):
    out = make(parts, brains, tmp_path / "out", Order(3, seed=1, layout=layout))
    found = find_layout(out)
    assert (found.layout, found.problems) == (layout, ())
    assert [case.case for case in found.cases] == [f"synth_{n:06}" for n in range(3)]
    assert len({case.patient for case in found.cases}) == 3
    assert found.table.structures == brains.table.structures
    assert found.modalities == ("t1", "flair")
    scan = read_scan(found.cases[0], table=found.table)
    np.testing.assert_allclose(scan.spacing_mm, (1.0, 1.2, 3.0), rtol=1e-6)
    values = {"nnunet": {0, 1, 2, 3}}.get(layout, {0, 1, 2, 4})
    assert set(np.unique(scan.labels)) == values


def test_slices_are_pictures_with_one_patient_a_case(liver, parts, tmp_path):
    out = make(parts, liver, tmp_path / "out", Order(2, seed=1, layout="slices"))
    found = find_layout(out)
    assert (found.layout, found.problems) == ("slices", ())
    assert {case.patient for case in found.cases} == {"synth_000000", "synth_000001"}
    by_case = {row["case"]: liver.cases[row["source_case"]].samples for row in rows(out)}
    assert len(found.cases) == sum(by_case.values())
    scan = read_scan(found.cases[0])
    assert -203 <= scan.image.min() <= scan.image.max() <= 253


@pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader")
def test_monai_loads_the_msd_layout(brains, parts, tmp_path):
    from monai.data import load_decathlon_datalist
    from monai.transforms import LoadImaged

    out = make(parts, brains, tmp_path / "out", Order(2, seed=1, layout="msd"))
    items = load_decathlon_datalist(str(out / "dataset.json"), True, "training")
    assert len(items) == 2
    loaded = LoadImaged(("image", "label"), reader="NibabelReader", ensure_channel_first=True)(
        items[0]
    )
    assert loaded["image"].shape == (2, 12, 16, 8)
    assert loaded["label"].shape == (1, 12, 16, 8)


def test_nothing_is_made_where_something_else_lies(liver, parts, tmp_path):
    (tmp_path / "thesis.doc").write_text("years of work")
    for resume in (False, True):
        with pytest.raises(RunError, match=r"holds thesis.doc but no synthesis.json"):
            make(parts, liver, tmp_path, Order(1, seed=1), resume=resume)
    assert parts.contents(tmp_path) == {"thesis.doc": b"years of work"}


def test_a_finished_folder_is_not_written_to_without_resume(liver, parts, tmp_path):
    make(parts, liver, tmp_path / "out", Order(1, seed=1))
    with pytest.raises(RunError, match="holds a synthetic data set already"):
        make(parts, liver, tmp_path / "out", Order(1, seed=1))


@pytest.mark.parametrize(
    ("order", "said"),
    [
        (Order(2, seed=2), "was begun with seed 1, found 2"),
        (Order(2, seed=1, layout="msd"), "was begun with layout 'nnunet', found 'msd'"),
        (Order(1, seed=1), "was begun for 2 cases, found 1"),
        (Order(2, seed=1, lesions=(2, 2)), "was begun with lesions"),
        (Order(2, seed=1, split="test"), "was begun with split 'train', found 'test'"),
    ],
)
def test_resume_goes_on_with_the_same_order_only(liver, parts, tmp_path, order, said):
    out = make(parts, liver, tmp_path / "out", Order(2, seed=1))
    before = parts.contents(out)
    with pytest.raises(RunError, match=said):
        make(parts, liver, out, order, resume=True)
    assert parts.contents(out) == before


def test_resume_with_another_run_is_refused(liver, parts, tmp_path):
    out = make(parts, liver, tmp_path / "out", Order(2, seed=1))
    other = Origin("runs-a", "ffff", "painter")
    with pytest.raises(RunError, match="was begun with weights '0123abcd', found 'ffff'"):
        synthesize_with(parts.painter(liver), liver, out, Order(2, seed=1), other, resume=True)


def test_resume_makes_only_what_is_missing_or_damaged(liver, parts, tmp_path):
    out = make(parts, liver, tmp_path / "out", Order(4, seed=1))
    whole = parts.contents(out)
    method = parts.painter(liver)
    synthesize_with(method, liver, out, Order(4, seed=1), ORIGIN, resume=True)
    assert method.made == 0
    damaged = out / "labelsTr/synth_000002.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:-9])
    (out / "imagesTr/synth_000001_0000.nii.gz").unlink()
    synthesize_with(method, liver, out, Order(4, seed=1), ORIGIN, resume=True)
    assert method.made == sum(
        liver.cases[row["source_case"]].samples for row in rows(out) if row["number"] in (1, 2)
    )
    assert parts.contents(out) == whole


def test_more_cases_can_be_added_later(liver, parts, tmp_path):
    out = make(parts, liver, tmp_path / "out", Order(2, seed=1))
    make(parts, liver, out, Order(4, seed=1), resume=True)
    whole = make(parts, liver, tmp_path / "whole", Order(4, seed=1))
    assert parts.contents(out) == parts.contents(whole)


def test_a_full_disk_is_a_clear_error_and_resume_goes_on(liver, parts, tmp_path, monkeypatch):
    whole = make(parts, liver, tmp_path / "whole", Order(4, seed=1))
    full = []

    def fail_on_the_third(path, content):
        if "synth_000002" in path.name and not full:
            full.append(path)
            raise RunError(f"{path}: could not be written (No space left on device).")
        return write_bytes(path, content)

    monkeypatch.setattr("scansmith.io.nifti.write_bytes", fail_on_the_third)
    with pytest.raises(RunError, match="No space left"):
        make(parts, liver, tmp_path / "out", Order(4, seed=1))
    out = tmp_path / "out"
    made = list((out / "labelsTr").iterdir())
    assert json.loads((out / "dataset.json").read_text())["numTraining"] == len(made) < 4
    assert not list(out.glob(".unfinished*"))
    make(parts, liver, out, Order(4, seed=1), resume=True)
    assert parts.contents(out) == parts.contents(whole)


def test_nothing_is_darker_than_the_source_scan_is_anywhere(parts, tmp_path):
    rule = parts.VolumePainter.recipe(Settings())
    # Raw 0 becomes -1, which else is five sd below the mean; between them lies what no scan has.
    codec = Intensity(kind="zscore", scope="case", clip=5, background=-1.0, foreground_only=True)
    zscore = rule.model_copy(update={"intensity": codec})
    raw = parts.write_brains(tmp_path / "raw")
    store = prepare(raw, tmp_path / "store", zscore, workers=1)
    method = parts.painter(store, parts.VolumePainter)
    with torch.no_grad():
        method.colours[:] = torch.linspace(-0.99, 1, len(method.colours))
    out = synthesize_with(method, store, tmp_path / "out", Order(None, seed=1, edit=False), ORIGIN)
    for name in store.names("train"):
        made = np.asarray(nib.load(out / f"imagesTr/{name}_0000.nii.gz").dataobj)
        real = np.asarray(nib.load(raw / name / f"{name}_t1.nii.gz").dataobj)
        assert real.min() == 0
        assert made.min() == pytest.approx(0, abs=1)
        assert made.max() > 100  # and what is bright enough stays as it was drawn


def test_a_method_that_draws_nan_is_stopped(liver, parts, tmp_path):
    method = parts.painter(liver)
    with torch.no_grad():
        method.colours[1] = torch.nan
    with pytest.raises(RunError, match=r"for case number 0.*finite"):
        synthesize_with(method, liver, tmp_path / "out", Order(2, seed=1), ORIGIN)
    assert not list((tmp_path / "out").rglob("*.nii.gz"))


def test_a_case_is_written_while_the_next_is_drawn(liver, parts, tmp_path, monkeypatch):
    method = parts.painter(liver)
    second_begun, paint, calls = threading.Event(), method.make, []

    def watched(source, chance):
        calls.append(source.cases[0])
        if len(set(calls)) == 2:
            second_begun.set()
        return paint(source, chance)

    def wait_then_write(path, content):
        assert second_begun.wait(20), "the first case's writing held up the drawing of the second"
        return write_bytes(path, content)

    method.make = watched
    monkeypatch.setattr("scansmith.io.nifti.write_bytes", wait_then_write)
    synthesize_with(method, liver, tmp_path / "out", Order(2, seed=1, edit=False), ORIGIN)
    assert len(rows(tmp_path / "out")) == 2


def test_no_more_than_a_few_cases_wait_to_be_written():
    drawn, gate = [], threading.Event()

    def item():
        for n in range(100):
            drawn.append(n)
            if n == 3:
                gate.set()
            yield n

    with ThreadPoolExecutor(2) as pool:
        results = _in_order(pool, lambda n: (gate.wait(20), n)[1], item(), ahead=3)
        assert next(results) == 0
        assert len(drawn) == 4
        assert list(results) == list(range(1, 100))


def test_progress_counts_every_case(liver, parts, tmp_path):
    seen = []
    make(
        parts,
        liver,
        tmp_path / "out",
        Order(3, seed=1),
        progress=lambda done, total, text: seen.append((done, total)),
    )
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_a_source_store_of_another_kind_is_refused(liver, brains, parts, tmp_path):
    with pytest.raises(DataError, match=r"modalities \('t1', 'flair'\), the run was trained on"):
        synthesize_with(parts.painter(liver), brains, tmp_path / "out", Order(1, seed=1), ORIGIN)
    assert not (tmp_path / "out").exists()
