"""U-Nets at the papers' sizes."""

import torch

from scansmith.nets.unet import Pix2PixUNet, RefinedUNet


def test_seven_halvings_lead_from_256_to_two_pixels_and_back():
    with torch.device("meta"):
        net = RefinedUNet(8, 1, [64, 128, 256, 512, 512, 512, 512])
        x = torch.empty(1, 8, 256, 256)
        sizes = []
        for block in net.down:
            x = block(x)
            sizes.append(x.shape[-1])
        made = net(torch.empty(1, 8, 256, 256))
    assert sizes == [128, 64, 32, 16, 8, 4, 2]
    assert made.shape == (1, 1, 256, 256)
    assert [block[0].out_channels for block in net.up] == [512, 512, 512, 256, 128, 64]


def test_the_refined_unet_ends_between_zero_and_one():
    torch.manual_seed(0)
    made = RefinedUNet(2, 1, [4, 8, 8])(torch.randn(2, 2, 16, 16) * 100)
    assert made.min() >= 0
    assert made.max() <= 1


def test_without_skips_the_decoder_sees_the_innermost_code_alone():
    torch.manual_seed(0)
    net = RefinedUNet(1, 1, [4, 8], skips=False).eval()
    assert [block[0].in_channels for block in net.up] == [8]
    assert net.end[0].in_channels == 4
    assert net(torch.zeros(1, 1, 8, 8)).shape == (1, 1, 8, 8)


def test_the_refined_unet_works_in_3d():
    net = RefinedUNet(2, 1, [4, 8], dims=3)
    assert net(torch.zeros(1, 2, 8, 12, 16)).shape == (1, 1, 8, 12, 16)


def test_the_pix2pix_unet_reaches_one_pixel_and_comes_back():
    net = Pix2PixUNet(2, 1, [4, 8, 16, 32, 64])
    assert net(torch.zeros(1, 2, 32, 32)).shape == (1, 1, 32, 32)
