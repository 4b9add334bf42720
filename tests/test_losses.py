"""Each formula against a value worked by hand."""

import math

import pytest
import torch

from scansmith import losses


def test_l1_is_the_mean_absolute_error():
    image, made = torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[0.5, -1.0]]])
    assert losses.l1(image, made) == 1.25  # (0.5 + 2) / 2


def test_masked_l1_counts_the_pixels_of_the_mask_alone():
    image = torch.zeros(1, 1, 1, 4)
    made = torch.tensor([[[[1.0, 2.0, 4.0, 8.0]]]])
    mask = torch.tensor([[[[0.0, 1.0, 1.0, 0.0]]]])
    assert losses.masked_l1(image, made, mask) == 3.0  # (2 + 4) / 2


def test_masked_l1_of_an_empty_mask_is_zero():
    image, made = torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2)
    assert losses.masked_l1(image, made, torch.zeros(1, 1, 2, 2)) == 0.0


def test_least_squares_terms_are_means_over_the_map():
    real, fake = torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.5])
    # (0 + 1) / 2 + (0.25 + 0.25) / 2
    assert losses.lsgan_critic(real, fake) == 0.75
    # ((0.5 - 1)^2 + (0.5 - 1)^2) / 2
    assert losses.lsgan_generator(fake) == 0.25


def test_least_squares_does_not_bend_negative_outputs():
    # A critic that says -1 where 0 is right errs by 1, not by a leaky fraction of it.
    assert losses.lsgan_critic(torch.ones(1), torch.tensor([-1.0])) == 1.0


def test_cross_entropy_of_an_undecided_critic_is_two_log_two():
    undecided = torch.zeros(3)  # sigmoid(0) = 1/2
    torch.testing.assert_close(
        losses.bce_critic(undecided, undecided), torch.tensor(2 * math.log(2))
    )
    torch.testing.assert_close(losses.bce_generator(undecided), torch.tensor(math.log(2)))


def test_cross_entropy_terms_are_the_logs_of_probabilities():
    logit = math.log(3.0)  # sigmoid = 3/4
    real, fake = torch.tensor([logit]), torch.tensor([-logit])
    # -log(3/4) - log(1 - 1/4)
    torch.testing.assert_close(losses.bce_critic(real, fake), torch.tensor(-2 * math.log(0.75)))
    torch.testing.assert_close(losses.bce_generator(fake), torch.tensor(-math.log(0.25)))


def test_accuracy_counts_real_above_and_fake_not_above_the_threshold():
    real, fake = torch.tensor([0.6, 0.4, 0.9, 0.8]), torch.tensor([0.5, 0.7])
    on_real, on_fake = losses.accuracy(real, fake, threshold=0.5)
    assert (on_real, on_fake) == (0.75, 0.5)


def test_centre_weight_is_one_on_the_mask_and_gaussian_off_it():
    mask = torch.zeros(1, 1, 10, 20)
    mask[0, 0, 4, 6] = 1  # centroid (4, 6)
    weight = losses.centre_weight(mask, rows=60, columns=30)
    assert weight[0, 0, 4, 6] == 1
    # 3 rows down: exp(-9 / (60 * 10) / 2); 5 columns right: exp(-25 / (30 * 20) / 2)
    torch.testing.assert_close(weight[0, 0, 7, 6], torch.tensor(math.exp(-9 / 1200)))
    torch.testing.assert_close(weight[0, 0, 4, 11], torch.tensor(math.exp(-25 / 1200)))


def test_centre_weight_of_an_empty_mask_is_one_everywhere():
    assert (losses.centre_weight(torch.zeros(2, 1, 4, 4)) == 1).all()


def test_soft_dice_by_hand():
    # Four pixels, structure 1 in the first two; p of structure 1: 1, 0.5, 0.5, 0.
    p = torch.tensor([1.0, 0.5, 0.5, 0.0])
    shares = torch.stack([1 - p, p])[None]
    labels = torch.tensor([[1, 1, 0, 0]])
    # common 1.5, sums 2 + 2: 1 - (3 + 1) / (4 + 1).
    assert losses.soft_dice(labels, shares).item() == pytest.approx(1 - 4 / 5)
    # Smooth 0: 1 - 3 / 4.
    assert losses.soft_dice(labels, shares, smooth=0).item() == pytest.approx(1 / 4)


def test_soft_dice_of_a_structure_that_is_absent_and_not_found_costs_nothing():
    shares = torch.tensor([[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]])[None]
    # (0 + 1) / (0 + 1) for both structures.
    assert losses.soft_dice(torch.tensor([[0, 0]]), shares).item() == 0


def test_soft_dice_sums_over_the_batch():
    shares = torch.tensor([[[0.0, 1.0], [1.0, 0.0]], [[0.0, 0.0], [1.0, 1.0]]])
    labels = torch.tensor([[1, 0], [0, 0]])
    # Structure 1: common 1, found 3, true 1 over both samples: 1 - (2 + 1) / (4 + 1).
    assert losses.soft_dice(labels, shares).item() == pytest.approx(1 - 3 / 5)


def test_pairwise_error_is_the_sum_over_pairs_of_their_mean_squared_error():
    alike = torch.tensor([[0.1, 0.0], [0.2, 0.0], [0.4, 0.0]])
    # pairs: 0.1^2, 0.3^2, 0.2^2, each a mean over two pixels of which one differs
    torch.testing.assert_close(losses.pairwise_mse(alike), torch.tensor(0.14 / 2))
    assert losses.pairwise_mse(alike[:1]) == 0


def test_class_error_weighs_classes_and_repeats_the_last_weight():
    labels = torch.tensor([[[0, 2]]])
    probabilities = torch.full((1, 3, 1, 2), 0.5)
    # each class: (1 - 0.5)^2 or (0 - 0.5)^2, so 0.25, times 1 + 10 + 10
    found = losses.class_mse(labels, probabilities, (1.0, 10.0))
    torch.testing.assert_close(found, torch.tensor(0.25 * 21))
    perfect = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]).view(1, 3, 1, 2)
    assert losses.class_mse(labels, perfect, (1.0,)) == 0


def test_label_value_dice_is_taken_on_the_numbers_and_two_empty_maps_agree():
    labels = torch.tensor([[[0, 2]], [[0, 0]], [[3, 0]]])
    made = torch.tensor([[[0, 1]], [[0, 0]], [[0, 0]]])
    # 2 (2 x 1) / (4 + 1) = 0.8; empty and empty; 3 against nothing: 1e-5 / 9
    found = losses.label_value_dice(labels, made).float()
    torch.testing.assert_close(found, torch.tensor([0.8, 1.0, 0.0]), atol=1e-5, rtol=0)
