"""The sbatch script of jobs that need the same."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from string import Template

from segkit.api import Job

# SLURM asks a job to end so many seconds before its time is over, for it to save.
SECONDS_TO_SAVE = 120

# The command is a child, so that its status is kept; signals for the script are passed on to it.
SCRIPT = Template("""\
#!/bin/bash
$directives

# Each job's command line; SLURM says which is ours.
case "$$SLURM_ARRAY_TASK_ID" in
$cases
*) echo "no job $$SLURM_ARRAY_TASK_ID" >&2; exit 2 ;;
esac

exec >> "$$log" 2>&1
rm -f "$$status"
cd "$$folder" || exit 1
$setup
"$$@" &
child=$$!
for signal in TERM INT USR1; do trap "kill -$$signal $$child" $$signal; done
wait $$child
code=$$?
# wait ends early at each signal: the command may be saving.
while kill -0 $$child 2> /dev/null; do
  wait $$child
  code=$$?
done
echo $$code > "$$status.part" && mv "$$status.part" "$$status"
exit $$code
""")


def script_of(jobs: Sequence[Job], folder: Path, options: Sequence[str], setup: str) -> str:
    """The script; its first job says what each needs.

    folder    for what SLURM itself prints, and a file NAME.status with each exit status
    options   of sbatch, besides
    """
    directives = [f"#SBATCH {each}" for each in (*_needs(jobs, folder), *options)]
    cases = "\n".join(_case(place, job, folder) for place, job in enumerate(jobs))
    return SCRIPT.substitute(directives="\n".join(directives), cases=cases, setup=setup)


def _needs(jobs: Sequence[Job], folder: Path) -> list[str]:
    job = jobs[0]
    needs = [
        f"--job-name=segkit-{job.name}" if len(jobs) == 1 else "--job-name=segkit",
        f"--array=0-{len(jobs) - 1}",
        # SLURM reads a % in a file's name itself.
        f"--output={str(folder).replace('%', '%%')}/slurm-%A_%a.txt",
        "--open-mode=append",
        "--requeue",
        "--nodes=1",
        "--ntasks=1",
    ]
    if job.cpus is not None:
        needs.append(f"--cpus-per-task={job.cpus}")
    if job.gpus:
        needs.append(f"--gres=gpu:{job.gpus}")
    if job.memory_gib is not None:
        needs.append(f"--mem={math.ceil(1024 * job.memory_gib)}M")
    if job.minutes is not None:
        needs.append(f"--time={math.ceil(job.minutes)}")
    needs.append(f"--signal=B:TERM@{SECONDS_TO_SAVE}")
    return needs


def _case(place: int, job: Job, folder: Path) -> str:
    environment = dict(job.environment)
    if job.cpus is not None:
        environment.setdefault("OMP_NUM_THREADS", str(max(1, job.cpus // job.processes)))
    lines = [
        f"log={shlex.quote(str(job.log))}",
        f"status={shlex.quote(str(folder / f'{job.name}.status'))}",
        f"folder={shlex.quote(str(job.folder))}",
        *(f"export {name}={shlex.quote(value)}" for name, value in environment.items()),
        f"set -- {shlex.join(job.command)}",
    ]
    return f"{place})\n" + "".join(f"  {line}\n" for line in lines) + "  ;;"
