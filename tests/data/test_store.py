import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scansmith.data.prepare import prepare
from scansmith.data.store import Levels, Store
from scansmith.io import read_scan
from scansmith.recipe import Codec, Draw, Intensity
from scansmith.scan import DataError


@pytest.fixture
def store(livers, tmp_path, recipe):
    return prepare(livers, tmp_path / "store", recipe(), workers=1)


def world(affine, index):
    return (affine @ [*index, 1])[:3]


def test_a_clipped_codec_loses_less_than_a_60000th_of_its_range():
    codec = Codec(offset=0, scale=1, low=-1, high=1, data_range=2)
    network = np.linspace(-1, 1, 100_001, dtype=np.float32)
    levels = Levels.of(network, codec)
    back = levels.unpack(levels.pack(network), None)
    assert np.abs(back - network).max() < 2 / 60_000
    assert back.min() == -1
    assert back.max() == 1


def test_an_unclipped_codec_loses_less_than_a_60000th_of_the_values_range():
    codec = Codec(offset=0, scale=1, data_range=2)
    network = np.random.default_rng(0).normal(3, 7, 50_000).astype(np.float32)
    levels = Levels.of(network, codec)
    back = levels.unpack(levels.pack(network), None)
    assert np.abs(back - network).max() < np.ptp(network) / 60_000


@pytest.mark.parametrize("background", [-1.0, 0.5])
def test_the_lowest_raw_value_of_a_case_is_found_with_a_background_or_without(
    livers, tmp_path, recipe, background
):
    rule = Intensity(kind="minmax", scope="case", background=background)
    for intensity in (rule, Intensity(kind="zscore", clip=5), Intensity(kind="zscore")):
        store = prepare(livers, tmp_path / str(hash(intensity)), recipe(intensity=intensity))
        for name in store.cases:
            image, _ = store.volume(name)
            raw = store.codec(name).decode(image)
            assert store.lowest(name).tolist() == [raw.min()]


def test_samples_are_the_source_in_network_range(store, livers):
    image, labels = store.sample("liver_0", 1)
    assert (image.shape, image.dtype) == ((1, 16, 12), np.float32)
    assert (labels.shape, labels.dtype) == ((16, 12), np.uint8)
    # RAS i, j, k -> H is j backwards, W is i backwards
    raw = read_scan(livers / "imagesTr" / "liver_0_0000.nii.gz").image[0, :, :, 1]
    expected = (raw.T[::-1, ::-1] + 200) / 225 - 1
    np.testing.assert_allclose(image[0], expected, atol=2 / 60_000)


def test_a_volume_is_all_samples_of_a_case(store):
    images, labels = store.volume("liver_2")
    assert images.shape == (5, 1, 16, 12)
    for n in range(5):
        image, label = store.sample("liver_2", n)
        np.testing.assert_array_equal(image, images[n])
        np.testing.assert_array_equal(label, labels[n])


def test_counts_are_the_pixels_of_each_structure(store):
    # 192 pixels, liver 48 of which tumour 6 in slices 1 and 2
    assert store.counts("liver_0").tolist() == [[144, 48, 0], [144, 42, 6], [144, 42, 6]]


def test_what_is_handed_out_can_be_changed_without_harm(store):
    image, labels = store.sample("liver_0", 0)
    image[:], labels[:] = 9, 9
    assert store.sample("liver_0", 0)[0].max() <= 1
    assert store.sample("liver_0", 0)[1].max() == 1


def test_a_moved_and_read_only_store_works(store, tmp_path):
    expected = store.sample("liver_1", 2)
    moved = tmp_path / "elsewhere" / "moved"
    moved.parent.mkdir()
    shutil.move(store.path, moved)
    for path in moved.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    found = Store.open(moved)
    for one, other in zip(found.sample("liver_1", 2), expected, strict=True):
        np.testing.assert_array_equal(one, other)
    for path in moved.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def test_reading_a_sample_decodes_no_gzip(store, monkeypatch):
    import gzip

    from isal import igzip

    def refuse(*_, **__):
        raise AssertionError("a file was decompressed")

    monkeypatch.setattr(gzip, "open", refuse)
    monkeypatch.setattr(igzip, "open", refuse)
    store.sample("liver_1", 0)
    assert not list(store.path.rglob("*.gz"))


