"""Rules of what is shown to the network, and what it is told to mind: by the data alone."""

from __future__ import annotations

import numpy as np

from segkit.recipes.class_weights import weighed
from segkit.recipes.known import Decided, Known

# Where the images' contrasts differ by more, no one scale fits them.
CONTRASTS = 2.0
# A class is rare where it covers less of the images than this.
RARE = 0.1
# Classes are weighed where one beside the ground covers more than so many times another's pixels.
UNLIKE = 10
# A crop shows an image whole, or nearly, where it holds this share of its shorter side.
WHOLE = 0.9


def intensity(known: Known) -> Decided:
    first, ninth = known.fingerprint.contrast
    if ninth <= CONTRASTS * max(first, 1e-6):
        return None
    return "per-image", (
        f"the contrast of one image in ten is below {_percent(first)} of white, and of another "
        f"above {_percent(ninth)}: each is scaled by itself"
    )


def loss(known: Known) -> Decided:
    shares = known.fingerprint.shares
    beside = [label for label in known.fingerprint.taught if label != known.fingerprint.ground]
    if len(beside) < 2:
        return None
    least, most = (choice(beside, key=shares.__getitem__) for choice in (min, max))
    found = weighed(known.settings["loss"], "root", np.nan_to_num(shares))
    if shares[most] <= UNLIKE * shares[least] or found is None:
        return None
    return found, (
        f"{known.classes[most]} covers {_percent(shares[most])} of the pixels and "
        f"{known.classes[least]} {_percent(shares[least])}: the rarer weigh more, by the root"
    )


def augmentation(known: Known) -> Decided:
    found = known.fingerprint.symmetry
    if known.settings.get("overfit"):
        return "none", "images are learnt by heart"
    if known.settings["data"] is None:
        return None
    if not found.mirrors:
        return "light(flips=none)", f"never mirrored, since {found.because}"
    grey = known.fingerprint.channels != 3
    if found.turns or (found.turns is None and grey):
        told = found.because if found.turns else f"{found.because}, and they are grey"
        return "standard(flips=both, quarters=true, scale=[0.7, 1.4])", f"turned, since {told}"
    return "standard(scale=[0.7, 1.4])", f"never turned upside down, since {found.because}"


def crops(known: Known) -> Decided:
    print_ = known.fingerprint
    if known.settings["size"] >= WHOLE * print_.shorter[1]:
        return "anywhere", "a crop shows nearly the whole image"
    rare = [label for label in print_.taught if print_.shares[label] < RARE]
    if not rare or len(print_.taught) < 2:
        return "anywhere", f"no class covers less than {RARE:.0%}"
    least = min(rare, key=lambda label: print_.shares[label])
    told = f"{known.classes[least]} covers {_percent(print_.shares[least])} of the pixels"
    # "foreground" means any class but 0.
    return ("foreground" if print_.ground == 0 else "classes"), told


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
