"""`segkit bench quality`: what is scored, what a tool sees, what a second start repeats."""

import json
import sys
from importlib.metadata import version
from pathlib import Path
from threading import Event, Timer

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image

from segkit.bench.instruments.conditions import usable_cores
from segkit.bench.quality.counting import WrongMasks, count, overlap_of, score_of
from segkit.bench.quality.machine import versions
from segkit.bench.quality.preparing import Prepared, prepare
from segkit.bench.quality.result import differences
from segkit.bench.quality.running import CommandFailed, Ended, missing, timed
from segkit.bench.quality.table import OURS, DataSet, Tool, read_table
from segkit.cli.subcommands.bench_quality import command
from segkit.errors import SegkitError

pytestmark = pytest.mark.integration

# A tool that cuts at a grey value given to it; its training tells what it was shown.
TOOL = """
import sys
from pathlib import Path
import numpy as np
from PIL import Image
does, level, folder, out, seen = sys.argv[1], int(sys.argv[2]), *map(Path, sys.argv[3:])
if does == "train":
    with seen.open("a") as file:
        file.write(" ".join(sorted(f.stem for f in folder.rglob("*.png"))) + "\\n")
    sys.exit(3 if level < 0 else 0)
(out / "masks").mkdir(parents=True)
for file in folder.glob("*.png"):
    mask_HW = (np.asarray(Image.open(file)) > level).astype(np.uint8)
    Image.fromarray(mask_HW).save(out / "masks" / file.name)
"""


# What a turn puts in the places of a command's words.
WORDS = {"train": "DIR", "model": "RUN", "minutes": "4", "seed": 1}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """sets/grey: six images, the truth where they are above 100; and a table of three tools."""
    random = np.random.default_rng(0)
    for part in ("images", "masks", "seen"):
        (tmp_path / "sets" / "grey" / part).mkdir(parents=True)
    for name in "abcdef":
        image_HW = random.integers(0, 256, (12, 16), dtype=np.uint8)
        for part, array in (("images", image_HW), ("masks", (image_HW > 100) * np.uint8(255))):
            Image.fromarray(array).save(tmp_path / "sets" / "grey" / part / f"{name}.png")
        inside_HW = np.zeros((12, 16), np.uint8)
        inside_HW[:, :8] = 255
        Image.fromarray(inside_HW).save(tmp_path / "sets" / "grey" / "seen" / f"{name}.png")
    (tmp_path / "tool.py").write_text(TOOL)

    def tool(level: int) -> dict[str, object]:
        words = [sys.executable, str(tmp_path / "tool.py")]
        seen = str(tmp_path / "seen.txt")
        return {
            "about": f"cuts at {level}",
            "train": [*words, "train", str(level), "{train}", "{model}", seen],
            "predict": [*words, "predict", str(level), "{images}", "{out}", seen],
        }

    entry = {"test": ["d", "e", "f"], "left_out": ["c"], "why": "By hand.", "score": "iou(1)"}
    entry |= {"mirrored": "both"}
    table = {
        "sets": {"grey": entry, "hidden": entry | {"publish": False}},
        "tools": {"exact": tool(100), "rough": tool(150), "broken": tool(-1)},
        **{"levers": {"sight": ["--nothing"]}, "levers_of": "exact"},
    }
    (tmp_path / "sets" / "hidden").symlink_to(tmp_path / "sets" / "grey")
    (tmp_path / "table.yaml").write_text(yaml.safe_dump(table))
    return tmp_path


def bench(place: Path, *words: str) -> dict:
    options = [
        *("--data", str(place / "sets"), "--table", str(place / "table.yaml"), "--minutes", "1"),
        *("--out", str(place / "out"), "--seeds", "1", "--json", *words),
    ]
    ran = CliRunner().invoke(command, options, catch_exceptions=False)
    return json.loads(ran.stdout)


def iou_of_rough(place: Path) -> float:
    """Of a cut at 150 where 100 is right, counted here by sets of pixels."""
    pixels = [
        np.asarray(Image.open(place / "sets" / "grey" / "images" / f"{name}.png")) for name in "def"
    ]
    flat = np.concatenate([each.ravel() for each in pixels])
    return float((flat > 150).sum() / (flat > 100).sum())


