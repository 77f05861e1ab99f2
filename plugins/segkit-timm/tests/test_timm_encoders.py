"""timm's networks as encoders: the maps are timm's own, of the promised size for every image."""

import pytest
import timm
import torch
from segkit_timm import segkit_members
from segkit_timm.catalogue import encoder_names, normalization
from segkit_timm.encoder import encoder_factory
from segkit_timm.layout import Sizes, deepest_of_each

import segkit


def build(model, *, in_channels=3, weights="none", **options):
    return encoder_factory(model)(in_channels=in_channels, weights=weights, **options)


def image(height, width, channels=3):
    return torch.randn(2, channels, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "model", ["test_resnet", "test_convnext", "test_efficientnet", "test_mambaout", "test_nfnet"]
)
def test_maps_are_those_of_timm_for_the_same_weights(model):
    ours = build(model).eval()
    theirs = timm.create_model(model, features_only=True).eval()
    theirs.load_state_dict(ours.network.state_dict())
    image_BCHW = image(64, 96)
    with torch.no_grad():
        for mine, other in zip(ours(image_BCHW).maps, theirs(image_BCHW), strict=True):
            expected = other.permute(0, 3, 1, 2) if model == "test_mambaout" else other
            torch.testing.assert_close(mine, expected)


def test_a_plain_transformer_gives_its_last_map_at_its_own_stride():
    ours = build("test_vit").eval()
    assert (ours.strides, ours.channels) == ((16,), (64,))
    theirs = timm.create_model("test_vit", features_only=True, dynamic_img_size=True).eval()
    state = theirs.state_dict()
    ours.network.load_state_dict({k: state[k] for k in ours.network.state_dict()})
    with torch.no_grad():
        torch.testing.assert_close(ours(image(48, 80)).maps[0], theirs(image(48, 80))[-1])


def test_the_pyramid_of_a_plain_transformer_has_four_levels():
    encoder = build("test_vit", pyramid=True)
    assert encoder.strides == (4, 8, 16, 32)
    sizes = [tuple(each.shape[-2:]) for each in encoder(image(64, 96)).maps]
    assert sizes == [(16, 24), (8, 12), (4, 6), (2, 3)]


def test_dilation_merges_levels_of_equal_stride_and_keeps_the_deepest():
    encoder = build("test_resnet", output_stride=8)
    assert encoder.strides == (2, 4, 8)
    assert encoder.channels[-1] == build("test_resnet").channels[-1]


@pytest.mark.parametrize(
    ("strides", "kept"),
    [((2, 4, 8), [0, 1, 2]), ((4, 8, 8, 8), [0, 3]), ((16, 16, 16), [2]), ((8, 16, 16), [0, 2])],
)
def test_of_equal_strides_the_deepest_map_stays(strides, kept):
    assert deepest_of_each(strides) == kept


def test_depth_keeps_the_finest_levels_and_nothing_deeper_than_they_need():
    whole, part = build("test_efficientnet"), build("test_efficientnet", depth=3)
    assert part.strides == whole.strides[:3]
    assert sum(p.numel() for p in part.parameters()) < sum(p.numel() for p in whole.parameters())
    maps = part(image(24, 40)).maps
    torch.stack([each.sum() for each in maps]).sum().backward()
    assert all(p.grad is not None for p in part.parameters())


def test_a_network_of_fixed_size_takes_others_by_resizing():
    encoder = build("test_coatnet").eval()
    assert encoder.layout.sizes.fixed == (160, 160)
    with torch.no_grad():
        assert [tuple(m.shape[-2:]) for m in encoder(image(64, 96)).maps] == [
            (64 // stride, 96 // stride) for stride in encoder.strides
        ]


def test_image_size_builds_a_network_of_fixed_size_for_another():
    encoder = build("test_vit_relpos", image_size=(96, 64))
    assert encoder.layout.sizes.fixed == (96, 64)
    assert encoder(image(96, 64)).maps[0].shape[-2:] == (6, 4)


def test_patches_of_14_pixels_count_as_stride_16():
    sizes = Sizes(scale=14 / 16, unit=14, minimum=14)
    # 32 pixels are two patches of 14, 48 are three: the map is 2 by 3, as stride 16 wants.
    assert sizes.of(32, 48) == (28, 42)


def test_small_images_are_enlarged_to_what_a_network_takes():
    assert Sizes(scale=1.0, unit=32, minimum=96).of(32, 320) == (96, 320)
    assert Sizes(scale=1.0, unit=256, minimum=256).of(300, 400) == (256, 512)


def test_every_channel_count_has_its_normalization():
    assert build("test_resnet", in_channels=1).normalization.mean == pytest.approx(
        (sum(normalization("test_resnet").mean) / 3,)
    )
    assert len(build("test_resnet", in_channels=5).normalization.std) == 5


def test_the_family_lists_every_model_of_timm_and_every_tag():
    members = set(segkit_members("encoders", "timm"))
    assert {"timm/resnet18", "timm/resnet18.a1_in1k", "timm/vit_base_patch16_224"} <= members
    left_out = {f"timm/{name}" for name in timm.list_models()} - members
    assert {name.split("_vit")[0] for name in left_out} <= {"timm/gemma4"}


def test_listing_builds_no_model(monkeypatch):
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: pytest.fail("a model was built"))
    encoder_names.cache_clear()
    assert len(encoder_names()) > 1000


def test_a_mistyped_name_or_option_is_refused_with_the_nearest():
    with pytest.raises(segkit.SegkitError, match=r"no encoder is called 'timm/resnet1x'"):
        segkit.build_model("timm/resnet1x", num_classes=2)
    with pytest.raises(segkit.SegkitError, match=r"no option 'outptu_stride'.\n.*output_stride"):
        segkit.build_model("timm/test_resnet(outptu_stride=16)", num_classes=2)


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("densenet121(output_stride=16)", "cannot be built with output_stride=16"),
        ("test_resnet(image_size=[64, 64])", "cannot be built with image_size=(64, 64)"),
        ("vgg11(drop_path_rate=0.1)", "cannot be built with drop_path_rate=0.1"),
        ("test_resnet(pyramid=true)", "cannot be built with pyramid=true"),
    ],
)
def test_what_a_network_lacks_is_refused_with_the_reason(written, reason):
    with pytest.raises(segkit.SegkitError) as caught:
        segkit.build_model(f"timm/{written}", num_classes=2)
    assert caught.value.code == "SK-C007"
    assert f"timm/{written.partition('(')[0]} {reason}" in str(caught.value)
    assert "Leave the option out" in str(caught.value)


def test_building_leaves_the_random_state_to_the_network_alone():
    torch.manual_seed(3)
    first = build("test_resnet").state_dict()
    torch.manual_seed(3)
    network = timm.create_model("test_resnet", features_only=True).state_dict()
    assert all(torch.equal(first[f"network.{name}"], network[name]) for name in network)