def test_reading_leaves_no_file_open(store):
    opened = Path("/dev/fd")
    if not opened.is_dir():
        pytest.skip("this system does not list a process's open files")
    before = len(list(opened.iterdir()))
    for case in store.cases:
        store.sample(case, 0), store.volume(case), store.counts(case)
    assert len(list(opened.iterdir())) == before


def test_a_limit_of_open_files_is_told_without_blaming_the_store(store):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    reads = (
        lambda: store.sample("liver_0", 0),  # finds the arrays
        lambda: store.counts("liver_0"),
        lambda: Store.open(store.path),
    )
    errors = []
    for read in reads:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (1, hard))  # fewer than are open already
            read()
        except DataError as error:
            errors.append(str(error))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(errors) == 3
    for error in errors:
        assert "Too many open files" in error
        assert "raise the limit of open files (ulimit -n)" in error
        assert "elete" not in error


def test_a_scan_made_from_the_samples_is_the_source_scan(store, livers):
    """Crop at the native grid: every voxel is where it was, oblique affine and all."""
    source = read_scan(
        livers / "imagesTr" / "liver_0_0000.nii.gz", livers / "labelsTr" / "liver_0.nii.gz"
    )
    scan = store.scan("liver_0", *store.volume("liver_0"), name="made_1")
    assert (scan.case, scan.patient) == ("made_1", "liver_0")
    np.testing.assert_allclose(scan.affine, source.affine, atol=1e-9)
    np.testing.assert_array_equal(scan.labels, source.labels)
    np.testing.assert_allclose(scan.image, source.image, atol=450 / 60_000)


@pytest.mark.parametrize(
    ("size", "fit", "dims", "within_voxels"),
    [
        ((13, 9), "crop", 2, 1e-6),
        ((21, 30), "crop", 2, 1e-6),
        ((6, 13, 9), "crop", 3, 1e-6),
        ((24, 24), "resize", 2, 0.5),
        ((16, 24, 24), "resize", 3, 0.5),
    ],
)
def test_a_landmark_keeps_its_place_in_millimetres(
    folder, tmp_path, recipe, size, fit, dims, within_voxels
):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 20, (12, 16, 5)).astype(np.int16)
    labels = np.zeros(image.shape, dtype=np.uint8)
    labels[7, 5, 3] = 1  # asymmetric on purpose
    image[7, 5, 3] = 200
    folder.add("one", image, labels)
    folder.add("two", image + 1, labels)
    plain = recipe(
        size=size, fit=fit, dims=dims, split=(1, 0, 0), needs=(), draws=(Draw(name="any"),)
    )
    store = prepare(folder.root, tmp_path / "store", plain, workers=1)
    scan = store.scan("one", *store.volume("one"))
    source = read_scan(folder.root / "imagesTr" / "one_0000.nii.gz")
    wanted = world(source.affine, (7, 5, 3))
    place = np.argwhere(scan.labels == 1).mean(axis=0)
    apart = np.abs(np.linalg.inv(scan.affine) @ [*(wanted - world(scan.affine, place)), 0])
    voxel = np.asarray(source.spacing_mm) / np.asarray(scan.spacing_mm)
    assert (apart[:3] <= within_voxels * np.maximum(1, voxel) + 1e-6).all()
    brightest = np.unravel_index(np.argmax(scan.image[0]), scan.image[0].shape)
    assert scan.labels[brightest] == 1


