"""What people coming from elsewhere call our commands and options: the nearest by meaning.

A value is one or several of our names, of which the first that the command has is meant, or a
whole sentence where nothing of ours is the same.
"""

from __future__ import annotations

COMMANDS: dict[str, str] = {
    **dict.fromkeys(("val", "validate", "eval", "score", "metrics"), "evaluate RUN"),
    "test": "evaluate RUN --split test",
    **dict.fromkeys(("infer", "inference", "detect", "segment", "apply", "run"), "predict"),
    **dict.fromkeys(("fit", "finetune", "fine-tune", "learn", "start"), "train"),
    **dict.fromkeys(("resume", "continue"), "train --resume RUN"),
    **dict.fromkeys(("check", "verify", "inspect"), "data check DIR"),
    **dict.fromkeys(("download", "fetch", "get"), "data download"),
    **dict.fromkeys(("stats", "statistics"), "data stats DIR"),
    **dict.fromkeys(("preview", "visualize", "visualise", "show-data"), "data preview DIR"),
    "convert": "data convert SOURCE OUT",
    **dict.fromkeys(("datasets", "dataset"), "list datasets"),
    **dict.fromkeys(("ls", "models", "encoders", "components"), "list"),
    **dict.fromkeys(("show", "describe", "summary"), "info NAME"),
    **dict.fromkeys(("benchmark", "profile", "speed", "time"), "bench"),
    "compare": "bench compare A B",
    **dict.fromkeys(("memory", "estimate", "flops"), "plan"),
    **dict.fromkeys(("new", "create", "init", "scaffold", "template"), "new-plugin KIND NAME"),
    **dict.fromkeys(("plugin", "extensions"), "plugins"),
    **dict.fromkeys(("env", "diagnose", "info-env", "health", "settings"), "doctor"),
    **dict.fromkeys(("error", "code", "why"), "explain CODE"),
    **dict.fromkeys(("load", "migrate"), "import FILE --out DIR"),
    "version": "--version",
    "help": "--help",
    **dict.fromkeys(("onnx", "save", "deploy", "torchscript"), "export RUN"),
    **dict.fromkeys(
        ("install", "add", "uninstall", "remove"),
        "Plugins are packages: python -m pip install NAME; `segkit plugins` shows those installed.",
    ),
}

