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
    **dict.fromkeys(("grid", "tune", "search", "multirun", "hpo"), "sweep"),
    "compare": "bench compare A B",
    **dict.fromkeys(("memory", "estimate", "flops"), "plan"),
    **dict.fromkeys(("new", "create", "init", "scaffold", "template"), "new-plugin KIND NAME"),
    **dict.fromkeys(("plugin", "extensions"), "plugins"),
    **dict.fromkeys(("env", "diagnose", "info-env", "health", "settings"), "doctor"),
    **dict.fromkeys(("error", "code", "why"), "explain CODE"),
    **dict.fromkeys(("load", "migrate"), "import FILE --out DIR"),
    **dict.fromkeys(("upload", "share", "publish", "hub"), "push RUN OWNER/NAME"),
    **dict.fromkeys(("temperature", "calibration"), "calibrate RUN"),
    **dict.fromkeys(("combine", "merge", "average"), "ensemble RUN RUN --out FOLDER"),
    "version": "--version",
    "help": "--help",
    **dict.fromkeys(("onnx", "save", "deploy", "torchscript"), "export RUN"),
    **dict.fromkeys(
        ("install", "add", "uninstall", "remove"),
        "Plugins are packages: python -m pip install NAME; `segkit plugins` shows those installed.",
    ),
}

