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
    support   the experiment that justifies it, or the convention that it follows, with its source:
              the figures that decide; docs/experiments.md has the commands and all others
    """

    setting: str
    decide: Callable[[Known], Decided]
    support: str


NNUNET = "nnU-Net (Isensee et al. 2021, doi:10.1038/s41592-020-01008-z)"
RULES: tuple[Rule, ...] = (
    Rule(
        "intensity",
        learning_rules.intensity,
        "Nuclei of one microscope of dsb2018 after training on the others: an IoU of 0.852, 0.713 "
        "and 0.802 with each image's own scale, of 0.199, 0.591 and 0.539 with one for all. The "
        "ninth decile of the contrasts is 4.5 times the first there, and at most 1.5 times in "
        "eight other sets.",
    ),
    Rule(
        "size",
        network_rules.size,
        "Fewer steps cost more than smaller crops, until there are about 700: in five minutes of "
        "a core an mIoU of 0.307 after 520 steps of 256 pixels, 0.389 after 1,080 of 192 and "
        "0.384 after 2,340 of 128 on camvid, of 0.803 after 693 of 128 and 0.812 after 1,452 of "
        "96 on drive.",
    ),
    Rule(
        "encoder",
        network_rules.encoder,
        "Time: 100 steps of 4 crops of 96 pixels took 59 s with unet(depth=4, width=16) and 215 s "
        "with densenet121 on one busy core, for an mIoU of 0.672 and 0.693 (isbi2012). Depth: "
        f"convention of {NNUNET}, a plain U-Net as deep as the crop allows, but to 8 pixels in "
        "place of 4: a level more came to 0.320 for 0.356 in three minutes on camvid.",
    ),
    Rule(
        "decoder",
        network_rules.decoder,
        "In fifteen minutes of a core an mIoU of 0.515 at half the resolution and 0.408 at full "
        "on camvid, 0.784 and 0.782 on isbi2012; in three 0.903 and 0.906 on dsb2018. Masks keep "
        "a mean IoU of 0.966, 0.984 and 0.995 there, and 0.912 on drive, whose vessels are 1 to 3 "
        "pixels wide.",
    ),
    Rule(
        "lr",
        network_rules.rate,
        "In 40 seconds of a core, about 130 steps: an IoU of 0.761 with 0.003 and 0.653 with "
        "0.001 on dsb2018, 0.581 and 0.572 on isbi2012. In longer trainings it is too fast: 0.845 "
        "and 0.902 after some 2,000 on m2nist.",
    ),
    Rule(
        "loss",
        learning_rules.loss,
        "In five minutes of a core an mIoU on camvid of 0.425 weighed and 0.389 not. On m2nist, "
        "whose digits are as rare as one another, 0.847 weighed and 0.864 not, in three.",
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
