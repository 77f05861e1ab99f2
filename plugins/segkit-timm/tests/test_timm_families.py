"""The smallest network of each of timm's families, run forward and backward."""

import pytest
import torch
from segkit_timm.encoder import encoder_factory

FAMILIES = [
    "bat_resnext26ts",
    "cait_xxs24_224",
    "coat_tiny",
    "convit_tiny",
    "convmixer_768_32",
    "convnext_atto",
    "cpubone_nano",
    "crossvit_tiny_240",
    "cs3darknet_focus_s",
    "csatv2",
    "cspnext_tiny",
    "davit_tiny",
    "deit_tiny_patch16_224",
    "densenet121",
    "dla46x_c",
    "dpn48b",
    "edgenext_xx_small",
    "efficientformer_l1",
    "efficientformerv2_s0",
    "efficientvim_m1",
    "efficientvit_b0",
    "efficientvit_m0",
    "ese_vovnet19b_slim_dw",
    "eva02_tiny_patch14_224",
    "fasternet_t0",
    "fastvit_t8",
    "focalnet_tiny_srf",
    "gcvit_xxtiny",
    "ghostnet_050",
    "gmlp_ti16_224",
    "halonet_h1",
    "hardcorenas_b",
    "hgnetv2_b0",
    "hiera_tiny_224",
    "hrnet_w18_small",
    "iformer_t",
    "inception_next_atto",
    "inception_resnet_v2",
    "inception_v3",
    "inception_v4",
    "lcnet_035",
    "lcnetv2_small",
    "legacy_seresnet18",
    "legacy_xception",
    "levit_128s",
    "lowformer_b0",
    "maxvit_pico_rw_256",
    "mobilevit_xxs",
    "mvitv2_tiny",
    "nest_tiny_jx",
    "nextvit_small",
    "pit_ti_224",
    "poolformerv2_s12",
    "pvt_v2_b0",
    "rdnet_tiny",
    "regnetx_002",
    "repghostnet_050",
    "repvit_m1",
    "res2next50",
    "resnest14d",
    "resnetv2_18",
    "rexnet_100",
    "sam2_hiera_tiny",
    "selecsls42b",
    "sequencer2d_s",
    "shvit_s1",
    "skresnet18",
    "starnet_s050",
    "swiftformer_xs",
    "swin_tiny_patch4_window7_224",
    "swinv2_cr_tiny_224",
    "swinv2_tiny_window16_256",
    "tiny_vit_5m_224",
    "tnt_s_legacy_patch16_224",
    "tresnet_m",
    "twins_svt_small",
    "vgg11",
    "visformer_tiny",
    "vit_small_patch14_dinov2",
    "vit_srelpos_small_patch16_224",
    "vit_tiny_patch16_224",
    "vit_tiny_patch16_dinov3_qkvb",
    "vit_tiny_r_s16_p8_224",
    "vitamin_small_224",
    "volo_d1_224",
    "xception41p",
    "xcit_nano_12_p8_384",
]

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("model", FAMILIES)
def test_a_family_keeps_its_word_at_sizes_that_are_not_square(model):
    encoder = encoder_factory(model)(in_channels=3, weights="none").train()
    assert list(encoder.strides) == sorted(set(encoder.strides))
    deepest = encoder.strides[-1]
    height, width = 2 * deepest, 3 * deepest
    maps = encoder(torch.randn(2, 3, height, width)).maps
    expected = [
        (2, channels, height // stride, width // stride)
        for channels, stride in zip(encoder.channels, encoder.strides, strict=True)
    ]
    assert [tuple(each.shape) for each in maps] == expected
    torch.stack([each.float().square().mean() for each in maps]).sum().backward()
    needed = [(n, p) for n, p in encoder.named_parameters() if p.requires_grad]
    assert [name for name, parameter in needed if parameter.grad is None] == []
