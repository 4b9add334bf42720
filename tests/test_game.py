from __future__ import annotations

import torch

from scansmith.game import ImagePool


def numbered(*numbers: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch of images and label maps that carry a number each."""
    image = torch.tensor(numbers, dtype=torch.float32).reshape(-1, 1, 1, 1)
    return image, image[:, 0].long()


def test_a_pool_of_size_zero_shows_what_is_made() -> None:
    made = numbered(1, 2)
    assert ImagePool(0).query(made, torch.Generator()) is made


def test_until_it_is_full_a_pool_stores_and_shows_what_is_made() -> None:
    pool = ImagePool(3)
    image, labels = pool.query(numbered(1, 2, 3), torch.Generator())
    assert image.flatten().tolist() == [1, 2, 3]
    assert labels.flatten().tolist() == [1, 2, 3]
    assert len(pool.slots) == 3


def test_a_full_pool_exchanges_half_of_what_is_made_and_keeps_groups_together() -> None:
    pool, chance = ImagePool(4), torch.Generator().manual_seed(0)
    pool.query(numbered(0, 1, 2, 3), chance)
    old = 0
    for number in range(4, 404):
        image, labels = pool.query(numbered(number), chance)
        assert int(image) == int(labels)
        old += int(image) != number
        stored = [int(sample[0]) for sample in pool.slots]
        assert len(set(stored)) == 4
        assert (int(image) in stored) == (False if int(image) != number else number in stored)
    assert 160 < old < 240  # binomial(400, 1/2): four standard deviations are 40


def test_a_pool_keeps_its_own_copy() -> None:
    pool = ImagePool(1)
    image, labels = numbered(7)
    image.requires_grad_(True)
    shown, _ = pool.query((image, labels), torch.Generator())
    with torch.no_grad():
        image.fill_(0)
    assert float(pool.slots[0][0]) == 7
    assert not shown.requires_grad
