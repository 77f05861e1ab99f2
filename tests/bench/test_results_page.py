"""docs/results.md says what `segkit bench quality` found, with conditions, and nothing else."""

import importlib
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "write_results.py"
pytestmark = pytest.mark.skipif(not SCRIPT.is_file(), reason="not in a checkout")


@pytest.fixture(scope="module")
def writer():
    """The script, with the modules beside it, as when it is run."""
    sys.path.insert(0, str(SCRIPT.parent))
    yield importlib.import_module("write_results")
    sys.path.remove(str(SCRIPT.parent))


def row(tool: str, score: float, **more) -> dict:
    times = {"train_s": 88.0, "train_processor_s": 87.0, "predict_s": 3.0, "late": False}
    place = {"set": "drive", "tool": tool, "minutes": 1.5, "seeds": [1], "score": score}
    return {**place, "low": score - 0.01, "high": score + 0.01, **times, **more}


def difference(less: str, by: float) -> dict:
    place = {"set": "drive", "minutes": 1.5, "of": "auto", "less": less, "difference": by}
    return {**place, "low": by - 0.01, "high": by + 0.01, "verdict": "higher"}


FOUND = {
    "command": "segkit bench quality --minutes 1.5",
    "date": "2026-01-01",
    "machine": {
        **{"processor": "a processor", "cores": 2, "memory_bytes": 2**34, "system": "Linux"},
        **{"python": "3.13", "threads": 1, "precision": "fp32", "packages": {"torch": "2.15"}},
    },
    "rules": "The rules.",
    "sets": {
        "drive": {"train": 14, "test": 6, "classes": 2, "score": "dice(1)", "split": "By patient."}
    },
    "tools": {"auto": "ours", "smp": "theirs", "auto-without-loss": "auto with --loss ce"},
    "rows": [row("auto", 0.75), row("smp", 0.7), row("auto-without-loss", 0.72)],
    "differences": [difference("smp", 0.05), difference("auto-without-loss", 0.03)],
}


def test_a_score_stands_with_its_interval_its_cost_and_its_conditions(writer):
    text = writer.page({"quality-1.json": FOUND})
    run = "[1.5, fp32](#15-minutes-on-a-cpu-fp32)"
    assert "### 1.5 minutes on a CPU, fp32\n" in text
    assert f"| auto | {run} | **0.750** | 0.740 to 0.760 | 1 | 88 | 87 |  |" in text
    smp = f"| smp | {run} | **0.700** | 0.690 to 0.710 | 1 | 88 | 87 | +0.050 (+0.040 to +0.060)"
    assert smp in text
    assert "a processor, segkit computes in fp32, 1 thread, 16 GiB; Python 3.13" in text
    assert "torch 2.15; 2026-01-01" in text
    assert "segkit bench quality --minutes 1.5\n" in text and "By patient." in text
    assert "arXiv:1802.06955" in text and "Other programs" not in text


def test_a_lever_is_what_the_score_loses_without_it(writer):
    text = writer.page({"quality-1.json": FOUND})
    assert "| loss (`--loss ce`) | +0.030 (+0.020 to +0.040) |" in text
    assert "| auto-without-loss |" not in text


def test_what_only_leaves_levers_out_is_no_contest_and_stands_in_no_picture(writer):
    rows = [each for each in FOUND["rows"] if each["tool"] != "smp"]
    turn = {"tool": "auto-without-loss", "minutes": 1.5, "seeds": []}
    rows.append({"set": "dsb2018", **turn, "failed": "no end"})
    sets = FOUND["sets"] | {"dsb2018": FOUND["sets"]["drive"]}
    tools = {tool: about for tool, about in FOUND["tools"].items() if tool != "smp"}
    levers = {**FOUND, "rows": rows, "tools": tools, "sets": sets}
    text = writer.page({"quality-1.json": FOUND, "quality-levers.json": levers})
    assert text.count("| drive | 1.5 | fp32 |") == text.count("**0.750** | 0.740") == 1
    assert "| lever | drive | dsb2018 |" in text
    assert "| loss (`--loss ce`) | +0.030 (+0.020 to +0.040) | failed |" in text
    assert "### 1.5 minutes on a CPU, fp32, levers" in text
    alone = writer.by_machine({"a": FOUND, "b": levers})
    assert [len(each) for each in alone.values()] == [1]


def test_what_failed_came_late_or_shared_the_machine_is_told(writer):
    rows = [row("auto", 0.75, late=True, train_processor_s=40.0)]
    rows.append({"set": "drive", "tool": "smp", "minutes": 1.5, "seeds": [], "failed": "no end"})
    text = writer.page({"quality-1.json": {**FOUND, "rows": rows, "differences": []}})
    assert "| 88 (late) | 40 |" in text and "used the machine during drive auto:" in text
    assert "fp32) | failed: no end |" in text
    assert "| drive | 1.5 | fp32 | 0.750 (late) | failed |" in text


def test_at_a_glance_each_time_and_machine_has_a_row_and_each_tool_a_mark(writer):
    longer = {**FOUND, "rows": [row("auto", 0.8, minutes=9), row("new", 0.7, minutes=9)]}
    longer |= {"tools": {"auto": "ours", "new": "another"}, "differences": []}
    longer["machine"] = FOUND["machine"] | {"precision": "bf16"}
    alike, above = difference("smp", 0.0), difference("b", -0.1)
    first = FOUND | {"rows": [row("auto", 0.7), row("smp", 0.7), row("b", 0.8)]}
    first |= {"tools": {"auto": "ours", "smp": "theirs", "b": "more"}}
    first["differences"] = [alike | {"verdict": "not told apart"}, above | {"verdict": "lower"}]
    text = writer.page({"quality-1.json": first, "quality-9.json": longer})
    assert "| set | minutes | computing | `auto` | `smp` | `b` | `new` |" in text
    assert "| drive | 1.5 | fp32 | 0.700 | 0.700 ~ | **0.800** |  |" in text
    assert "| drive | 9 | bf16 | 0.800 |  |  | 0.700 |" in text
    assert text.index("| drive | 1.5 |") < text.index("| drive | 9 |")
    assert "quality-fp32-1x1-dark.png" in text and "quality-bf16-1x1-dark.png" in text


def test_results_of_one_machine_share_a_picture(writer):
    both = {"quality-1.json": FOUND, "quality-2.json": FOUND}
    assert list(writer.pictures(both)) == [
        "quality-fp32-1x1-light.png",
        "quality-fp32-1x1-dark.png",
    ]
    other = FOUND | {"machine": FOUND["machine"] | {"precision": "bf16"}}
    assert len(writer.pictures({"quality-1.json": FOUND, "quality-2.json": other})) == 4


def test_the_page_is_what_the_results_say(writer):
    results = writer.all_results()
    assert results
    assert writer.PAGE.read_text(encoding="utf-8") == writer.page(results)
    assert all((writer.TABLES / name).is_file() for name in writer.pictures(results))


def test_nothing_of_the_cell_tracking_sets_is_written(writer):
    kept = [file.read_text() for file in (SCRIPT.parent / "results").glob("quality-*.json")]
    assert kept and not any("ctc" in text for text in [*kept, writer.PAGE.read_text()])