@pytest.mark.parametrize("size", [(21, 30), (17, 9), (8, 21, 30), (7, 13, 17)])
def test_a_scan_ends_where_its_source_ends(livers, tmp_path, recipe, size):
    """What a larger grid has round the scan is no part of the patient, nor of what is written.

    The source has 12 x 16 x 3 voxels (W, H, D). Where the grid is smaller it keeps the middle: of
    16 rows 13 are left, one less at the front and two less at the back, where the source begins.
    """
    plain = recipe(size=size, dims=len(size), needs=(), draws=(Draw(name="any"),))
    store = prepare(livers, tmp_path / "s", plain, workers=1)
    scan = store.scan("liver_0", *store.volume("liver_0"))
    source = read_scan(livers / "imagesTr" / "liver_0_0000.nii.gz")
    wanted = [min(n, side) for n, side in zip((3, 16, 12)[-len(size) :], size, strict=True)]
    assert scan.image.shape[1:][::-1][-len(size) :] == tuple(wanted)
    start = np.linalg.inv(source.affine) @ scan.affine @ [0, 0, 0, 1]
    first = np.rint(start[:3]).astype(int)
    np.testing.assert_allclose(start[:3], first, atol=1e-9)
    box = tuple(slice(f, f + n) for f, n in zip(first, scan.image.shape[1:], strict=True))
    assert min(first) >= 0
    if 13 in size:
        assert first[1] == 2
    np.testing.assert_allclose(scan.image, source.image[:, *box], atol=450 / 60_000)


@pytest.mark.parametrize(
    ("size", "fit", "kept"),
    [
        ((8, 6), "crop", 0.25),  # 8 x 6 of 16 x 12 labelled pixels
        ((3, 8, 6), "crop", 0.25),  # the labelled slice is the middle one
        ((8, 20), "crop", 0.5),  # 8 of 16 rows, all columns
        ((20, 30), "crop", 1),
        ((8, 6), "resize", 1),
        ((5, 7, 9), "resize", 1),
    ],
)
def test_a_store_tells_what_the_grid_cut_away_of_the_labels(
    folder, tmp_path, recipe, size, fit, kept
):
    image = np.random.default_rng(0).integers(1, 20, (12, 16, 5)).astype(np.int16)
    labels = np.zeros(image.shape, dtype=np.uint8)
    labels[:, :, 2] = 1
    folder.add("one", image, labels)
    folder.add("two", image + 1, labels)
    plain = recipe(
        size=size, fit=fit, dims=len(size), split=(1, 0, 0), needs=(), draws=(Draw(name="any"),)
    )
    store = prepare(folder.root, tmp_path / "s", plain, workers=1)
    assert store.cases["one"].labels_kept == kept
    assert store.cut_labels == ({"one": kept, "two": kept} if kept < 1 else {})


def test_of_some_slices_the_padding_is_cut_away_too(livers, tmp_path, recipe):
    store = prepare(livers, tmp_path / "s", recipe(size=(21, 30)), workers=1)
    image, labels = store.volume("liver_0")
    whole = store.scan("liver_0", image, labels)
    one = store.scan("liver_0", image[1:2], labels[1:2], first=1)
    np.testing.assert_array_equal(one.image, whole.image[..., 1:2])
    np.testing.assert_allclose(one.affine @ [0, 0, 0, 1], whole.affine @ [0, 0, 1, 1])


def test_a_store_that_does_not_tell_what_was_scanned_gives_all_of_its_grid(
    livers, tmp_path, recipe
):
    store = prepare(livers, tmp_path / "s", recipe(size=(21, 30)), workers=1)
    plain = json.loads((store.path / "store.json").read_text())
    for case in plain["cases"]:
        del case["scanned"], case["labels_kept"]
    (store.path / "store.json").write_text(json.dumps(plain))
    old = Store.open(store.path)
    assert old.scan("liver_0", *old.volume("liver_0")).image.shape == (1, 30, 21, 3)
    assert old.cut_labels == {}


def test_a_resized_scan_tells_its_true_spacing(livers, tmp_path, recipe):
    store = prepare(livers, tmp_path / "s", recipe(size=(8, 6), fit="resize"), workers=1)
    case = store.cases["liver_0"]
    # 16 x 1.0 mm by 12 x 2.0 mm: W rules, 24 mm onto 6 pixels
    np.testing.assert_allclose(case.grid_mm, (5, 4, 4), rtol=0.01)
    assert case.spacing_mm == case.grid_mm[1:]
    assert store.spacing_mm == case.spacing_mm  # all scans are alike
    scan = store.scan("liver_0", *store.volume("liver_0"))
    np.testing.assert_allclose(scan.spacing_mm, (4, 4, 5), rtol=0.01)


def test_one_odd_scan_does_not_decide_the_spacing(livers, tmp_path, recipe):
    store = prepare(livers, tmp_path / "s", recipe(), workers=1)
    first = next(iter(store.cases))
    usual = store.cases[first].spacing_mm
    assert len(store.cases) > 2
    store.cases[first] = replace(store.cases[first], grid_mm=(9.0, 9.0, 9.0))
    assert store.spacing_mm == usual