_LENGTH = "--epochs"
OPTIONS: dict[str, str] = {
    **dict.fromkeys(("arch", "architecture", "model", "network", "net"), "--decoder --encoder"),
    **dict.fromkeys(("backbone", "encoder-name"), "--encoder"),
    **dict.fromkeys(("head", "decoder-name"), "--decoder"),
    **dict.fromkeys(("upsampling", "up", "interpolation"), "--upsampler"),
    **dict.fromkeys(("criterion", "loss-fn", "objective"), "--loss"),
    **dict.fromkeys(("metrics", "score", "monitor"), "--metric"),
    **dict.fromkeys(("name", "run-name", "experiment", "exp", "project", "run"), "--out"),
    **dict.fromkeys(("output", "output-dir", "out-dir", "save-dir", "save", "log-dir"), "--out"),
    **dict.fromkeys(("o", "dest", "destination", "results", "work-dir"), "--out"),
    **dict.fromkeys(("data-dir", "data-path", "root", "input", "images", "dir", "path"), "--data"),
    **dict.fromkeys(("folder", "train-dir", "source", "img-dir"), "--data"),
    **dict.fromkeys(("learning-rate", "lr0", "max-lr", "base-lr", "eta"), "--lr"),
    **dict.fromkeys(
        ("lr-schedule", "scheduler", "schedule", "lr-scheduler", "cosine", "warmup"),
        "The learning rate rises to --lr over a first share of the steps (--set "
        "warmup_share=0.05) and then falls to 0 along half a cosine; there is no other schedule.",
    ),
    **dict.fromkeys(("batch-size", "bs", "b", "batchsize", "images-per-batch"), "--batch"),
    **dict.fromkeys(("epoch", "num-epochs", "max-epochs", "n-epochs", "ep", "e"), _LENGTH),
    **dict.fromkeys(("iterations", "steps", "max-steps", "iters", "max-iters"), _LENGTH),
    **dict.fromkeys(("img-size", "imgsz", "image-size", "crop-size", "crop", "patch"), "--size"),
    **dict.fromkeys(("resolution", "height", "width", "input-size", "scale", "resize"), "--size"),
    **dict.fromkeys(("patch-size", "tile-size", "sliding-window", "window"), "--tile --size"),
    **dict.fromkeys(("stride", "tile-overlap"), "--overlap"),
    **dict.fromkeys(("gpu", "gpus", "cuda", "accelerator", "devices", "cpu"), "--device"),
    **dict.fromkeys(("num-workers", "threads", "n-workers", "jobs", "j", "num-procs"), "--workers"),
    **dict.fromkeys(("amp", "fp16", "bf16", "half", "mixed-precision", "dtype"), "--precision"),
    **dict.fromkeys(("pretrained", "init", "encoder-weights", "imagenet"), "--weights"),
    **dict.fromkeys(("checkpoint", "ckpt", "continue", "restart", "load"), "--resume"),
    **dict.fromkeys(("augment", "aug", "augmentations", "transforms"), "--augmentation"),
    **dict.fromkeys(("early-stopping", "early-stop", "stop"), "--patience"),
    **dict.fromkeys(("optim", "opt", "adam", "sgd"), "--optimizer"),
    **dict.fromkeys(("wd", "decay", "l2"), "--weight-decay"),
    **dict.fromkeys(("ema", "average", "swa"), "--no-ema"),
    **dict.fromkeys(("cfg", "yaml", "settings", "config-file"), "--config"),
    **dict.fromkeys(("override", "opts", "param"), "--set"),
    **dict.fromkeys(("random-seed", "rng", "manual-seed"), "--seed"),
    **dict.fromkeys(("channels", "in-chans", "input-channels", "n-channels"), "--in-channels"),
    **dict.fromkeys(("void", "ignore", "ignore-label", "ignored"), "--ignore-index"),
    **dict.fromkeys(("gradient-checkpointing", "grad-checkpointing"), "--checkpoint-activations"),
    **dict.fromkeys(("frozen", "freeze-encoder", "freeze-backbone"), "--freeze"),
    **dict.fromkeys(("subset", "part", "phase", "set-name"), "--split"),
    **dict.fromkeys(("force", "exist-ok", "f", "replace"), "--overwrite"),
    **dict.fromkeys(("visualize", "visualise", "vis", "pictures"), "--overlay"),
    **dict.fromkeys(("tb", "logger", "log"), "--tensorboard"),
    **dict.fromkeys(("test", "simulate", "check"), "--dry-run"),
    **dict.fromkeys(("verbose", "v", "traceback"), "--debug"),
    **dict.fromkeys(("vram", "ram", "gpu-memory"), "--memory"),
    **dict.fromkeys(("format", "as-json"), "--json"),
    "resume-from": "--resume",
    **dict.fromkeys(("classes", "nc", "n-classes"), "--num-classes"),
    **dict.fromkeys(
        ("class-names", "names"),
        "The classes are those of the data: write `names:` into DIR/data.yaml; `segkit data check "
        "DIR` shows what is there.",
    ),
    **dict.fromkeys(
        ("masks", "mask-dir", "labels", "ann-dir", "annotations", "targets"),
        "Masks lie beside the images: --data DIR with DIR/images and DIR/masks.",
    ),
    **dict.fromkeys(
        ("val-split", "validation-split", "val-share", "test-size", "val"),
        "Write --set val_share=0.2 for the share that validates where the data name none.",
    ),
    **dict.fromkeys(
        ("class-weights", "weight", "loss-weights"),
        'They are an option of the loss: --loss "ce(class_weights=[1, 2])"; `segkit data stats '
        "DIR` prints balanced ones.",
    ),
    **dict.fromkeys(
        ("threshold", "conf"),
        "A mask holds the likeliest class of each pixel; there is no threshold to choose.",
    ),
    **dict.fromkeys(
        ("clip", "clip-grad", "grad-clip", "max-norm", "clip-norm"),
        "Write --set clip_norm=1.0, or --set clip_norm=null for none.",
    ),
    **dict.fromkeys(
        (
            "grad-accum",
            "accumulation-steps",
            "gradient-accumulation-steps",
            "accumulate-grad-batches",
        ),
        "--accumulate",
    ),
    **dict.fromkeys(
        ("distributed", "ddp", "nproc", "world-size", "nodes"),
        "Several GPUs: --devices 2; several machines: torchrun -m segkit train ...",
    ),
}
