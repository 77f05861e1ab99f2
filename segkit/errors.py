"""Every error a user can meet: one tree, a stable code each, and the command's exit status.

    SegkitError              1   a fault of segkit itself, unless a class below says otherwise
    ├── UsageError           2   a name, an option or a configuration is wrong
    ├── DataError            3   images or masks are wrong
    ├── EnvironmentFault     4   something this machine lacks: a device, a package, a network
    │   └── WeightsUnavailable    pretrained weights are neither here nor reachable
    ├── ModelFileError       5   a model folder, a checkpoint or a weights file is wrong
    ├── Diverged             6   the loss is no longer a number
    ├── OutOfMemory          7   the device's memory does not suffice
    ├── StorageError         8   the disk or its permissions
    └── PluginError          9   an installed plugin is broken, switched off or breaks its contract

A message says what happened, with the values, and then what to do. `CODES` explains every code.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

CODES: dict[str, str] = {
    "SK-C001": "A component expression cannot be read. It is written as name(option=value), "
    "and losses may be added up: 0.5*dice + ce.",
    "SK-C002": "segkit knows eight kinds of component, and the kind named is none of them.",
    "SK-C003": "No installed plugin offers a component of that name.",
    "SK-C004": "Two installed distributions offer the same name; write distribution:name.",
    "SK-C005": "A component was given an option it does not have.",
    "SK-C006": "A component's option has the wrong type or a value outside its range.",
    "SK-C007": "The parts named cannot work together.",
    "SK-C008": "A configuration holds a key that segkit does not know.",
    "SK-C009": "A configuration value has the wrong type or is out of range.",
    "SK-C010": "A configuration file cannot be read.",
    "SK-C011": "A component needs an option that was not given.",
    "SK-C012": "Results would replace files that are there already.",
    "SK-C013": "The command line holds a command, an option or a word that there is not, or lacks "
    "one that is needed.",
    "SK-C014": "A run that is to go on would be another run: its settings, data, parts, threads or "
    "releases differ.",
    "SK-D001": "The folder holds no images, or its layout is none that segkit knows.",
    "SK-D002": "Images and masks cannot be paired one to one.",
    "SK-D003": "A mask and its image differ in size.",
    "SK-D004": "An image cannot be read: it is empty, cut short, damaged, or no image at all.",
    "SK-D005": "A mask cannot be read.",
    "SK-D006": "The file's format is not among those that segkit opens.",
    "SK-D007": "What the masks' values mean cannot be told from the files alone.",
    "SK-D008": "The masks were smeared: they hold in-between values that are no labels.",
    "SK-D009": "data.yaml is wrong.",
    "SK-D010": "The split does not exist, or there are too few images to make one.",
    "SK-D011": "An image's channels or bit depth do not fit the data set or the model.",
    "SK-D012": "A mask holds a label that is neither a declared class nor the ignored one.",
    "SK-D013": "An image carries an EXIF orientation, and its mask's size does not tell whether to "
    "apply it.",
    "SK-D014": "An image has more pixels than allowed.",
    "SK-D015": "An image file holds several pages.",
    "SK-D016": "An image holds pixels that are no finite number.",
    "SK-D017": "A sample carries no mask where one is needed.",
    "SK-D018": "A file of the data set may not be read: its permissions forbid it.",
    "SK-D019": "One picture lies in two splits.",
    "SK-D020": "Images are of one colour all over.",
    "SK-D021": "A class has pixels in one split and none in another.",
    "SK-D022": "Masks hold nothing but background, or nothing but ignored pixels.",
    "SK-D023": "Files are not quite what they seem: a wrong suffix, transparency, unusual colours.",
    "SK-D024": "A converted data set cannot be written.",
    "SK-D025": "A data set cannot be downloaded: the connection failed, or the server refused.",
    "SK-D026": "A downloaded file is not the one that was published: its checksum differs.",
    "SK-D027": "An archive is damaged, or holds something that is never unpacked.",
    "SK-D028": "The data set may not be passed on: its owners give it out themselves.",
    "SK-D029": "A file is not as the manifest says: changed, missing, or not listed.",
    "SK-D030": "Augmentation broke the rule that image and mask stay squares of one size and type.",
    "SK-D031": "Neighbouring frames of one recording lie in two splits.",
    "SK-D032": "The masks' edges do not follow the images' edges.",
    "SK-D033": "More samples are bad than may be skipped.",
    "SK-D034": "The images' values cannot be meant by the black and white recorded with the model.",
    "SK-D035": "The classes of the data are not those that the model tells apart.",
    "SK-D036": "Values are read as classes, and may be object numbers.",
    "SK-D037": "The data tell no objects apart, and the training is to learn it.",
    "SK-D038": "Classes meet over thin lines of those between: in their order, or smoothed.",
    "SK-D039": "What is declared of the masks is not in them: a class, or a value that is mapped.",
    "SK-D045": "A large image cannot be read by region, or its pyramid has no such level.",
    "SK-E001": "torch and torchvision were built for different releases or devices.",
    "SK-E002": "The device asked for is not there.",
    "SK-E003": "An optional package that this feature needs is not installed.",
    "SK-E004": "A logger cannot take a training's numbers: no login, no server, no network.",
    "SK-E005": "The Hugging Face hub cannot be sent to: offline, no login, or it refused.",
    "SK-W001": "Pretrained weights are neither on this machine nor reachable.",
    "SK-W002": "A weights file does not fit the encoder.",
    "SK-W003": "No pretrained weights are published for this encoder.",
    "SK-M001": "The path holds no segkit model.",
    "SK-M002": "A model file is damaged, or was written in a format this version cannot read.",
    "SK-M003": "The model was built with a plugin that is not installed here.",
    "SK-M004": "The run holds no checkpoint to continue from.",
    "SK-M005": "A checkpoint from elsewhere cannot be read, or holds more than tensors.",
    "SK-M006": "A checkpoint from elsewhere is of no kind that segkit can represent.",
    "SK-M007": "A checkpoint from elsewhere does not fit the network it was taken for.",
    "SK-M008": "A network cannot be exported as a graph for images of any size.",
    "SK-M009": "An exported file gives other results than its model.",
    "SK-M010": "An ONNX file is damaged, points to other files, or is not of segkit export.",
    "SK-M011": "Tracing a network for its export took longer than it was given.",
    "SK-T001": "The loss or its gradient is no longer a finite number.",
    "SK-T002": "The device's memory does not suffice.",
    "SK-T003": "A batch of one image leaves batch normalisation a single value per channel.",
    "SK-T004": "The data hold too little to train on or to score.",
    "SK-S001": "The disk is full, or the system allows no file of that size.",
    "SK-S002": "A file or folder cannot be written.",
    "SK-S003": "Another process works in the same run folder.",
    "SK-S004": "A process that reads data was killed.",
    "SK-S005": "An image was not predicted: its shard was stopped, or never started.",
    "SK-S006": "Another process of a training is gone, or no longer answers.",
    "SK-B001": "A file is no benchmark result that this version can read.",
    "SK-B002": "Two benchmark results are from different hardware.",
    "SK-B003": "No benchmark suite of that name or path is there.",
    "SK-B004": "None of the benchmark's cases could be measured.",
    "SK-B005": "Two benchmark results have no case in common.",
    "SK-L001": "A launcher cannot give a job what it needs.",
    "SK-L002": "What a launcher works with is not there or refused: a SLURM or Ray cluster.",
    "SK-L003": "Jobs that were launched did not end well.",
    "SK-L004": "A sweep asks for points that cannot be trained, or would mix two sweeps.",
    "SK-P001": "A plugin cannot be imported.",
    "SK-P002": "A plugin asks for another version of segkit-core.",
    "SK-P003": "A plugin does not keep its contract.",
    "SK-P004": "A plugin is switched off by SEGKIT_DISABLE or --no-plugins.",
    "SK-P005": "A plugin registered a name but offers nothing under it.",
    "SK-P006": "A plugin hung, or ended the interpreter, when it was looked at by itself.",
    "SK-P007": "A plugin failed while it ran: in a network's forward pass, a loss, a metric, a "
    "sample.",
    "SK-P008": "A plugin could not be installed, or the directory of plugins not be fetched.",
    "SK-X001": "segkit itself failed in a way that nobody foresaw.",
}


# What steers a terminal or turns the direction of writing; line breaks and tabs are left.
STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def visible(text: str) -> str:
    """Text from files as people are shown it: what steers a terminal stands there as \\x1b."""
    return STEERING.sub(lambda found: ascii(found[0])[1:-1], text)


def first_line(error: BaseException, longest: int = 200) -> str:
    """The first line of an error's text, without its full stop, to stand within a sentence."""
    text = str(error).strip()
    return text.splitlines()[0][:longest].rstrip(".") if text else "no message"


