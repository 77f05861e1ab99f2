"""sbatch, squeue and sacct in one program, after SLURM's manual pages: jobs run on this machine.

Called by each of these names; what it knows lies in the folder FAKE_SLURM. The file `refusing`
there makes sbatch refuse, `silent` makes squeue fail; a place's file `ends` is accounting's word.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

KNOWN = Path(os.environ["FAKE_SLURM"])


def sbatch(words: list[str]) -> None:
    if (KNOWN / "refusing").exists():
        sys.exit("sbatch: error: invalid partition specified: nowhere")
    *options, script = words
    assert options == ["--parsable"], options
    text = Path(script).read_text()
    assert text.startswith("#!/bin/bash\n#SBATCH ")
    first, last = map(int, re.findall(r"^#SBATCH --array=(\d+)-(\d+)$", text, re.M)[0])
    number = 100 + len(list(KNOWN.glob("[0-9]*")))
    for place in range(first, last + 1):
        folder = KNOWN / str(number) / str(place)
        folder.mkdir(parents=True)
        variables = {"SLURM_JOB_ID": f"{number + place}", "SLURM_ARRAY_TASK_ID": f"{place}"}
        process = subprocess.Popen(
            ["bash", script],
            env=os.environ | variables,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        (folder / "process").write_text(str(process.pid))
    sys.stdout.write(f"{number};cluster\n")


def squeue(words: list[str]) -> None:
    if (KNOWN / "silent").exists():
        sys.exit("slurm_load_jobs error: Unable to contact slurm controller (connect failure)")
    assert {"--noheader", "--array", "--format=%K"} < {*words}
    [number] = [word.partition("=")[2] for word in words if word.startswith("--jobs=")]
    if not (KNOWN / number).is_dir():
        sys.exit("slurm_load_jobs error: Invalid job id specified")
    for folder in (KNOWN / number).iterdir():
        if is_there(int((folder / "process").read_text())):
            sys.stdout.write(f"{folder.name}\n")


def sacct(words: list[str]) -> None:
    [asked] = [word.partition("=")[2] for word in words if word.startswith("--jobs=")]
    number, place = asked.split("_")
    file = KNOWN / number / place / "ends"
    sys.stdout.write(file.read_text() if file.exists() else "\n")


def is_there(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


if __name__ == "__main__":
    {"sbatch": sbatch, "squeue": squeue, "sacct": sacct}[Path(sys.argv[0]).name](sys.argv[1:])
