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
    ("train --classes 3", 2, "Did you mean '--num-classes'?"),
    ("train --class-names a,b", 2, "The classes are those of the data"),
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
    ("train --batch many", 2, "SK-C009: --batch: 'many' is neither a whole number nor auto."),
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
    ("explain 12", 2, "Did you mean 'SK-C012' or 'SK-D012'"),
    ("train --epochs 1e3", 2, "'1e3' is not a valid integer."),
    (
        "train --loss cross_entropy",
        2,
        "no loss is called 'cross_entropy'.\n         Did you mean 'ce'",
    ),
    ("train --loss dice,ce", 2, "sums of losses as 0.5*dice + ce."),
    ("train --loss mse", 2, "classes are learned with ce, dice or dice+ce."),
    ("train --loss 0*dice", 2, "the loss '0*dice' is 0 whatever the network says."),
    ("train --metric f1", 2, "no metric is called 'f1'.\n         Did you mean 'dice'?"),
    ("train --decoder deeplabv3", 2, "Did you mean 'deeplabv3plus' or 'smp/deeplabv3'?"),
    ("train --upsampler nearest-neighbor", 2, "Did you mean 'nearest'?"),
    ("train --dataset coco --data x", 2, "`segkit data convert SOURCE OUT` turns its annotations"),
    ("train --encoder unet(", 2, "expected an option's name, found 'the end'."),
    ("train --encoder unet(depth=99)", 2, "option 'depth' cannot be 99.\n         It is 2 to 8"),
    ("train --size 512x512", 2, "Crops are square, so one number says their height and width."),
    ("train --device gpu", 2, "'gpu' is no device.\n         Did you mean 'cuda'?"),
    ("train --precision float16", 2, "Did you mean 'fp16'?"),
    ("train --optimizer adam", 2, "Did you mean 'adamw'?"),
    ("train --label-mapping 0=1", 2, "--label-mapping cannot be '0=1'.\n         Write it as '{"),
    ("train --lr nan", 2, "'lr' cannot be nan (Input should be a finite number)."),
    ("train -e unet", 2, "There is no short form: write --encoder or --epochs."),
    ("train help", 2, "`segkit train --help` shows how it is called."),
    ("data validate photos", 2, "Did you mean `segkit data check DIR`?"),
    ("data split photos", 2, "--set val_share=0.2 is the share that validates."),
    ("bench unet", 2, "Did you mean --encoder unet?"),
    ("bench --size 320x240", 2, "Images are square: one number is their height and width."),
    ("bench --mode training", 2, "Did you mean 'train'?"),
    ("plan --gpu 4090", 2, "Did you mean 'RTX-4090'?"),
    ("list unet", 2, "segkit list encoders 'unet', or all about it: segkit info encoder unet"),
    ("list dense*", 2, "the kind comes first.\n         segkit list encoders 'dense*'"),
    ("info encoder dice", 2, "'dice' is the name of a loss."),
    ("info decoder", 2, "Name one: segkit info decoder NAME; `segkit list decoders`"),
    ("info decoder unet --encoder nosuch", 2, "no encoder is called 'nosuch'."),
    ("new-plugin tiny encoder", 2, "segkit new-plugin encoder tiny"),
    ("--data photos train", 2, "`segkit train --data` has it"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a data set, a run, and files and folders that are neither."""
    import numpy as np
    from PIL import Image

    from segkit.model.compose import build_model
    from segkit.model.folder import save_model

    folder = tmp_path_factory.mktemp("place")
    Image.new("L", (8, 8)).save(folder / "x.tif")
    (folder / "photos").mkdir()
    (folder / "small.onnx").touch()
    (folder / "street.yaml").write_text("lr: 0.1\n")
    (folder / "run").mkdir()
    (folder / "run" / "config.yaml").touch()
    for kind in ("images", "masks"):
        (folder / "cells" / kind).mkdir(parents=True)
    label_HW = np.zeros((24, 32), np.uint8)
    label_HW[4:8, 4:8], label_HW[12:15, 20:23] = 1, 2
    for number in range(2):
        Image.fromarray(90 * label_HW).save(folder / "cells" / "images" / f"{number}.png")
        Image.fromarray(label_HW).save(folder / "cells" / "masks" / f"{number}.png")
    (folder / "set.zip").write_bytes(b"PK")
    for below in ("packed", "beside"):
        (folder / below).mkdir()
    (folder / "packed" / "set.zip").write_bytes(b"PK")
    for number in range(2):
        Image.fromarray(90 * label_HW).save(folder / "beside" / f"{number}.png")
        Image.fromarray(label_HW).save(folder / "beside" / f"{number}_mask.png")
    run = folder / "runs" / "cells"
    tiny = build_model("unet(depth=2,width=4)", "unet", "bilinear", num_classes=3, in_channels=1)
    save_model(tiny, run / "model")
    (run / "config.yaml").write_text("encoder: unet(depth=2,width=4)\n")
    return folder


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


# Files and folders that are not there, or are something else; {0} is a folder of its own.
PLACES = [
    ("data check {0}/photo", 3, "there is no folder {0}/photo.\n         Did you mean {0}/photos?"),
    ("train --data {0}/nowhere --dry-run", 3, "there is no folder {0}/nowhere."),
    ("train --data {0}/x.tif --dry-run", 3, "x.tif is a file, and a data set is a folder"),
    ("train --config {0}/street.yml", 2, "street.yml does not exist.\n         Did you mean {0}/"),
    ("train --config {0}", 2, "{0} is a folder, and a configuration is a file."),
    ("train --config {0}/run", 2, "Did you mean {0}/run/config.yaml?"),
    ("train --out {0}/x.tif --dry-run", 2, "x.tif is a file, and a run needs a folder."),
    ("train --resume {0}/nowhere", 2, "{0}/nowhere is no run"),
    ("import {0}/street.yaml --out {0}/model", 5, "it begins with 'lr: 0.1', as nothing that"),
    ("import {0}/nowhere.pth --out {0}/model", 2, "nowhere.pth is no checkpoint"),
    ("evaluate {0}/nowhere", 5, "{0}/nowhere does not exist."),
    ("predict {0}/nowhere {0}/x.tif --out {0}/out", 5, "{0}/nowhere does not exist."),
    ("bench nosuch", 2, "nosuch"),
    ("bench compare {0}/a {0}/b", 2, "SK-B001"),
    ("bench --onnx {0}/no.onnx", 2, "--onnx {0}/no.onnx: there is no file {0}/no.onnx."),
    ("bench --onnx {0}/small.onx", 2, "Did you mean {0}/small.onnx?"),
    ("bench --onnx {0}/x.tif --device cpu", 2, "x.tif is no .onnx file."),
    ("bench --onnx {0}", 2, "{0} is a folder.\n         Did you mean {0}/small.onnx?"),
    ("bench --encoder nosuch", 2, "no encoder is called 'nosuch'"),
    ("bench --loss dice,cee", 2, "no loss is called 'cee'.\n         Did you mean 'ce'?"),
    ("bench --size large", 2, "--size cannot be 'large'."),
    (
        "train --size 20000 --encoder unet(depth=2,width=4) --dry-run --device cpu",
        7,
        "a step of 8 crops of 20000 x 20000 pixels (height x width) needs",
    ),
    ("train --metric mIoU --dry-run", 2, "Did you mean 'miou'"),
    ("train --dataset vocc --data {0} --dry-run", 2, "Did you mean 'voc2012'?"),
    ("train --loss ce+0.5*dicee --dry-run", 2, "Did you mean 'dice'"),
    ("train --device cuda:99 --dry-run", 4, "SK-E002"),
    ("info densenet12", 2, "Did you mean 'densenet121'"),
    ("info encoder densenet121(dept=3)", 2, "no option 'dept'.\n         Did you mean 'depth'?"),
    ("list encodres", 2, "Did you mean 'encoders'"),
    ("list decoders --compatible-with nosuch", 2, "no encoder is called 'nosuch'"),
    ("new-plugin encodr tiny --out {0}", 2, "Did you mean 'encoders'"),
    ("new-plugin encoder Tiny! --out {0}", 2, "Tiny!"),
    ("data convert {0}/nowhere {0}/out", 3, "there is no folder {0}/nowhere."),
    ("data stats {0}/photos", 3, "SK-D0"),
    ("data download nosuch --out {0}/set", 2, "no dataset is called 'nosuch'"),
    ("plan --gpu rtx-9999", 2, "rtx-9999"),
    ("plan --size 3x4x5", 2, "'3x4x5' is no size."),
    ("export {0}/nowhere", 5, "{0}/nowhere does not exist."),
    ("train --data {0}/cells/images", 3, "Did you mean {0}/cells?"),
    ("train --data {0}/runs/cells", 3, "{0}/runs/cells is a run: `segkit evaluate {0}/runs/cells`"),
    ("train --data {0}/cells --num-classes 2", 3, "say so: --num-classes 3, or add its name"),
    ("train --data {0}/cells --num-classes 1", 3, "If all are classes: --num-classes 3."),
    ("train --data {0}/cells --weights Imagenet", 2, "Did you mean 'imagenet'?"),
    ("train --data {0}/cells --freeze backbone", 2, "The largest parts are encoder, decoder"),
    ("train --resume {0}/runs", 2, "holds no config.yaml.\n         Did you mean {0}/runs/cells?"),
    ("train --resume {0}/runs/cells/config.yaml", 2, "Did you mean {0}/runs/cells?"),
    ("train --resume {0}/runs/cells --lr 0.1", 2, "--lr cannot be changed while a run continues."),
    ("evaluate {0}/runs", 5, "Did you mean {0}/runs/cells?"),
    ("evaluate {0}/runs/cells/model/model.json", 5, "Did you mean {0}/runs/cells?"),
    ("evaluate {0}/runs/cells --data {0}/cells --split valid", 2, "Did you mean 'val'?"),
    (
        "evaluate {0}/runs/cells --data {0}/cells --num-classes 5",
        2,
        "--num-classes 5: {0}/runs/cells tells 3 classes apart.",
    ),
    ("predict {0}/cells/images/0.png {0}/runs/cells --out {0}/out", 3, "the run comes first"),
    ("predict {0}/runs/cells {0}/cells --out {0}/out", 3, "Give {0}/cells/images."),
    (
        "predict {0}/runs/cells {0}/cells/images --out {0}/cells",
        2,
        "{0}/cells is a data set: predictions would lie among its masks.",
    ),
    (
        "predict {0}/runs/cells {0}/cells/images --out {0}/x.tif",
        2,
        "--out {0}/x.tif is a file.",
    ),
    ("predict {0}/runs/cells {0}/*.jpg --out {0}/out", 3, "and nothing matches it."),
    ("data preview {0}/cells --out {0}/x.jpg", 2, "x.jpg is no .png file."),
    ("data preview {0}/cells --size 100000", 2, "100000 is not in the range 8<=x<=8192."),
    ("data check {0}/cells --out {0}/cells/report", 2, "where nothing is ever written."),
    ("data convert {0}/cells {0}/photos", 2, "{0}/photos exists."),
    ("bench --out {0}/x.tif", 2, "--out {0}/x.tif is a file."),
    ("import {0}/runs/cells --out {0}/out", 2, "{0}/runs/cells is a model of segkit already."),
    ("export {0}/runs/cells --out {0}/out", 2, "is no .onnx file."),
    ("data check {0}/set.zip", 3, "give the folder it becomes: python -m zipfile -e {0}/set.zip"),
    ("data check {0}/packed", 3, "set.zip has to be unpacked first: python -m zipfile -e {0}/pack"),
    ("data check {0}/beside", 3, "mv {0}/beside/*_mask.* {0}/beside/masks/; mv {0}/beside/*.png"),
    ("data check {0}/beside", 3, "--declare 'mask_suffix: _mask', or `mask_suffix: _mask` in {0}"),
    ("data check {0}/cells --declare names=a,b", 2, "Write 'KEY: VALUE', as 'names: [car, tree]'."),
    ("data check {0}/cells --binarize 300000", 2, "300000 is not in the range 1<=x<=65535."),
    ("data check {0}/cells --ignore-index void", 2, "a whole number, auto or none."),
    ("data check {0}/cells --instances yes", 2, "'yes' is not one of 'foreground', 'boundary'."),
    ("data check {0}/cells --label-mapping {{1:cat}}", 2, "maps 1 to 'cat'"),
    ("data stats {0}/cells --split valid", 2, "Did you mean 'val'?"),
    ("data convert {0}/cells", 2, "`segkit data convert` needs OUT."),
    ("train --data {0}/cells --num-classes 0", 2, "'num_classes' cannot be 0"),
    ("train --data {0}/cells --size -64", 2, "'size' cannot be -64"),
    ("train --data {0}/cells,{0}/photos", 3, "there is no folder {0}/cells,{0}/photos"),
    ("train --data {0}/cells --crops class", 2, "Did you mean 'classes'?"),
    ("train --data {0}/cells --augmentation flip", 2, "There are none, light, standard, strong"),
    ("train --data {0}/cells --encoder unet,unet", 2, "',' cannot stand here."),
    ("train --data {0}/cells --weights ssl", 2, "is neither 'auto', 'imagenet', 'none' nor a file"),
    ("predict {0}/runs/cells {0}/no.jpg --out {0}/out", 3, "there is no file and no folder"),
]


@pytest.mark.parametrize(("typed", "status", "words"), PLACES, ids=[row[0] for row in PLACES])
def test_a_mistake_about_a_place_or_a_name_is_answered(segkit, place, typed, status, words):
    ended, said = segkit(typed.format(place))
    assert ended == status, said
    assert words.format(place) in said
    assert said.count("Error: SK-") == 1
    assert "Traceback" not in said


# Each names what to do; none of them ends before the data are read.
COMMANDS = ["data check {0}/cells --num-classes 300", "train --data {0}/cells --dry-run"]


@pytest.mark.parametrize("typed", COMMANDS)
def test_a_note_is_said_once_a_command(capsys, place, tmp_path, monkeypatch, typed):
    monkeypatch.chdir(tmp_path)
    tiny = " --encoder unet(depth=2,width=4) --device cpu" if typed.startswith("train") else ""
    with pytest.raises(SystemExit):
        main((typed + tiny).format(place).split())
    out, err = capsys.readouterr()
    said = [line.strip() for line in f"{out}\n{err}".splitlines()]
    notes = [line for line in said if line.endswith(".") and len(line) > 30]
    assert len(notes) > 2
    assert [line for line in set(notes) if notes.count(line) > 1] == []