class SegkitError(Exception):
    """What happened and what to do about it.

    code   one of CODES
    what   the fact, with its values, ending in a full stop
    fix    what the user can do, ending in a full stop; may be empty where nothing can be done
    """

    exit_code = 1

    def __init__(self, code: str, what: str, fix: str = "") -> None:
        if code not in CODES:
            raise KeyError(f"{code} is not in segkit.errors.CODES")
        self.code, self.what, self.fix = code, visible(what), visible(fix)
        super().__init__(code, self.what, self.fix)

    def __str__(self) -> str:
        indent = " " * (len(self.code) + 2)
        lines = [*self.what.splitlines(), *self.fix.splitlines()]
        return f"{self.code}: " + f"\n{indent}".join(lines)


class SegkitWarning(UserWarning):
    """Something that works, and that a user should know of."""


class UsageError(SegkitError):
    """What was asked for cannot be done as it was written: another name, option or value."""

    exit_code = 2


class UnknownComponent(UsageError):
    """SK-C003: no component of this kind, in its plural form, has this name."""

    def __init__(self, kind: str, name: str, what: str, fix: str) -> None:
        super().__init__("SK-C003", what, fix)
        self.kind, self.name = kind, name


class DataError(SegkitError):
    """The data are not what was declared, or cannot be used."""

    exit_code = 3


