"""`segkit calibrate`: has a model be as certain as it is right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segkit.cli.options.data_options import data_of_model, data_options
from segkit.cli.options.declaring import TorchCommand, counter, say
from segkit.cli.options.machine_options import device_options, workers_option

if TYPE_CHECKING:
    from segkit.scoring.calibrate_model import Calibrated


@click.command("calibrate", cls=TorchCommand)
@click.argument("run")
@data_of_model
@click.option("--batch", type=click.IntRange(min=1), default=8, show_default=True, help="Images.")
@device_options
@workers_option
@click.option("--remove", is_flag=True, help="Take the temperature away again; fit nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    run: str,
    data: Path | None,
    dataset: str | None,
    split: str,
    batch: int,
    device: str,
    precision: str,
    workers: int | None,
    remove: bool,
    as_json: bool,
    **choices: Any,
) -> None:
    """Fit the temperature of RUN, a run or model folder, on images it was not trained on.

    \b
    segkit calibrate runs/cells
    segkit calibrate runs/cells --data DIR --split test
    segkit calibrate runs/cells --remove

    A temperature makes probabilities as high as answers are right. It stays in the model folder,
    and `predict`, `evaluate` and exported files keep to it. Labels do not change.
    """
    from segkit.scoring.calibrate_model import calibrate_model, forget_temperature
    from segkit.scoring.evaluate_model import EvaluationSettings

    if remove:
        forget_temperature(run)
        say(f"{run} has the temperature 1 again")
        return
    asked = EvaluationSettings(
        model=run,
        split=split,
        data=data,
        options=data_options(dataset, choices),
        batch=batch,
        device=device,
        precision=precision,
        workers=workers,
    )
    found = calibrate_model(asked, counter("images"))
    say(json.dumps(found.as_json(), indent=2) if as_json else _told(found, run))


def _told(found: Calibrated, run: str) -> str:
    was = "doubtful" if found.temperature < 1 else "sure"
    images = f"{found.images} image{'s' * (found.images != 1)}"
    drawn = "" if found.drawn == found.pixels else f", {found.drawn:,} of them drawn evenly"
    return "\n".join(
        [
            f"temperature {found.temperature:.4g}: {run} was too {was}",
            f"fitted on {images} of {found.data}, split {found.split}: {found.pixels:,} pixels"
            f"{drawn}",
            f"negative log-likelihood    {found.likelihood_before:.4f} before, "
            f"{found.likelihood:.4f} now",
            f"expected calibration error {found.error_before:.4f} before, {found.error:.4f} now",
            "Both are of the images it was fitted on; labels are what they were.",
            f"Of other images: segkit evaluate {run} --data DIR --split all --out OUT",
        ]
    )