DATA_COMMANDS: dict[str, str] = {
    **dict.fromkeys(("validate", "verify", "inspect", "lint"), "data check DIR"),
    **dict.fromkeys(("show", "view", "visualize", "visualise", "plot"), "data preview DIR"),
    **dict.fromkeys(("weights", "count", "describe", "info"), "data stats DIR"),
    **dict.fromkeys(("import", "transform", "export", "to-masks"), "data convert SOURCE OUT"),
    **dict.fromkeys(("list", "ls"), "list datasets"),
    **dict.fromkeys(("get", "fetch"), "data download"),
    **dict.fromkeys(
        ("split", "divide"),
        "Where a folder names no parts, training draws them from a seed; --set val_share=0.2 is "
        "the share that validates. Lists of names in DIR/train.txt and DIR/val.txt fix them.",
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
    **dict.fromkeys(("epoch", "num-epochs", "max-epochs", "n-epochs", "ep"), _LENGTH),
    "e": "There is no short form: write --encoder or --epochs.",
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
    **dict.fromkeys(("tb", "tensorboard"), "--logger tensorboard"),
    **dict.fromkeys(("wandb", "use-wandb"), "--logger wandb"),
    "mlflow": "--logger mlflow",
    **dict.fromkeys(("log", "loggers", "tracker", "report-to"), "--logger"),
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
        ("weight", "loss-weights"),
        "--class-weights median takes them from the data; your own go into the loss: "
        '--loss "ce(class_weights=[1, 2])".',
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

# What others call a value of an option, by option.
VALUES: dict[str, dict[str, str]] = {
    "--precision": {
        **dict.fromkeys(("float16", "half", "16", "amp", "16-mixed", "f16"), "fp16"),
        **dict.fromkeys(("bfloat16", "bf16-mixed"), "bf16"),
        **dict.fromkeys(("float32", "32", "full", "float", "single"), "fp32"),
    },
    "--compile": dict.fromkeys(("true", "on", "1"), "yes") | dict.fromkeys(("false", "off"), "no"),
    "--optimizer": {"adam": "adamw", "momentum": "sgd"},
    "--crops": {"center": "middle", "centre": "middle", "random": "anywhere"},
    "--from": {"timm": "smp", "pytorch": "auto", "unet": "milesial", "torch": "auto"},
}

_CONVERTED = "`segkit data convert SOURCE OUT` turns its annotations into images/ and masks/."
_REGRESSION = "That is for numbers; classes are learned with ce, dice or dice+ce."

# By kind, as segkit.registry.expression reads names, in lower case and with hyphens.
COMPONENTS: dict[str, dict[str, str]] = {
    "encoders": {
        "vgg16": "vgg16_bn",
        "vgg19": "vgg19_bn",
        "densenet": "densenet121",
        "resnet": "timm/resnet50",
        "mobilenet": "timm/mobilenetv3_large_100",
        "efficientnet": "timm/efficientnet_b0",
        "convnext": "timm/convnext_tiny",
        "swin": "timm/swin_tiny_patch4_window7_224",
    },
    "decoders": {
        **dict.fromkeys(("deeplab", "deeplabv3"), "deeplabv3plus smp/deeplabv3"),
        **dict.fromkeys(("deeplabv3+", "deeplab-v3-plus"), "deeplabv3plus"),
        **dict.fromkeys(("unet++", "unetplusplus", "unet-plus-plus"), "smp/unetplusplus"),
        **dict.fromkeys(("fcn8s", "fcn32s", "fcn-8s"), "fcn"),
    },
    "upsamplers": {
        **dict.fromkeys(("nearest-neighbour", "nearest-neighbor", "nn", "repeat"), "nearest"),
        **dict.fromkeys(("interpolate", "interpolation", "linear", "resize"), "bilinear"),
        **dict.fromkeys(("deconv", "deconvolution", "convtranspose", "transpose"), "transposed"),
        **dict.fromkeys(("conv-transpose", "transposed-conv", "convtranspose2d"), "transposed"),
        **dict.fromkeys(("subpixel", "sub-pixel", "depth-to-space"), "pixel_shuffle"),
        **dict.fromkeys(("unpool", "unpooling"), "max_unpool"),
        "cubic": "bicubic",
    },
    "losses": {
        **dict.fromkeys(("crossentropy", "cross-entropy", "crossentropyloss"), "ce"),
        **dict.fromkeys(("xent", "nll", "softmax", "categorical-crossentropy", "logloss"), "ce"),
        **dict.fromkeys(("bce", "binary-cross-entropy", "bce-with-logits"), "ce"),
        **dict.fromkeys(("dice-loss", "diceloss", "soft-dice", "dsc", "f1"), "dice"),
        **dict.fromkeys(("iou", "miou", "soft-iou", "iou-loss"), "jaccard"),
        **dict.fromkeys(("dice-bce", "dicebce", "dice-ce", "dicece", "combo"), "dice+ce"),
        **dict.fromkeys(("lovasz-softmax", "lovasz-hinge"), "lovasz"),
        **dict.fromkeys(("hard-mining", "hard-example-mining", "bootstrapped-ce"), "ohem"),
        **dict.fromkeys(("wce", "balanced-ce", "class-balanced"), "weighted_ce"),
        **dict.fromkeys(("surface", "hausdorff", "hd"), "boundary"),
        **dict.fromkeys(("mse", "l1", "l2", "mae", "smooth-l1", "huber"), _REGRESSION),
    },
    "metrics": {
        **dict.fromkeys(("accuracy", "acc", "pixel-acc", "aacc"), "pixel_accuracy"),
        **dict.fromkeys(("f1", "f-score", "fscore", "f1-score", "dsc", "dice-score"), "dice"),
        **dict.fromkeys(("jaccard", "mean-iou", "meaniou", "iou-score", "mean-jaccard"), "miou"),
        **dict.fromkeys(("fwiou", "fwiu", "weighted-iou"), "frequency_weighted_iou"),
        **dict.fromkeys(("hd95", "hausdorff", "hd", "surface-distance"), "hausdorff95"),
        **dict.fromkeys(("sensitivity", "tpr"), "recall"),
        "ppv": "precision",
        "biou": "boundary_iou",
        "calibration": "ece",
        **dict.fromkeys(
            ("loss", "val-loss"),
            "The loss on the validation split is written beside the scores anyway (val_loss).",
        ),
    },
    "datasets": {
        **dict.fromkeys(("voc", "pascal", "pascal-voc", "voc12"), "voc2012"),
        **dict.fromkeys(("pets", "pet", "oxford-pets", "oxford"), "oxford-iiit-pet"),
        **dict.fromkeys(("coco", "ms-coco", "yolo", "labelme", "label-studio"), _CONVERTED),
        **dict.fromkeys(
            ("ade20k", "ade", "custom", "folder", "images"),
            "A folder of images/ and masks/ needs no name: --data DIR alone.",
        ),
        "isbi": "isbi2012",
    },
}