class EnvironmentFault(SegkitError):
    """The machine lacks something: a library, a file, memory, a device, a connection."""

    exit_code = 4


class WeightsUnavailable(EnvironmentFault):
    """Raised by an encoder's factory; `--weights auto` answers it with a random start."""


class ModelFileError(SegkitError):
    """A model's file or folder is missing, damaged, or does not fit."""

    exit_code = 5


class Diverged(SegkitError):
    exit_code = 6


class OutOfMemory(SegkitError):
    exit_code = 7


class StorageError(SegkitError):
    exit_code = 8


class PluginError(SegkitError):
    exit_code = 9


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The words "Did you mean 'densenet121'? " with the nearest known names, or no words.

    Case does not count, and a number at the end little: mIoU is near miou, vocc near voc2012.
    """
    near = nearest(name, known)
    return f"Did you mean {' or '.join(repr(each) for each in near)}? " if near else ""


def nearest(name: str, known: Iterable[str], most: int = 3) -> list[str]:
    """The known names nearest to one that is not among them, the nearest first; or none."""
    # Only those who mistype pay for the import.
    from difflib import SequenceMatcher

    wanted = name.lower().replace("_", "-")
    shares = {}
    for each in dict.fromkeys(known):
        form = each.lower().replace("_", "-")
        stem = form.rstrip("0123456789")
        alike = SequenceMatcher(None, form, wanted).ratio()
        if len(stem) > 1 and stem != form and not wanted[-1:].isdigit():
            # A stem alone is a weaker sign than the whole name.
            alike = max(alike, 0.9 * SequenceMatcher(None, stem, wanted).ratio())
        if alike >= 0.65:
            shares[each] = alike
    return sorted(shares, key=lambda each: -shares[each])[:most]
