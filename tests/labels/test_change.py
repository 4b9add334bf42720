"""Lesions told from a change, on drawn examples."""

import torch

from scansmith.labels.change import body, changed, difference_map


def test_a_difference_is_in_intensities_of_zero_to_one_and_a_mean_over_modalities():
    x = torch.zeros(1, 2, 2, 2)
    y = x.clone()
    y[:, 0] = 0.4  # 0.2 of 0..1 in one of two modalities
    torch.testing.assert_close(difference_map(x, y), torch.full((1, 2, 2), 0.1))


def test_the_body_is_the_largest_bright_piece_with_its_holes():
    x = torch.full((1, 1, 12, 12), -1.0)
    x[..., 2:9, 2:9] = 0.0
    x[..., 4:6, 4:6] = -1.0  # a ventricle
    x[..., 11, 11] = 1.0  # noise in the air
    expected = torch.zeros(1, 12, 12, dtype=torch.bool)
    expected[:, 2:9, 2:9] = True
    assert torch.equal(body(x), expected)


def test_an_empty_slice_has_no_body():
    assert not body(torch.full((1, 1, 4, 4), -1.0)).any()


def drawn():
    """A change map with a ring (5 x 5, its middle unchanged), a line, a dot and a bright edge."""
    change = torch.zeros(1, 16, 16)
    change[0, 2:7, 2:7] = 0.3
    change[0, 4, 4] = 0.0
    change[0, 10, 1:9] = 0.3  # a line, one pixel wide
    change[0, 12:15, 3:6] = 0.3  # a square of 9 pixels
    change[0, :, 15] = 0.9  # outside of where it may be
    return change


def test_a_label_is_what_changed_cleaned_of_lines_and_small_pieces_and_outside():
    where = torch.ones(1, 16, 16, dtype=torch.bool)
    where[..., 14:] = False
    found = changed(drawn(), where, threshold=0.1, least_piece=10)
    # The opening of the 5 x 5 square with a hole in its middle: crosses that fit in avoid the
    # middle, so their centres are the 4 pixels at (3, 3), (3, 5), (5, 3), (5, 5): 4 crosses cover
    # 16 pixels, and with the middle filled 17. The 3 x 3 square becomes one cross of 5: too small.
    assert int(found.sum()) == 17
    assert found[0, 4, 4]
    assert not found[0, 2, 2]  # a corner is no part of any cross
    assert not found[0, 8:].any()


def test_small_pieces_stay_if_they_may():
    where = torch.ones(1, 16, 16, dtype=torch.bool)
    where[..., 14:] = False
    found = changed(drawn(), where, threshold=0.1, least_piece=5)
    assert int(found.sum()) == 17 + 5
    assert int(changed(drawn(), where, threshold=0.3, least_piece=5).sum()) == 0
