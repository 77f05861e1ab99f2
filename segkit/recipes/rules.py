"""The rules of `--recipe auto`: one row a setting, each with what it rests on.

A rule sees the fingerprint of the data and what the rows above it have decided, and gives a value
with its reason, or nothing: then the setting stays as `--recipe plain` has it. A setting that the
user gives is never decided. To change a rule, repeat the experiment that its row names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from segkit.recipes import learning_rules, network_rules
from segkit.recipes.known import Decided, Known


@dataclass(frozen=True)
class Rule:
    """One row.

    setting   that it decides
    decide    gives (value, reason as a half-sentence), or None for no opinion
    support   the experiment that justifies it, or the convention that it follows, with its source
    """

    setting: str
    decide: Callable[[Known], Decided]
    support: str


NNUNET = "nnU-Net (Isensee et al. 2021, doi:10.1038/s41592-020-01008-z)"
RULES: tuple[Rule, ...] = (
    Rule(
        "intensity",
        learning_rules.intensity,
        "Of dsb2018's 18 images for training, three kinds were held apart in turn: an IoU of "
        "nuclei of 0.199 with one scale for all and 0.852 with each image's own (0.270 and 0.929 "
        "with another seed) on the 4 images of 360 x 360 pixels, 0.591 and 0.713 on 5 of those of "
        "256 x 256 with a brighter background, 0.539 and 0.802 on the 6 others, after 100 steps of "
        "8 crops of 96 pixels. The ninth decile of the contrasts is 4.5 times the first there, and "
        f"at most 1.5 times in eight other sets. {NNUNET} scales every image by itself, but of CT.",
    ),
    Rule(
        "size",
        network_rules.size,
        "On a core with AMX, in bf16, in 100 seconds, seed 0: on isbi2012 an IoU of membranes of "
        "0.568 after 74 steps of 8 crops of 256 pixels, 0.632 after 181 of 192 and 0.596 after "
        "321 of 128; on dsb2018 an IoU of nuclei of 0.477 after 73 of 256, 0.760 after 179 of 192 "
        "and 0.773 after 318 of 128. Seed 1, an mIoU on a fifth of the training images, in five "
        "minutes of 0.243 after 244 of 256, 0.329 after 490 of 192 and 0.356 after 1,020 of 128 "
        "on camvid; of 0.787 after 264, 0.809 after 558 and 0.811 after 1,311 on drive; of 0.775 "
        "after 300, 0.787 after 570 and 0.788 after 1,292 on isbi2012. In fifteen minutes 0.810 "
        "after 798 of 256 and 0.822 after 4,216 of 128 on drive, and at half the resolution 0.431 "
        "after 1,444 of 352 and 0.515 after 3,055 of 256 on camvid. On a core without AMX, in "
        "fp32, in five minutes 0.803 after 693 of 128 and 0.812 after 1,452 of 96 on drive (in "
        "three minutes 0.807 after 1,769 of 64 and 0.803 after 828 of 96), and at half the "
        "resolution 0.307 after 520 of 256, 0.389 after 1,080 of 192 and 0.384 after 2,340 of 128 "
        "on camvid, in three minutes 0.901 after 348 of 256, 0.905 after 756 of 192 and 0.892 "
        "after 1,560 of 128 on dsb2018. Fewer steps cost more than smaller crops.",
    ),
    Rule(
        "encoder",
        network_rules.encoder,
        "Time: 100 steps of 4 crops of 96 pixels took 59 s with unet(depth=4, width=16) and 215 s "
        "with densenet121 on one busy core, for an mIoU of 0.672 and 0.693 (isbi2012). Depth: "
        f"convention of {NNUNET}, a plain U-Net as deep as the crop allows.",
    ),
    Rule(
        "decoder",
        network_rules.decoder,
        "In three minutes of one core, seed 1, an mIoU on a fifth of the training images of 0.327 "
        "after 488 steps of 256 pixels at half the resolution and 0.296 after 610 of 128 at full "
        "resolution on camvid, of 0.452 after 610 and 0.426 after 732 on pets_cat_dog, of 0.784 "
        "after 682 and 0.784 after 832 on isbi2012, and of 0.903 after 640 and 0.906 after 793 on "
        "dsb2018. In fifteen minutes 0.515 after 3,055 of 256 and 0.408 after 1,701 of 192 on "
        "camvid, 0.784 after 793 of 512 and 0.782 after 854 of 256 on isbi2012. At half the "
        "resolution masks keep a mean IoU of 0.966, 1.000, 0.984 and 0.995 there, 0.912 on drive "
        "and 0.931 on m2nist.",
    ),
    Rule(
        "lr",
        network_rules.rate,
        "In 40 seconds of one core, crops of 128 pixels (m2nist: 64): an IoU of 0.761 with 0.003 "
        "and 0.653 with 0.001 on dsb2018 (0.764 and 0.724 with another seed), 0.581 and 0.572 on "
        "isbi2012, 0.412 and 0.400 on drive, an mIoU of 0.182 and 0.187 on camvid, after 116 to "
        "145 steps; 0.441 after 568 steps and 0.205 after 418 on m2nist; 0.006 reached 0.453 on "
        "dsb2018 and 0.525 on isbi2012. In longer trainings it is too fast: 0.845 after 1,769 "
        "steps, and 0.902 after 2,170 with 0.001 (m2nist, three minutes).",
    ),
    Rule(
        "loss",
        learning_rules.loss,
        "On a core without AMX, in five minutes at half the resolution, seed 1, an mIoU on a "
        "fifth of the training images of camvid of 0.369 weighed and 0.307 not, after 540 and 520 "
        "steps of 256 pixels, and of 0.425 and 0.389 after 1,044 and 1,080 of 192. On m2nist, "
        "whose digits are as rare as one another, 0.847 weighed and 0.864 not, in three minutes.",
    ),
    Rule(
        "augmentation",
        learning_rules.augmentation,
        "Flips: mIoU 0.147 without augmentation and 0.117 with standard, which mirrors digits "
        "(m2nist, 200 steps of 8 crops of 64 pixels). Turns, and scales from 0.7 to 1.4: "
        f"convention of {NNUNET}; undecided here, 0.703 turned and 0.672 with standard on "
        "isbi2012, 0.742 and 0.777 on dsb2018 (100 steps of 4 crops of 96 pixels).",
    ),
    Rule(
        "crops",
        learning_rules.crops,
        f"Convention of {NNUNET}, a third of whose crops hold foreground.",
    ),
)
# Settings about which a rule has an opinion only where it knows the speed.
BY_SPEED = frozenset({"size", "decoder", "lr"})
