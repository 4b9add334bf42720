"""Small parts of networks."""

import torch

from scansmith.nets.blocks import SameConv


def test_an_even_kernel_is_padded_by_one_before_and_two_after():
    same = SameConv(2, 1, 1, kernel=4)
    torch.nn.init.zeros_(same.conv.bias)
    with torch.no_grad():
        same.conv.weight.zero_()
        same.conv.weight[0, 0, 0, 0] = 1.0  # the tap furthest up and left
    x = torch.arange(16.0).view(1, 1, 4, 4)
    expected = torch.zeros(4, 4)
    expected[1:, 1:] = x[0, 0, :3, :3]  # one pixel down and right: one row of padding before
    assert torch.equal(same(x)[0, 0], expected)