def test_written_masks_are_scored_as_by_hand_and_a_failure_stops_nothing(place):
    found = bench(place, "--sets", "grey")
    rows = {row["tool"]: row for row in found["rows"]}
    assert rows["exact"]["score"] == 1.0
    assert rows["rough"]["score"] == pytest.approx(iou_of_rough(place), abs=1e-5)
    assert rows["rough"]["low"] <= rows["rough"]["score"] <= rows["rough"]["high"]
    assert rows["broken"]["failed"] == "status 3: see logs/grey-broken-1min-seed1.txt"
    assert "score" not in rows["broken"]
    assert (place / "out" / "score-over-minutes.png").read_bytes()[:4] == b"\x89PNG"


def test_a_training_sees_neither_what_is_tested_nor_what_is_left_out(place):
    bench(place, "--sets", "grey", "--tools", "exact")
    assert (place / "seen.txt").read_text() == "a a b b\n"


def test_a_second_start_repeats_nothing_but_what_was_changed(place):
    bench(place, "--sets", "grey", "--tools", "exact")
    bench(place, "--sets", "grey", "--tools", "exact,rough")
    assert len((place / "seen.txt").read_text().splitlines()) == 2
    table = (place / "table.yaml").read_text()
    (place / "table.yaml").write_text(table.replace("'150'", "'160'"))
    bench(place, "--sets", "grey", "--tools", "exact,rough")
    assert len((place / "seen.txt").read_text().splitlines()) == 3


def test_results_hold_all_that_the_folder_keeps_and_the_command_for_it(place):
    bench(place, "--sets", "grey", "--tools", "rough")
    found = bench(place, "--sets", "grey", "--tools", "exact")
    assert [row["tool"] for row in found["rows"]] == ["exact", "rough"]
    told, _, threads = found["command"].rpartition(" ")
    assert told == (
        "segkit bench quality --sets grey --tools exact,rough --minutes 1 --seeds 1 --threads"
    )
    assert int(threads) >= 1


def test_what_another_machine_ran_is_refused_before_anything_runs(place):
    bench(place, "--sets", "grey", "--tools", "exact")
    record = place / "out" / "records" / "grey-exact-1min-seed1.json"
    found = json.loads(record.read_text())
    found["machine"] |= {"precision": "fp8", "peers": {"monai": "0.1"}}
    record.write_text(json.dumps(found))
    says = r"precision fp8 there, .* here; peers monai 0\.1 there, torch .* here"
    with pytest.raises(SegkitError, match=says):
        bench(place, "--sets", "grey", "--tools", "exact,rough")
    assert len((place / "seen.txt").read_text().splitlines()) == 1


def test_each_record_tells_its_day_and_machine_and_the_results_all_days(place):
    found = bench(place, "--sets", "grey", "--tools", "exact")
    assert found["machine"]["peers"]["torch"] == version("torch")
    record = place / "out" / "records" / "grey-exact-1min-seed1.json"
    kept = json.loads(record.read_text())
    assert kept["machine"] == found["machine"]
    record.write_text(json.dumps(kept | {"date": "2001-02-03"}))
    dates = bench(place, "--sets", "grey", "--tools", "exact,rough")["date"]
    assert dates == f"2001-02-03 to {found['date']}"


def test_versions_are_told_of_what_the_other_python_has(tmp_path):
    here = versions(Path(sys.executable), ["torch", "no-such-package"])
    assert here == {"torch": version("torch")}
    assert versions(tmp_path / "none", ["torch"]) == {}


def test_a_set_that_may_not_be_published_runs_and_stays_out_of_the_results(place):
    found = bench(place, "--sets", "grey,hidden", "--tools", "exact")
    assert list(found["sets"]) == ["grey"] == list({row["set"] for row in found["rows"]})
    kept = (place / "out" / "results.json").read_text()
    assert "hidden" not in kept.partition('"rules"')[2]
    assert (place / "out" / "records" / "hidden-exact-1min-seed1.json").is_file()


def test_differences_are_paired_and_say_which_is_higher(place):
    table = (place / "table.yaml").read_text()
    (place / "table.yaml").write_text(table.replace("exact", "auto").replace("rough:", "smp:"))
    [difference] = bench(place, "--sets", "grey", "--tools", "auto,smp")["differences"]
    assert difference["difference"] == pytest.approx(1 - iou_of_rough(place), abs=1e-5)
    assert difference["low"] > 0 and difference["verdict"] == "higher"