def test_a_scan_is_written_in_the_data_sets_own_values(folder, tmp_path, recipe):
    folder.json["labels"] = {"background": 0, "liver": 3, "tumour": 200}
    image = np.random.default_rng(0).integers(0, 99, (8, 8, 2)).astype(np.int16)
    labels = np.zeros(image.shape, dtype=np.uint8)
    labels[2, 2], labels[3, 3] = 3, 200
    folder.add("a", image, labels)
    store = prepare(folder.root, tmp_path / "s", recipe(split=(1, 0, 0)), workers=1)
    assert store.sample("a", 0)[1].max() == 2
    scan = store.scan("a", *store.volume("a"))
    assert np.unique(scan.labels).tolist() == [0, 3, 200]


def test_a_scan_can_be_made_without_labels(store):
    assert store.scan("liver_0", store.volume("liver_0")[0], None).labels is None


def test_background_comes_back_as_zero(folder, tmp_path, recipe):
    rng = np.random.default_rng(0)
    image = rng.integers(50, 99, (8, 8, 4)).astype(np.int16)
    image[:3] = 0
    folder.add("a", image, np.ones(image.shape, dtype=np.uint8))
    rule = Intensity(kind="zscore", scope="case", foreground_only=True, clip=5, background=-1)
    plain = recipe(size=(12, 8), intensity=rule, split=(1, 0, 0), needs=(), draws=(Draw(name="x"),))
    store = prepare(folder.root, tmp_path / "s", plain, workers=1)
    scan = store.scan("a", *store.volume("a"))
    np.testing.assert_array_equal(scan.image[0] == 0, image == 0)
    np.testing.assert_allclose(scan.image[0], image, atol=0.01)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda image, labels: (image[1:], labels),
        lambda image, labels: (image, labels[:, 1:]),
        lambda image, labels: (image[:, 0], labels),
    ],
)
def test_a_scan_needs_arrays_on_the_cases_grid(store, spoil):
    with pytest.raises(DataError, match=r"expected \(3, 1, 16, 12\) and \(3, 16, 12\)"):
        store.scan("liver_0", *spoil(*store.volume("liver_0")))


def test_names_go_by_split(store):
    parts = [store.names(split) for split in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [3, 1, 1]
    assert sorted(sum(parts, ())) == list(store.names("all")) == [f"liver_{n}" for n in range(5)]
    with pytest.raises(DataError, match="Choose one of train, validation, test or all"):
        store.names("training")


def test_an_unknown_case_or_sample_is_told_what_there_is(store):
    with pytest.raises(DataError, match=r"no case .liver_9.\. It has liver_0"):
        store.volume("liver_9")
    with pytest.raises(DataError, match="no sample 3; it has 0 to 2"):
        store.sample("liver_0", 3)


def test_a_folder_without_a_store_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match=r"no finished store here.*scansmith data prepare"):
        Store.open(tmp_path)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: "{}",
        lambda text: text.replace('"facts"', '"fakts"'),
        lambda text: text.replace('"levels"', '"levls"'),
    ],
)
def test_a_broken_index_is_not_a_store(store, spoil):
    index = store.path / "store.json"
    index.write_text(spoil(index.read_text()))
    with pytest.raises(DataError, match=r"store.json: cannot be read as a store"):
        Store.open(store.path)


def test_a_store_of_another_version_is_refused(store):
    index = store.path / "store.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"format": 99}))
    with pytest.raises(DataError, match="found store format 99, expected 1"):
        Store.open(store.path)


def test_a_store_that_lost_files_is_refused(store):
    (store.path / "cases" / "liver_2" / "image.npy").unlink()
    with pytest.raises(DataError, match=r"the first is cases/liver_2/image.npy"):
        Store.open(store.path)


def test_a_store_holds_no_pickles(store):
    np.save(store.path / "cases" / "liver_0" / "image.npy", np.array([{}], dtype=object))
    with pytest.raises(DataError, match=r"image.npy: cannot be read"):
        Store.open(store.path).sample("liver_0", 0)
