"""The best published figures known for the sets of `segkit bench quality`, and how ours differ."""

PUBLISHED = {
    "camvid": (
        "FC-DenseNet103 has a mean IoU of 0.669 over the same 11 classes on the 233 test "
        "images, from random weights at 360 x 480 (Jégou et al. 2017, arXiv:1611.09326, table "
        "3), after hundreds of epochs on a GPU. Ours is on the 101 validation images, which are"
        " from the video of most training frames and so are easier. The figure of an SMP "
        "example notebook, micro IoU 0.741, is no mean over classes: it counts pixels, and "
        "large classes decide it."
    ),
    "isbi2012": (
        "the challenge ranks by Rand and information scores of the regions between membranes, "
        "on a test stack whose truth is not public (Arganda-Carreras et al. 2015, "
        "doi:10.3389/fnana.2015.00142). No published IoU of membranes on this split is known."
    ),
    "drive": (
        "U-Net 0.814 and R2U-Net 0.817 (F1, which is Dice; Alom et al. 2018, arXiv:1802.06955),"
        " trained on the 20 training images and tested on the other 20, by 48 x 48 patches on a"
        " GPU. Ours trains on 14 of those 20 training images and tests on the last 6, inside "
        "the field of view."
    ),
    "dsb2018": (
        "the competition ranks by the average precision of objects over IoU 0.5 to 0.95, 0.632 "
        "for the winner, trained on 670 images (Caicedo et al. 2019, "
        "doi:10.1038/s41592-019-0612-7, table 1). Ours trains on 18, and is the IoU of all "
        "nuclei's pixels: not comparable."
    ),
    "m2nist": "no figure that states its split and convention is known.",
    "pets_cat_dog": (
        "examples on the whole set (7,349 images, pretrained encoders) report a pet IoU near "
        "0.91 with the border counted as pet. Ours trains on 14 images from random weights, "
        "tells cats from dogs, and ignores the border: not comparable."
    ),
}