def test_a_difference_to_what_came_late_is_not_counted():
    table = read_table()
    counts = [[[9, 9], [9, 9], [9, 9]], [[8, 8], [8, 8], [8, 8]]]

    def of(tool: str, seconds: float) -> dict:
        turn = {"set": "drive", "tool": tool, "minutes": 4, "seed": 1}
        times = {"train_s": seconds, "train_processor_s": seconds, "predict_s": 1.0}
        return {"turn": turn, "status": "ok", "images": ["a", "b"], "counts": counts, **times}

    for seconds, verdict in ((250.0, "not told apart"), (253.0, "not counted: one was late")):
        groups = {("drive", tool, 4): [of(tool, s)] for tool, s in (("auto", seconds), ("smp", 9))}
        [difference] = differences(groups, table, "auto")
        assert difference["verdict"] == verdict


def test_pixels_out_of_the_field_of_view_count_for_nothing(place, tmp_path):
    one = DataSet(
        test=("f",),
        why="",
        score="iou(1)",
        mirrored="none",
        field_of_view="seen",
    )
    prepared = prepare(place / "sets", "grey", one, tmp_path / "prepared")
    truth_HW = np.asarray(Image.open(prepared.truth / "f.png"))
    assert (truth_HW[:, 8:] == 255).all() and (truth_HW[:, :8] < 2).all()
    assert set(np.unique(np.asarray(Image.open(prepared.train / "masks" / "a.png")))) == {0, 1}


def test_a_lever_left_out_is_an_option_that_segkit_train_takes():
    from segkit.cli.train_command import command as train

    table = read_table().with_levers()
    assert len(table.lever_names()) >= 4
    for name, options in table.lever_names().items():
        assert table.tools[name].train == (*table.tools["auto"].train, *options)
    for tool in ("auto", "auto_all", "plain", *table.lever_names()):
        given = [word.format_map(WORDS) for word in table.tools[tool].train[2:]]
        train.make_context("train", given, resilient_parsing=False)


@pytest.mark.parametrize(
    ("pixels", "says"),
    [
        (np.zeros((5, 4), np.uint8), "the mask of d has 4 x 5 pixels, its image 4 x 4"),
        (np.full((4, 4), 2, np.uint8), "the mask of d holds 2, and the classes end at 1"),
        (np.zeros((4, 4, 3), np.uint8), "d.png has colours (RGB), not one value a pixel"),
        (None, "there is no mask for d"),
    ],
)
def test_masks_that_cannot_be_scored_are_refused_by_name(tmp_path, pixels, says):
    prepared = Prepared(tmp_path, ("a", "b"), 1, 1)
    prepared.truth.mkdir()
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(prepared.truth / "d.png")
    if pixels is not None:
        Image.fromarray(pixels).save(tmp_path / "d.png")
    with pytest.raises(WrongMasks) as raised:
        count(prepared, tmp_path)
    assert str(raised.value) == says


def test_scores_are_over_all_pixels_counted_together():
    # Hits, truth and prediction of two images and two classes; class 0 and 1 by hand.
    overlap = overlap_of([[[6, 1], [7, 3], [8, 2]], [[0, 4], [2, 4], [0, 6]]]).summed()
    assert score_of("iou(0)")(overlap) == pytest.approx(6 / (9 + 8 - 6))
    assert score_of("dice(1)")(overlap) == pytest.approx(2 * 5 / (7 + 8))
    assert score_of("miou")(overlap) == pytest.approx((6 / 11 + 5 / 10) / 2)


def test_a_tool_that_is_not_installed_is_left_out_with_what_installs_it():
    tool = Tool(about="", train=("x",), predict=(), needs="no_such_module", install="pip it")
    reason = f"{sys.executable} has no no_such_module: pip it, or name another with --peers"
    assert missing(tool, Path(sys.executable)) == reason
    assert missing(tool.model_copy(update={"needs": "json"}), Path(sys.executable)) is None


def test_a_command_that_does_not_end_is_ended(tmp_path):
    with (tmp_path / "log").open("w") as log, pytest.raises(CommandFailed, match="not ended"):
        timed([sys.executable, "-c", "import time; time.sleep(60)"], {}, 0.2, log, Event())


