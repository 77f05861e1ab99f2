"""Mistakes as new users make them: what was typed, the exit status, and words that help."""

import pytest

from segkit.cli.main import main

# Typed wrongly: commands, options, values, order. Names of others lead to ours by meaning.
WORDS = [
    ("val", 2, "Did you mean `segkit evaluate RUN`?"),
    ("test", 2, "Did you mean `segkit evaluate RUN --split test`?"),
    ("check photos", 2, "Did you mean `segkit data check DIR`?"),
    ("download camvid", 2, "Did you mean `segkit data download`?"),
    ("onnx runs/street", 2, "Did you mean `segkit export RUN`?"),
    ("evaluat", 2, "`segkit` has no command 'evaluat'.\n         Did you mean 'evaluate'?"),
    ("xyzzy", 2, "`segkit --help` shows all"),
    ("data chek", 2, "`segkit data` has no command 'chek'.\n         Did you mean 'check'?"),
    ("train --arch unet", 2, "Did you mean '--encoder' and '--decoder'?"),
    ("train --name first", 2, "Did you mean '--out'?"),
    ("train --learning-rate 0.1", 2, "Did you mean '--lr'?"),
    ("train --lr-schedule cosine", 2, "falls to 0 along half a cosine"),
    ("train --epoch 3", 2, "Did you mean '--epochs'?"),
    ("train --bach 3", 2, "Did you mean '--batch'?"),
    ("train --num-classes 3", 2, "The classes are those of the data"),
    ("train --gpus 0", 2, "Did you mean '--device'?"),
    ("evaluate runs/x --epochs 3", 2, "`segkit train --epochs` has it"),
    ("--encoder unet train", 2, "`segkit train --encoder` has it: an option stands behind"),
    ("train --lr", 2, "--lr stands without a value."),
    ("train --dry-run=3", 2, "option '--dry-run' does not take a value."),
    ("train lr=0.1", 2, "Did you mean --set lr=0.1?"),
    (
        "train epochs 3",
        2,
        "`segkit train` cannot place 'epochs 3'.\n         Did you mean --epochs?",
    ),
    ("train --batch many", 2, "SK-C009: --batch: 'many' is not a valid integer."),
    ("train --precision fp8", 2, "'fp8' is not one of 'auto', 'fp32'"),
    ("train --workers -2", 2, "--workers: 'workers' cannot be -2"),
    ("train --set workers=-2", 2, "--set workers: 'workers' cannot be -2"),
    ("train --epochs -3", 2, "--epochs: 'epochs' cannot be -3"),
    ("train --set nosuch=3", 2, "--set nosuch: there is no setting 'nosuch'"),
    ("evaluate", 2, "For example: segkit evaluate runs/street --split test"),
    ("predict runs/street", 2, "`segkit predict` needs IMAGES."),
    ("predict runs/street a.png", 2, "`segkit predict` needs --out (Folder for results)."),
    ("evaluate runs/x --batch 0", 2, "--batch: 0 is not in the range x>=1."),
    ("plan --memory much", 2, "Write 24 (GiB), 24GB or 800MB."),
    ("explain SK-C9", 2, "'SK-C9' is no error code."),
]


@pytest.fixture
def segkit(capsys):
    """segkit("train --lr"): exit status and what was printed on the error stream."""

    def run(typed):
        with pytest.raises(SystemExit) as ended:
            main(typed.split())
        return ended.value.code, capsys.readouterr().err

    return run


@pytest.mark.parametrize(("typed", "status", "words"), WORDS, ids=[row[0] for row in WORDS])
def test_a_mistake_is_answered_with_what_to_do(segkit, typed, status, words):
    ended, said = segkit(typed)
    assert ended == status, said
    assert words in said
    assert said.count("Error: SK-") == 1
    assert "Traceback" not in said
