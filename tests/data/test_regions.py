import numpy as np

from scansmith.data.prepare import prepare
from scansmith.data.regions import add_regions, with_regions
from scansmith.labels.table import LabelTable
from scansmith.recipe import Draw, Regions
from scansmith.synthesize.source import structure_indices

LIVER = LabelTable({1: "liver", 2: "tumour"})


def test_the_foreground_is_the_largest_piece_with_its_holes_filled():
    body = np.zeros((3, 7, 9), bool)
    body[:, 1:6, 1:6] = True
    body[1, 3, 3] = False  # a hole: part of the body
    body[1, 3, 8] = True  # a speck apart from it: not
    labels = np.zeros(body.shape, np.uint8)
    labels[0, 2, 2] = 2
    found = add_regions(body * 5.0, labels, ~body, Regions(kind="foreground"), first=3)
    expected = np.zeros(body.shape, np.uint8)
    expected[:, 1:6, 1:6] = 3
    expected[0, 2, 2] = 2
    np.testing.assert_array_equal(found, expected)


def test_clusters_are_numbered_from_dark_to_bright_and_leave_labels_alone():
    image = np.array([10, 11, 50, 52, 90, 91, 30, 0.0]).reshape(1, 2, 4)
    labels = np.zeros(image.shape, np.uint8)
    labels[0, 1, 2] = 1  # the 30
    outside = image == 0
    regions = Regions(kind="kmeans", classes=3, smooth=0.0)
    found = add_regions(image, labels, outside, regions, first=2)
    # clusters {10, 11}, {50, 52}, {90, 91}: borders 30.75 and 70.75
    np.testing.assert_array_equal(found.ravel(), [2, 2, 3, 3, 4, 4, 1, 0])


def test_inside_is_what_lies_deeper_than_the_rim_in_its_slice():
    image = np.full((2, 11, 11), 3.0)  # air is not 0 where scans came from pictures
    image[:, 1:10, 1:10] = 100.0
    image[:, 4:7, 4:7] = 20.0  # ventricles: dark, but a hole in tissue
    image[0, 0, 0] = 100.0  # a speck apart from it
    labels = np.zeros(image.shape, np.uint8)
    labels[1, 5, 5] = 1
    regions = Regions(kind="inside", rim_mm=6.0)
    found = add_regions(image, labels, image < 0, regions, first=2, spacing_mm=(5.0, 3.0, 3.0))
    # The square's pixels 1 and 2 are 3 and 6 mm from air; deeper than 6 mm are those from 3 to 7.
    expected = np.zeros(image.shape, np.uint8)
    expected[:, 3:8, 3:8] = 2
    expected[1, 5, 5] = 1
    np.testing.assert_array_equal(found, expected)
    flat = add_regions(np.ones((1, 3, 3)), labels[:1, :3, :3], image < 0, regions, first=2)
    assert not flat.any()  # nothing to tell a body by


def test_smoothing_does_not_let_the_outside_in():
    image = np.zeros((9, 9, 9))
    image[3:6, 3:6, 3:6] = 100.0
    image[3:6, 3:6, 6:8] = 200.0
    regions = Regions(kind="kmeans", classes=2, smooth=0.5)
    found = add_regions(image, np.zeros(image.shape, np.uint8), image == 0, regions, first=1)
    assert set(found[image == 100]) == {1}  # an ordinary blur would pull its rim towards 0
    assert set(found[image == 200]) == {2}
    assert set(found[image == 0]) == {0}


def test_regions_come_after_the_structures_at_values_that_no_file_has():
    table = with_regions(LIVER, Regions(kind="kmeans", classes=2), taken=9)
    assert table.names == {
        **{0: "background", 1: "liver", 2: "tumour"},
        **{10: "context 1", 11: "context 2"},
    }
    assert table.written.names == LIVER.names
    assert with_regions(LIVER, None, taken=9) == LIVER


def test_a_store_with_regions_draws_by_labels_alone_and_writes_labels_alone(
    livers, tmp_path, recipe
):
    regions = Regions(kind="kmeans", classes=2)
    some = Draw(name="some", has=("*",))
    plain = prepare(livers, tmp_path / "plain", recipe(draws=(some,)), workers=1)
    store = prepare(livers, tmp_path / "s", recipe(draws=(some,), regions=regions), workers=1)
    assert store.facts.structures == ("background", "liver", "tumour", "context 1", "context 2")
    case = store.names("train")[0]
    image, labels = store.volume(case)
    before = plain.volume(case)[1]
    np.testing.assert_array_equal(np.where(labels < 3, labels, 0), before)
    assert set(np.unique(labels)) >= {3, 4}
    np.testing.assert_array_equal(
        store.scan(case, image, labels).labels, np.rint(plain.scan(case, image, before).labels)
    )
    assert structure_indices(store, ("*",)) == (1, 2)
    assert structure_indices(store, ("tumour", "context")) == (2, 3, 4)
