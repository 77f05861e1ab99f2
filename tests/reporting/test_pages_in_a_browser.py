"""Pages of evaluations and trainings in headless Chromium: nothing is fetched, nothing fails."""

import json
import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from segkit.config import layered
from segkit.reporting import charts
from segkit.reporting.report import Report, Section, case, drawn
from segkit.scoring.comparison import compared
from segkit.scoring.comparison_page import write_comparison
from segkit.scoring.evaluate_model import EvaluationSettings, evaluate_model
from segkit.scoring.evaluation_folder import write_evaluation
from segkit.training.training import train

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
HOSTILE = ("=cmd()", "<script>fetch('http://segkit.invalid')</script>", '[red] $x_{1$ & "co"')

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not BROWSER, reason="there is no Chromium here"),
]


def opened(page, folder):
    """(addresses asked of a network, console lines, text shown) of a page opened from its file."""
    log = folder / "net.json"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    options += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    options += [f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}"]
    options += ["--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", "--dump-dom"]
    ran = subprocess.run(
        [BROWSER, *options, page.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    events = json.loads(log.read_text())["events"]
    asked = {e["params"]["url"] for e in events if "url" in e.get("params", {})}
    console = [line for line in ran.stderr.splitlines() if "CONSOLE" in line]
    # What the browser asks by itself: for the time, and who is logged in.
    own = re.compile(r"https?://[a-z0-9]+\.google\.com/")
    asked = {each for each in asked if each.startswith(("http", "ws")) and not own.match(each)}
    return asked, console, ran.stdout


def hostile_report():
    counts_KK = np.arange(9).reshape(3, 3)
    figure = drawn("confusion", lambda theme: charts.confusion(counts_KK, HOSTILE, theme))
    lines = {name: [0.1, np.nan, 0.3] for name in HOSTILE}
    curves = drawn(
        "curves", lambda theme: charts.curves([1, 2, 3], lines, theme, name="x", unit="y")
    )
    picture = case(HOSTILE[1], np.zeros((9, 9, 3), np.uint8), HOSTILE[1])
    rows = [[name, "1"] for name in HOSTILE]
    sections = [Section(HOSTILE[1], HOSTILE[2], header=HOSTILE[:2], rows=rows, figures=[figure])]
    sections += [Section("b", figures=[curves], cases=[picture], command=HOSTILE[1])]
    pairs = [(name, name) for name in HOSTILE]
    return Report(
        HOSTILE[1], HOSTILE[0], [HOSTILE], HOSTILE, [*sections, Section("c", pairs=pairs)]
    )


def test_names_of_any_kind_are_shown_and_never_run(tmp_path):
    page = tmp_path / "report.html"
    page.write_text(hostile_report().as_html(), encoding="utf-8")
    asked, console, shown = opened(page, tmp_path)
    assert (asked, console) == (set(), [])
    assert "<script" not in shown
    assert shown.count("&lt;script&gt;fetch(") >= 6


def test_a_page_that_fetches_or_fails_would_be_noticed(tmp_path):
    page = tmp_path / "report.html"
    page.write_text("<img src='http://segkit.invalid/a.png'><script>nothing.there()</script>")
    asked, console, _ = opened(page, tmp_path)
    assert "http://segkit.invalid/a.png" in asked
    assert any("nothing is not defined" in line for line in console)


def test_a_training_and_its_evaluation_have_pages_that_open_offline(
    tmp_path, tiny_settings, tiny_folder
):
    result = train(layered(None, tiny_settings | {"out": str(tmp_path / "run"), "epochs": 2}))
    evaluation = evaluate_model(EvaluationSettings(str(result.folder), details=True))
    write_evaluation(evaluation, tmp_path / "scores", "segkit evaluate run --out scores")
    other = replace(evaluation, model="<b>other</b>")
    table = compared([evaluation, other])
    write_comparison(table, [evaluation, other], ["run", "other"], tmp_path / "both", "")
    for page, said in (
        (tmp_path / "both/report.html", ("less the first", "&lt;b&gt;other", "+0.000 (+0.000")),
        (result.folder / "report.html", ("Curves", "Loss", "Confusion", "To repeat it")),
        (
            tmp_path / "scores/report.html",
            ("Cases", "worst", "95 % interval", "segkit evaluate run"),
        ),
    ):
        asked, console, shown = opened(page, tmp_path)
        assert (asked, console) == (set(), [])
        named = re.findall(r"(?:src|srcset)=[\"']?(.{5})", page.read_text())
        assert set(named) == {"data:"}
        linked = set(re.findall(r"href=[\"']?([^\"'>]+)", page.read_text()))
        assert linked <= {"run/report.html", "other/report.html"}
        assert not [each for each in said[:1] + said[2:] if each.casefold() not in shown.casefold()]
