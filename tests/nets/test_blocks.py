"""Small parts of networks."""

import pytest
import torch
from torch import nn
from torch.profiler import profile

from scansmith.nets.blocks import Conv3d, InstanceNorm2d, InstanceNorm3d, SameConv, conv


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


@pytest.mark.parametrize("size", [(8, 6, 5), (9, 6, 5), (2, 6, 5), (3, 5, 4)])
@pytest.mark.parametrize(
    ("kernel", "options"),
    [
        (3, {"padding": 1}),
        (3, {"padding": 1, "bias": False}),
        (3, {"padding": 1, "stride": 2}),
        (3, {"padding": (2, 1, 1)}),
        (2, {"padding": 0, "stride": (1, 2, 2)}),
        ((1, 3, 3), {"padding": (0, 2, 2), "dilation": (1, 2, 2)}),
        ((3, 1, 1), {"padding": (2, 0, 0), "dilation": (2, 1, 1)}),
    ],
)
def test_one_volume_in_two_halves_is_convolved_as_it_is_whole(size, kernel, options):
    torch.manual_seed(0)
    layer, plain = Conv3d(3, 4, kernel, **options), nn.Conv3d(3, 4, kernel, **options)
    plain.load_state_dict(layer.state_dict())
    ours, theirs = torch.randn(1, 3, *size).requires_grad_(), None
    theirs = ours.detach().clone().requires_grad_()
    found, expected = layer(ours), plain(theirs)
    near = {"rtol": 1e-4, "atol": 1e-4}  # the sums are taken in another order
    torch.testing.assert_close(found, expected, **near)
    weights = torch.randn_like(found)
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, **near)
    for one, other in zip(layer.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, **near)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="PyTorch without oneDNN")
@pytest.mark.parametrize(
    ("batch", "channels", "side"), [(1, 8, 32), (1, 64, 8), (1, 8, 56), (2, 8, 32)]
)
def test_small_volumes_do_not_take_pytorch_s_slow_convolution(batch, channels, side):
    x = torch.randn(batch, channels, side, side, 4).requires_grad_()
    with profile() as watched:
        conv(3, channels, 2, padding=1)(x).sum().backward()
    names = {event.key for event in watched.key_averages()}
    assert "aten::mkldnn_convolution" in names
    assert not [name for name in names if "slow_conv" in name]


def test_in_bf16_a_volume_stays_whole():
    x = torch.randn(1, 4, 6, 6, 6)
    layer = Conv3d(4, 2, 3, padding=1)
    with torch.autocast("cpu", torch.bfloat16), profile() as watched:
        assert layer(x).dtype == torch.bfloat16
    assert not [event.key for event in watched.key_averages() if event.key == "aten::cat"]


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("size", [(2, 3, 5, 4), (1, 3, 4, 3, 2), (3, 2, 1, 2)])
def test_instance_norm_is_pytorch_s_and_takes_the_faster_kernel(size, affine):
    torch.manual_seed(0)
    kind, plain_kind = (
        (InstanceNorm2d, nn.InstanceNorm2d)
        if len(size) == 4
        else (InstanceNorm3d, nn.InstanceNorm3d)
    )
    layer, plain = (one(size[1], affine=affine) for one in (kind, plain_kind))
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    plain.load_state_dict(layer.state_dict())
    x, weights = 3 + 2 * torch.randn(size), torch.randn(size)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    with profile() as watched:
        found = layer(ours)
    assert "aten::native_group_norm" in {event.key for event in watched.key_averages()}
    expected = plain(theirs)
    torch.testing.assert_close(found, expected)
    # Gradients of gradients too: a gradient penalty takes them.
    pairs = []
    for result, source in ((found, ours), (expected, theirs)):
        (slope,) = torch.autograd.grad((result * weights).sum(), source, create_graph=True)
        slope.square().sum().backward()
        pairs.append((slope, source.grad))
    for one, other in zip(*pairs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    for one, other in zip(layer.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-4)


def test_instance_norm_by_hand():
    # 1, 2, 3, 6: mean 3, variance (4 + 1 + 0 + 9) / 4 = 3.5.
    x = torch.tensor([1.0, 2.0, 3.0, 6.0]).view(1, 1, 2, 2)
    expected = (x - 3) / (3.5 + 1e-5) ** 0.5
    torch.testing.assert_close(InstanceNorm2d(1)(x), expected)


def test_instance_norm_of_one_pixel_is_refused():
    with pytest.raises(ValueError, match="more than 1 spatial element"):
        InstanceNorm2d(2)(torch.randn(4, 2, 1, 1))
