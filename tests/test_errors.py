"""The error tree: every code is explained, used, and printed with its fix."""

import re
from pathlib import Path

import pytest

from segkit import errors
from segkit.describe.explanations import READ_ON, explained, explanations

SOURCES = Path(errors.__file__).parent


def raised_codes() -> set[str]:
    """Every code that stands in a file of segkit other than the catalogue, or of a launcher's."""
    files = [p for p in SOURCES.rglob("*.py") if p != Path(errors.__file__)]
    for name in ("launchers", "ray"):
        files += SOURCES.parent.glob(f"plugins/segkit-{name}/src/*/*.py")
    return {code for p in files for code in re.findall(r'"(SK-[A-Z]\d{3})"', p.read_text())}


def test_every_code_that_is_raised_is_explained():
    assert raised_codes() <= errors.CODES.keys()


def test_every_code_that_is_explained_is_raised():
    assert errors.CODES.keys() <= raised_codes()


def test_explain_says_more_than_the_error_of_every_code():
    assert explanations().keys() == errors.CODES.keys()
    for code, known in explanations().items():
        assert all((known.cause, known.example, known.repair)), code
        assert known.cause.rstrip(".") != errors.CODES[code].rstrip("."), code
        assert READ_ON[code[3]] in explained(code, errors.CODES[code])


def test_the_pages_to_read_on_are_there():
    named = {page for text in READ_ON.values() for page in re.findall(r"[\w/]+\.md", text)}
    assert named and all((SOURCES.parent / page).is_file() for page in named)


def test_a_code_nobody_explained_cannot_be_raised():
    with pytest.raises(KeyError):
        errors.UsageError("SK-C999", "What.")


def test_the_fix_stands_below_the_fact():
    error = errors.UsageError("SK-C003", "no encoder is called 'x'.", "Do this.\nOr that.")
    assert str(error) == (
        "SK-C003: no encoder is called 'x'.\n         Do this.\n         Or that."
    )


def test_exit_statuses_are_those_documented():
    documented = dict(re.findall(r"(\w+) +(\d)  ", errors.__doc__ or ""))
    classes = [c for c in vars(errors).values() if isinstance(c, type)]
    statuses = {c.__name__: str(c.exit_code) for c in classes if "exit_code" in vars(c)}
    assert statuses == documented


@pytest.mark.parametrize(
    ("typed", "known", "nearest"),
    [
        ("mIoU", ["miou", "dice"], "miou"),
        ("vocc", ["camvid", "voc2012"], "voc2012"),
        ("densnet121", ["densenet121", "densenet169", "unet"], "densenet121"),
        ("Batch_Size", ["batch-size", "epochs"], "batch-size"),
    ],
)
def test_the_nearest_name_comes_first(typed, known, nearest):
    assert errors.nearest(typed, known)[0] == nearest


def test_what_is_far_is_not_suggested():
    assert errors.did_you_mean("resnet50", ["densenet201", "densenet121"]) == ""


def test_names_from_files_steer_no_terminal():
    error = errors.DataError("SK-D004", "\x1b]0;owned\x07\u202e.png\nis\ttext", "See \x9b31m.")
    assert error.what == "\\x1b]0;owned\\x07\\u202e.png\nis\ttext"
    assert error.fix == "See \\x9b31m."
    assert errors.visible("\udcff") == "\\udcff"
    assert errors.visible("Zoë, 细胞, [red], 1e-3") == "Zoë, 细胞, [red], 1e-3"
