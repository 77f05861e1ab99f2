"""The README of benchmarks/ says what the result files say, and nothing else."""

import importlib.util
import json
from pathlib import Path

import pytest

from segkit.bench.records import Run

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "write_readme.py"
pytestmark = pytest.mark.skipif(not SCRIPT.is_file(), reason="not in a checkout")


@pytest.fixture(scope="module")
def writer():
    spec = importlib.util.spec_from_file_location("write_readme", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RUN = {
    "format": "segkit-bench/1",
    "command": "segkit bench densenets",
    "started": "2026-01-01T00:00:00+00:00",
    "seconds": 1,
    "suite": "densenets",
    "about": "DenseNets.",
    "environment": {
        **{"processor": "a processor", "cores": 2, "memory_bytes": 2**34, "system": "Linux"},
        **{"architecture": "x86_64", "device": "cpu", "threads": 2, "python": "3.13"},
        "packages": {"torch": "2.15"},
    },
    "method": {
        **{"rounds": 5, "round_seconds": 1, "workers_alive": 2, "order": "rotated", "seed": 0}
    },
    "aa": {"pairs": [{"case": "one", "ratio": 1.01, "low": 0.98, "high": 1.04}]},
    "rows": [
        {
            "case": {"task": "encoder", "encoder": "densenet121", "mode": "infer"},
            "status": "ok",
            "times": {
                "step": {
                    **{"n": 9, "median": 0.1234, "p10": 0.1, "p90": 0.2, "p99": 0.3},
                    **{"low": 0.12, "high": 0.13},
                }
            },
            "counts": {"parameters": 6953856},
            "noisy": "rounds 30% apart",
        },
        {"case": {"encoder": "timm/a|b"}, "status": "oom", "reason": "too large"},
    ],
}


def test_a_section_holds_conditions_figures_and_the_a_a_line(writer):
    text = writer.page([("cpu.json", Run.from_json(json.dumps(RUN)))])
    assert "segkit bench densenets\n" in text
    assert "a processor, 2 cores, 16 GiB, x86_64, cpu" in text and "torch 2.15" in text
    assert "123.4 | 120 to 130 | 6.95 | noisy: rounds 30% apart |" in text
    assert "within 4.0% either way, rows are a tie." in text
    assert "oom: too large" in text and "timm/a\\|b" in text
    assert "| densenet121 | 33 | 8.1 | 77.1 | 5.4 |" in text


def test_columns_that_no_row_fills_are_left_out(writer):
    header = writer.table(Run.from_json(json.dumps(RUN)))[0]
    assert header == "| case | ms a step | 95 % | parameters M | notes |"


def test_every_suite_is_listed_with_what_it_answers(writer):
    lines = writer.suite_lines()
    names = {file.stem for file in (SCRIPT.parent / "suites").glob("*.yaml")}
    assert len(lines) == len(names) and all(f"`segkit bench {n}`" in "".join(lines) for n in names)


def test_the_readme_is_what_the_results_say(writer):
    readme = SCRIPT.parent / "README.md"
    if not readme.is_file():
        pytest.skip("no results are written yet")
    assert readme.read_text(encoding="utf-8") == writer.page(writer.results())
