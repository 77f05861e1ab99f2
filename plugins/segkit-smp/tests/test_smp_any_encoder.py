"""SMP's decoders over encoders that are not SMP's, at sizes that SMP refuses, down to one image."""

import pytest
import torch
from segkit_smp import segkit_members
from segkit_smp.decoders import DECODERS

import segkit

ENCODERS = {
    "five levels": "smp/resnet18",
    "dilated": "smp/resnet18(output_stride=16)",
    "first stride 4": "timm/test_convnext",
    "one level": "timm/test_vit",
    "transformer pyramid": "timm/test_vit(pyramid=true)",
    "pooling": "unet(depth=5, width=8)",
    "stride 1 to 32": "smp/vgg11",
    "three levels": "smp/mobilenet_v2(depth=3)",
    "first-party": "densenet121(depth=4)",
}
REFUSED = {
    "deeplabv3": {"five levels", "first stride 4", "transformer pyramid", "stride 1 to 32"},
    "deeplabv3plus": {
        *("five levels", "first stride 4", "one level", "transformer pyramid", "stride 1 to 32"),
    },
    "fpn": {"one level", "three levels"},
    "pan": {"one level"},
    "unetplusplus": {"one level"},
}


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("decoder", DECODERS)
def test_an_odd_size_trains_or_is_refused_with_the_reason(decoder, encoder):
    written = ENCODERS[encoder], f"smp/{decoder}"
    if encoder in REFUSED.get(decoder, ()):
        with pytest.raises(segkit.SegkitError, match=f"SK-C007: smp/{decoder} needs"):
            segkit.build_model(*written, num_classes=3)
        return
    model = segkit.build_model(*written, num_classes=3)
    logits_BKHW = model(torch.randn(2, 3, 77, 51))
    assert logits_BKHW.shape == (2, 3, 77, 51)
    logits_BKHW.square().mean().backward()
    # A decoder of the deepest map alone leaves a transformer pyramid's finer levels without one.
    assert [n for n, p in model.decoder.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("decoder", ["unet", "linknet", "fpn", "pan", "segformer"])
def test_an_odd_size_works_over_an_encoder_that_begins_at_stride_4(decoder):
    model = segkit.build_model("timm/test_convnext", f"smp/{decoder}", num_classes=3)
    assert model(torch.randn(2, 3, 77, 51)).shape == (2, 3, 77, 51)


@pytest.mark.parametrize("decoder", ["pspnet", "deeplabv3", "deeplabv3plus", "pan", "upernet"])
def test_one_image_trains_where_smp_fails(decoder):
    # The encoder normalises without the batch, so that only the decoder is asked.
    model = segkit.build_model(
        "timm/test_convnext(depth=3)", f"smp/{decoder}", num_classes=2
    ).train()
    model(torch.randn(1, 3, 64, 64)).mean().backward()
    for parameter in model.decoder.parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all()


def test_a_single_value_a_channel_is_normalised_by_the_running_statistics():
    from segkit_smp.bridge import SteadyBatchNorm2d

    norm = SteadyBatchNorm2d(3)
    norm.running_mean.fill_(2.0)
    norm.running_var.fill_(4.0)
    x_BCHW = torch.full((1, 3, 1, 1), 6.0)
    torch.testing.assert_close(norm.train()(x_BCHW), torch.full((1, 3, 1, 1), 2.0))
    assert norm.num_batches_tracked == 0


def test_a_deepest_map_that_is_too_coarse_is_refused_with_what_would_work():
    with pytest.raises(segkit.SegkitError) as caught:
        segkit.build_model("densenet121", "smp/deeplabv3", num_classes=2)
    assert str(caught.value) == (
        "SK-C007: smp/deeplabv3 needs a deepest map of stride 16 or less, and the encoder's maps "
        "have strides 2, 4, 8, 16, 32.\n"
        "         Dilate the encoder where it can be, as timm/resnet18(output_stride=16) does, or "
        "keep fewer levels, as densenet121(depth=4) does."
    )


def test_an_upsampler_that_would_have_no_effect_is_refused():
    with pytest.raises(segkit.SegkitError) as caught:
        segkit.build_model("smp/resnet18", "smp/unet", "nearest", num_classes=2)
    assert caught.value.code == "SK-C007"
    assert "the decoder 'smp/unet' enlarges its maps in its own way" in str(caught.value)
    assert "nearest" in str(caught.value)


def test_a_mistyped_option_is_refused_with_the_nearest():
    with pytest.raises(segkit.SegkitError, match=r"SK-C005: smp/unet has no option 'widht'"):
        segkit.build_model("smp/resnet18", "smp/unet(widht=[1])", num_classes=2)
    with pytest.raises(segkit.SegkitError, match=r"Did you mean 'smp/unetplusplus'"):
        segkit.build_model("smp/resnet18", "smp/unetpluplus", num_classes=2)


@pytest.mark.parametrize(
    ("decoder", "message"),
    [
        ("smp/unet(widths=[64, 32])", "widths is [64, 32], and this encoder, whose deepest stride"),
        ("smp/unet(widths=[64, 32, 16, 8, 4], attention=scse)", "attention=scse divides channels"),
        ("smp/fpn(segmentation_channels=100)", "segmentation_channels is 100"),
        ("smp/dpt(widths=[8])", "widths is [8], and this encoder has 4 maps of stride 4 or more"),
    ],
)
def test_option_values_that_do_not_fit_are_refused(decoder, message):
    with pytest.raises(segkit.SegkitError) as caught:
        segkit.build_model("smp/resnet18", decoder, num_classes=2)
    assert caught.value.code == "SK-C006"
    assert message in str(caught.value)


def test_the_families_list_twelve_decoders_and_all_encoders_of_smp():
    import segmentation_models_pytorch as smp

    assert len(set(segkit_members("decoders", "smp"))) == 12
    expected = {f"smp/{name}" for name in smp.encoders.get_encoder_names()}
    assert set(segkit_members("encoders", "smp")) == expected
