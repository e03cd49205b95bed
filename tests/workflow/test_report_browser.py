"""The report in a real browser: in headless Chromium a script clicks about in the page and writes down what it saw."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from fake_study import DEMO, build_study

from vaebench.figures.drawing import draw_all
from vaebench.report.writing import ReportSources, write_report
from vaebench.results.study import study_of

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--virtual-time-budget=4000",
    "--enable-logging=stderr",
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (apt-get install chromium)")

WATCH = """
window.errors = [];
addEventListener("error", (event) => window.errors.push(String(event.message || event.target.outerHTML)), true);
addEventListener("unhandledrejection", (event) => window.errors.push(String(event.reason)));
console.error = (...words) => window.errors.push(words.join(" "));
"""
PROBE = Path(__file__).with_name("report_probe.js").read_text()


def browse(path, tmp_path, *flags):
    """What the probe saw in the page at `path`, and the errors that the browser logged."""
    instrumented = tmp_path / "probe.html"
    html = path.read_text().replace("<head>", f"<head><script>{WATCH}</script>", 1)
    instrumented.write_text(html.replace("</body>", f"<script>{PROBE}</script></body>", 1))
    command = [CHROMIUM, *FLAGS, *flags, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", instrumented.as_uri()]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    match = re.search(r'<pre id="seen">(.*?)</pre>', result.stdout, re.DOTALL)
    assert match, result.stderr[-2000:]
    console = [line for line in result.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(match.group(1).replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&")), console


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    study = study_of(**build_study(folder, DEMO, seeds=(0, 1), shape=(3, 24, 24)))
    draw_all(study, folder / "figures", threads=2)
    output = folder / "report.html"
    sources = ReportSources(
        figures=folder / "figures",
        manifests=[folder / f"data/fake/{split}_data.json" for split in ("train", "eval", "test")],
        validation=folder / "results/fake/validation/summary.json",
        generator="demo_faces",
        confidence=0.95,
    )
    write_report(study, sources, output)
    return output


@pytest.fixture(scope="module")
def seen(report, tmp_path_factory):
    return browse(report, tmp_path_factory.mktemp("wide"), "--window-size=1280,900")


def test_page_loads_whole_without_errors_or_requests(seen):
    found, console = seen
    assert found["errors"] == []
    assert console == []
    assert found["broken"] == 0
    assert found["pictures"] == 12
    assert found["requests"] == 0


def test_table_sorts_both_ways_from_the_keyboard(seen, report):
    found, _ = seen
    assert found["focused"]
    assert found["planned"] == [fake.name for fake in DEMO]
    assert found["ascending"][0] == "vqvae"
    assert found["sorted"] == "ascending"
    assert found["descending"] == found["ascending"][::-1]


def test_viewer_shows_all_runs_side_by_side_and_moves_on(seen):
    found, _ = seen
    assert found["compared"] == 1 + len(DEMO)
    assert (found["title"], found["next"]) == ("Image 4", "Image 5")
    assert found["zoomed"]


def test_each_run_has_its_page(seen):
    found, _ = seen
    assert found["page"] == ["run-2"]
    assert not found["overview"]
    assert found["back"]


def test_both_colour_schemes_are_legible(seen):
    found, _ = seen
    assert found["ground"] != found["other"]
    assert min(found["contrast"]) >= 4.5  # WCAG AA


def test_dark_is_chosen_where_the_reader_asks_for_it(report, tmp_path):
    found, _ = browse(report, tmp_path, "--blink-settings=preferredColorScheme=0")
    assert sum(map(float, re.findall(r"[\d.]+", found["ground"]))) < 150
    assert found["errors"] == []


def test_narrow_window_needs_no_sideways_scrolling(report, tmp_path):
    found, _ = browse(report, tmp_path, "--window-size=500,900")
    assert found["overflow"] <= 0
    assert found["errors"] == []


def test_a_long_name_leaves_the_images_beside_it_in_the_page(report, tmp_path):
    html, name = report.read_text(), "a_name_of_many_words_" * 4
    (tmp_path / "long.html").write_text(html.replace("</span>vaegan</a>", f"</span>{name}</a>"))
    found, _ = browse(tmp_path / "long.html", tmp_path, "--window-size=1280,900")
    assert 0 < found["named"] <= 260, "15 rem of 16 pixels, and the padding"


def test_an_error_in_the_page_would_be_noticed(report, tmp_path):
    broken = tmp_path / "broken.html"
    broken.write_text(report.read_text().replace('"use strict";', '"use strict"; console.error("said"); unknown();'))
    found, console = browse(broken, tmp_path)
    assert "said" in found["errors"]
    assert any("unknown is not defined" in error for error in found["errors"])
    assert any("unknown is not defined" in line for line in console)
