"""The README of benchmarks/ says what the result files say, and nothing else."""

import importlib
import json
import sys
from pathlib import Path

import pytest

import segkit
from segkit.bench.records.run import Run

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "write_readme.py"
pytestmark = pytest.mark.skipif(not SCRIPT.is_file(), reason="not in a checkout")


@pytest.fixture(scope="module")
def writer():
    """The script, with the modules beside it, as when it is run."""
    sys.path.insert(0, str(SCRIPT.parent))
    yield importlib.import_module("write_readme")
    sys.path.remove(str(SCRIPT.parent))


RUN = {
    "format": "segkit-bench/2",
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
    pages = writer.all_pages({"cpu": Run.from_json(json.dumps(RUN))}, {})
    text = pages["tables/densenets.md"]
    assert "segkit bench densenets\n" in text
    assert "a processor, 2 cores, 16 GiB, x86_64, cpu" in text and "torch 2.15" in text
    assert "123.4 | 120 to 130 | 6.95 | noisy: rounds 30% apart |" in text
    assert "rows within 4.0% of one another are a tie." in text
    assert "oom: too large" in text and "timm/a\\|b" in text
    # As Keras' own model counts them: 8,062,504.
    assert "| densenet121 | 8.06 | 8.1 | 33 | 242 | 77.1 | 5.4 |" in text


def test_our_densenets_have_as_many_parameters_as_published(writer):
    tables = importlib.import_module("result_tables")
    for name, (_, millions, *_) in tables.KERAS.items():
        encoder = segkit.build_model(name, "unet", "bilinear", num_classes=2).encoder
        own = sum(each.numel() for each in encoder.parameters())
        statistics = [b.numel() for n, b in encoder.named_buffers() if n.endswith(("mean", "var"))]
        classes = 1000 * (encoder.channels[-1] + 1)
        assert classes + sum(statistics) == tables.BESIDE_ENCODER[name]
        assert (own + tables.BESIDE_ENCODER[name]) / 1e6 == pytest.approx(millions, abs=0.05)


def test_columns_that_no_row_fills_are_left_out(writer):
    header = importlib.import_module("result_tables").table(Run.from_json(json.dumps(RUN)))[0]
    assert header == "| case | ms a step | 95 % | parameters M | notes |"


OTHERS = {
    "start_up.json": {
        "conditions": {
            **{"command": "python benchmarks/start_up.py", "processor": "a processor", "cores": 2},
            **{"python": "3.13", "distributions_installed": 20, "plugins_added": 50, "repeats": 9},
        },
        "results": {
            "segkit list": {
                "wall": {"median_ms": 48.1, "quartiles_ms": [47.5, 49.0], "over_bare_ms": 36.2}
            }
        },
    },
    "limits.json": {
        **{"command": "python benchmarks/limits.py", "date": "2026-01-01"},
        "ceilings": {
            **{"matmul_flops": {"fp32": 1e11}, "convolution_flops": {"fp32": 2e11}},
            "copy_bytes": 4e10,
        },
        "rows": [
            {
                **{"step": "unet, train", "gflop": 12.5, "fewest_mib": 3.0, "arithmetic_ms": 7},
                **{"traffic_ms": 5, "least_ms": 8, "eager_ms": 9},
            }
        ],
    },
    "scaling.json": {
        **{"command": "python benchmarks/scaling.py", "hardware": "a processor, 2 cores"},
        "processes": {"speed_up": 1.7, "cores": 2},
        "curves": [
            {
                "name": "pixels: unet",
                "points": [{"x": 4096, "seconds": 0.5}, {"x": 65536, "seconds": 6.0}],
                **{"exponent": 0.9, "exponent_above": 0.99, "memory_exponent": None},
            }
        ],
    },
    "agreement.json": {
        **{"command": "python benchmarks/agreement.py", "processor": "a processor", "cores": 2},
        **{"runs": 4, "rows_compared": 50, "rows_agree": 49, "bands": [1.03, 1.041]},
        **{"rows_failing_the_gate_unchanged": 0, "gate": "slower>1.10", "slowed_by": 1.2},
        **{"slowed_cases": 4, "slowed_caught": 4, "others_failing_the_gate": []},
    },
}


def test_what_the_scripts_found_is_shown_with_their_commands(writer):
    text = "\n".join(writer.all_pages({}, OTHERS).values())
    assert "| segkit list | 48.1 | 47.5 to 49.0 | 36.2 |" in text
    assert "20 distributions, 50 plugins added; median of 9." in text
    assert "fp32 200 GFLOP/s; copy 40.0 GB/s" in text
    assert "| unet, train | 12.5 | 3.0 | 7 | 5 | 8 |" in text
    assert "| pixels: unet | 4096 to 65536 | 500 to 6,000 | 0.90 | 0.99 |  |" in text
    assert "train 1.70 times as fast as one on one" in text
    assert "49 of 50 rows agree with the first run's (98.0%; A/A bands 3.0%, 4.1%)" in text
    assert "4 cases slowed down by 20%: 4 of these fail it, and 0 others." in text
    assert all(content["command"] in text for content in OTHERS.values() if "command" in content)


def test_the_pages_are_what_the_results_say(writer):
    pages = writer.all_pages(writer.results(), writer.results_of_scripts())
    for name, text in pages.items():
        assert (SCRIPT.parent / name).read_text(encoding="utf-8") == text, name
    written = {f"tables/{file.name}" for file in (SCRIPT.parent / "tables").glob("*.md")}
    assert written == pages.keys() - {"README.md"}
    assert all(
        (SCRIPT.parent / "tables" / n).is_file() for n in writer.all_pictures(writer.results())
    )


def test_the_first_page_begins_with_ten_rows_on_one_screen(writer):
    lines = (SCRIPT.parent / "README.md").read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines[:40] if line.startswith("| ") and "(tables/" in line]
    assert sum("**" in row for row in rows) >= 10 and max(map(len, lines[:25])) < 250


def test_a_headline_is_ours_beside_the_quickest_of_its_peers():
    headlines = importlib.import_module("headlines")

    def row(name, seconds):
        step = {"n": 2, "median": seconds, "low": 0.9 * seconds, "high": 1.1 * seconds}
        step |= dict.fromkeys(("p10", "p90", "p99"), seconds)
        return {
            "case": {"task": "benchmark", "benchmark": name, "mode": "train"},
            **{"status": "ok", "times": {"step": step}, "steps": [2, 2], "group": 1},
            **{"rounds": [[seconds, seconds], [seconds, seconds]], "units_per_step": 1},
        }

    rows = [row("ours", 0.1), row("slow", 0.9), row("quick", 0.25), row("nobody's", 0.01)]
    run = Run.from_json(json.dumps(RUN | {"rows": rows, "suite": "losses"}))
    headline = headlines.Headline("what", "losses", "ours", ("slow", "quick"))
    found = headlines.standing(headline, run)
    assert found.peer.case.benchmark == "quick" and found.relative.speed == pytest.approx(2.5)
    line = headlines.headline_table([found])[-1]
    assert line.startswith("| what, 256 px, batch 8 | 100 | 250 |") and "**2.5**" in line
    with pytest.raises(ValueError, match="losses has no rows for what"):
        headlines.standing(headlines.Headline("what", "losses", "ours", ("gone",)), run)