def test_a_command_ends_with_its_contest(tmp_path):
    ended = Event()
    Timer(0.2, ended.set).start()
    with (tmp_path / "log").open("w") as log, pytest.raises(Ended):
        timed([sys.executable, "-c", "import time; time.sleep(60)"], {}, 60, log, ended)


def test_the_processor_time_is_of_what_a_command_started_alone(tmp_path):
    work = "import time\nwhile time.process_time() < 0.5: pass"
    with (tmp_path / "log").open("w") as log:
        worked = timed([sys.executable, "-c", work], {}, 60, log, Event())
        waited = timed([sys.executable, "-c", ""], {}, 60, log, Event())
    assert worked.processor >= 0.5 > waited.processor > 0


@pytest.mark.skipif(usable_cores() < 2, reason="each training has a core of its own")
def test_trainings_that_run_side_by_side_have_cores_of_their_own(place):
    where = f"import os; print(*os.sched_getaffinity(0), file=open({str(place / 'on')!r}, 'a'))"
    table = yaml.safe_load((place / "table.yaml").read_text())
    for tool in ("exact", "rough"):
        table["tools"][tool]["train"] = [sys.executable, "-c", where]
    (place / "table.yaml").write_text(yaml.safe_dump(table))
    found = bench(place, "--sets", "grey", "--tools", "exact,rough", "--jobs", "2")
    assert {row["tool"]: row["score"] for row in found["rows"]}["exact"] == 1.0
    assert found["command"].endswith(f"--threads {usable_cores() // 2} --jobs 2")
    on = [set(line.split()) for line in (place / "on").read_text().splitlines()]
    assert len(on) == 2 and all(len(each) == usable_cores() // 2 for each in on)
    assert on[0].isdisjoint(on[1])
    assert found["machine"]["cores"] == usable_cores()
    bench(place, "--sets", "grey", "--tools", "exact,rough", "--jobs", "2")
    assert len((place / "on").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--sets", "gray"], "SK-B003: there is no set called 'gray' in the table."),
        (["--tools", "segnet"], "SK-B003: there is no tool called 'segnet' in the table."),
        (["--minutes", "0"], "SK-C009: --minutes cannot be '0'."),
        (["--jobs", "4096"], "SK-C009: --jobs 4096: each training needs a core of its own, and "),
        (["--data", "nowhere"], "SK-C009: 'nowhere' is no folder of data sets."),
        (["--tools", "exact-without-site"], "Did you mean 'exact-without-sight'?"),
        (["--table", "none.yaml"], "SK-C010: none.yaml cannot be read"),
    ],
)
def test_mistakes_are_refused_before_anything_runs(place, words, says):
    with pytest.raises(SegkitError) as raised:
        bench(place, *words)
    assert says in str(raised.value)


def test_our_table_tests_no_image_that_it_trains_on_and_publishes_no_tracking_set():
    table = read_table(OURS)
    assert {name for name, each in table.sets.items() if not each.publish} == {
        "ctc_phc_u373",
        "ctc_dic_hela",
    }
    assert all(each.why for each in table.sets.values())


@pytest.mark.integration
@pytest.mark.parametrize("name", [n for n in read_table().sets if n not in ("camvid", "m2nist")])
def test_the_real_sets_are_split_as_the_table_says(tmp_path, name):
    import os

    root = os.environ.get("SEGKIT_TEST_DATA")
    if not root:
        pytest.skip("SEGKIT_TEST_DATA names no folder of real data")
    one = read_table().sets[name]
    prepared = prepare(Path(root), name, one, tmp_path)
    trained = {file.stem for file in (prepared.train / "masks").glob("*.png")}
    tested = {file.stem for file in prepared.truth.glob("*.png")}
    assert len(trained) == prepared.trained and tested == set(one.test)
    assert not trained & tested and not trained & set(one.left_out)
    every = list((Path(root) / name / "images").iterdir())
    assert len(every) == len(trained) + len(tested) + len(one.left_out)
    values = {int(v) for f in prepared.truth.glob("*.png") for v in np.unique(Image.open(f))}
    assert values <= {*range(len(prepared.classes)), 255}
