"""The pages in a real browser, from the disk and without network: no errors, and everything can be used."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from browsing import WITH_BROWSER, click, complaints, emulate, opened, screenshot
from compared import make_other
from kinds_of_data import KINDS, make_kind
from reported import CASES, CONFIGURATION, NAME

import autoseg
from autoseg.reporting.page import write
from autoseg.reporting.source import open_source
from autoseg.reporting.story import page_of
from autoseg.workspace import DatasetFolder, Workspace

pytestmark = WITH_BROWSER
DRAWN = """
return [...document.querySelectorAll('[data-block]')].map(each => each.querySelector('svg, table, button') !== null)
"""
"""Of every place for a block, whether it was filled."""
PAPER = {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 27)"}


@pytest.fixture(scope="module")
def pages(made: DatasetFolder, predictions: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder, workspace = tmp_path_factory.mktemp("pages"), made.root.parent
    run = made.run("3d_fullres", "0").root
    return {
        "dataset": autoseg.report(NAME, workspace, output=folder / "dataset.html"),
        "run": autoseg.report(run, workspace, output=folder / "run.html"),
        "predictions": autoseg.report(predictions, output=folder / "predictions.html"),
        "without pictures": autoseg.report(NAME, workspace, output=folder / "plain.html", pictures=False),
    }


def figure(browser, title: str):
    return next(
        each
        for each in browser.find_elements("css selector", "figure")
        if each.find_element("css selector", "figcaption").get_attribute("textContent") == title
    )


def column(table, place: int) -> list[str]:
    cells = table.find_elements("css selector", f"tbody td:nth-child({place})")
    return [cell.get_attribute("data-value") or cell.get_attribute("textContent") for cell in cells]


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("page", ["dataset", "run", "without pictures", "predictions"])
def test_a_page_is_drawn_without_errors_in_both_themes_and_on_a_phone(browser, pages, page, width, theme) -> None:
    emulate(browser, theme=theme, width=width)
    opened(browser, pages[page])
    assert complaints(browser) == []
    drawn = browser.execute_script(DRAWN)
    assert drawn and all(drawn)
    assert browser.execute_script("return getComputedStyle(document.body).backgroundColor") == PAPER[theme]
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map(each => each.name)")
    assert [name for name in loaded if not name.startswith("data:")] == []
    assert browser.execute_script("return window.broken") is None
    screenshot(browser, f"{page}_{theme}_{width}")


@pytest.fixture(scope="module", params=[*KINDS])
def kind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp(request.param)
    write(folder / "page.html", page_of(open_source(make_kind(request.param, folder))))
    return request.param, folder / "page.html"


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_every_kind_of_data_is_drawn_in_both_themes_and_on_a_phone(browser, kind, width, theme) -> None:
    name, page = kind
    emulate(browser, theme=theme, width=width)
    opened(browser, page)
    drawn = browser.execute_script(DRAWN)
    assert drawn and all(drawn) and complaints(browser) == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    click(browser, browser.find_element("css selector", ".look > button"))
    size = figure(browser, "Dice against size")
    assert len(size.find_elements("css selector", "svg text[text-anchor=middle]")) > 2, "an axis without a number"
    screenshot(browser, f"{name}_{theme}_{width}")


def test_images_of_the_page_can_be_decoded(browser, pages) -> None:
    opened(browser, pages["dataset"])
    addresses = browser.execute_script(
        "return [...document.querySelectorAll('.view image')].map(each => each.getAttribute('href'))"
    )
    decoded = browser.execute_async_script(
        """const done = arguments[1];
        Promise.all(arguments[0].map(each => { const image = new Image(); image.src = each; return image.decode(); }))
            .then(() => done(true), () => done(false));""",
        addresses,
    )
    assert addresses and decoded


def test_a_picture_can_be_enlarged_and_its_labels_made_fainter(browser, pages) -> None:
    emulate(browser)
    opened(browser, pages["dataset"])
    pictures = figure(browser, "Best, median and worst cases")
    plane = pictures.find_element("css selector", ".plane")
    before, button = plane.size["width"], plane.find_element("css selector", "button")
    click(browser, button)
    assert plane.size["width"] > 1.5 * before and button.get_attribute("aria-pressed") == "true"
    slider = pictures.find_element("css selector", "input[type=range]")
    browser.execute_script("arguments[0].value = 10; arguments[0].dispatchEvent(new Event('input'))", slider)
    label = pictures.find_element("css selector", ".label")
    assert float(label.value_of_css_property("opacity")) == 0.1
    outline = pictures.find_element("css selector", ".outline")
    assert outline.is_displayed()
    click(browser, pictures.find_element("css selector", "input[type=checkbox]"))
    assert outline.value_of_css_property("display") == "none"


@pytest.mark.slow
def test_a_table_is_sorted_by_any_column(browser, pages) -> None:
    opened(browser, pages["dataset"])
    table = figure(browser, "All cases")
    heads = table.find_elements("css selector", "thead button")
    place = 1 + [head.get_attribute("textContent") for head in heads].index("Dice")
    before = column(table, place)
    click(browser, heads[place - 1])
    ascending = [float(text) for text in column(table, place) if text != "–"]
    assert ascending == sorted(ascending) and sorted(column(table, place)) == sorted(before)
    assert table.find_elements("css selector", "th")[place - 1].get_attribute("aria-sort") == "ascending"
    click(browser, heads[place - 1])
    descending = [float(text) for text in column(table, place) if text != "–"]
    assert descending == ascending[::-1] and len(set(ascending)) > 2


@pytest.mark.slow
def test_a_table_is_filtered_by_words_and_choices(browser, pages) -> None:
    opened(browser, pages["dataset"])
    table = figure(browser, "All cases")
    everything = column(table, 1)
    words = table.find_element("css selector", "input[type=search]")
    words.send_keys(CASES[-1][:6])
    shown = column(table, 1)
    assert shown == [key for key in everything if key == CASES[-1]] or (not shown and CASES[-1] not in everything)
    assert table.find_element("css selector", "output").text == f"{len(shown)} of {len(everything)} rows"
    browser.execute_script("arguments[0].value = ''; arguments[0].dispatchEvent(new Event('input'))", words)
    assert column(table, 1) == everything
    fold = table.find_elements("css selector", "select")[0]
    browser.execute_script("arguments[0].value = '1'; arguments[0].dispatchEvent(new Event('change'))", fold)
    assert set(column(table, 2)) == {"0"} and 0 < len(column(table, 1)) < len(everything)


def test_the_switch_of_colours_overrides_the_system(browser, pages) -> None:
    emulate(browser, theme="light")
    opened(browser, pages["dataset"])
    for chosen, paper in (("dark", PAPER["dark"]), ("light", PAPER["light"]), ("", PAPER["light"])):
        browser.execute_script(
            "const s = document.getElementById('theme'); s.value = arguments[0]; s.dispatchEvent(new Event('change'))",
            chosen,
        )
        assert browser.execute_script("return getComputedStyle(document.body).backgroundColor") == paper


def test_plots_answer_keys_and_switches(browser, pages) -> None:
    opened(browser, pages["dataset"])
    loss = figure(browser, "Loss")
    plot = loss.find_element("css selector", "svg")
    browser.execute_script("arguments[0].focus()", plot)
    plot.send_keys("\ue014")  # the right arrow
    assert loss.find_element("css selector", "output").text.startswith("epoch 1: fold 0 1, fold 1 1")
    assert len(loss.find_elements("css selector", ".curve")) == 2
    click(browser, loss.find_element("css selector", "button"))
    assert len(loss.find_elements("css selector", ".curve")) == 1
    scores = figure(browser, "Scores of all cases")
    label = scores.find_element("css selector", "svg").get_attribute("aria-label")
    select = scores.find_element("css selector", "select")
    browser.execute_script("arguments[0].value = '1'; arguments[0].dispatchEvent(new Event('change'))", select)
    assert scores.find_element("css selector", "svg").get_attribute("aria-label") != label


def test_numbers_of_a_plot_can_be_read_as_a_table(browser, pages) -> None:
    opened(browser, pages["dataset"])
    loss = figure(browser, "Loss")
    click(browser, loss.find_element("css selector", "summary"))
    waited = browser.execute_async_script(
        """const done = arguments[1];
        const rows = () => arguments[0].querySelectorAll('tbody tr').length;
        const look = () => rows() ? done(rows()) : requestAnimationFrame(look);
        look();""",
        loss,
    )
    assert waited == 12


def test_every_control_has_a_name_and_can_be_reached(browser, pages) -> None:
    opened(browser, pages["dataset"])
    nameless = browser.execute_script(
        """return [...document.querySelectorAll('button, select, input, a')].filter(each =>
            !(each.textContent.trim() || each.closest('label')?.textContent.trim() || each.getAttribute('aria-label')))
            .map(each => each.outerHTML);"""
    )
    assert nameless == []
    unnamed = browser.execute_script(
        "return [...document.querySelectorAll('svg[role=img]')].filter(each => !each.getAttribute('aria-label')).length"
    )
    assert unnamed == 0
    assert browser.execute_script("return document.querySelectorAll('[tabindex]:not([tabindex=\"0\"])').length") == 0
    levels = browser.execute_script("return [...document.querySelectorAll('h1, h2, h3')].map(each => each.tagName)")
    assert levels[0] == "H1" and levels.count("H1") == 1 and levels[1] == "H2"


@pytest.mark.slow
def test_a_page_can_be_printed(browser, pages) -> None:
    emulate(browser, theme="dark", media="print")
    opened(browser, pages["dataset"])
    assert browser.execute_script("return getComputedStyle(document.body).backgroundColor") == PAPER["light"]
    assert browser.execute_script("return getComputedStyle(document.querySelector('nav')).display") == "none"
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": False})
    assert len(printed["data"]) > 10_000


@pytest.fixture(scope="module")
def live(made: DatasetFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two configurations are compared, and the page looks for a newer one every second."""
    folder = tmp_path_factory.mktemp("live")
    shutil.copytree(made.root, folder / "workspace" / NAME)
    files = Workspace(folder / "workspace").dataset_folder(NAME)
    make_other(files)
    write(folder / "live.html", replace(page_of(open_source(files, pictures=False)), reload=1))
    return folder / "live.html"


@pytest.mark.slow
def test_what_is_beyond_scores_is_drawn_and_can_be_used(browser, live) -> None:
    for theme, width in (("light", 1280), ("dark", 360)):
        emulate(browser, theme=theme, width=width)
        opened(browser, live)
        browser.execute_script("document.getElementById('live').click()")  # it stays as it is
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        screenshot(browser, f"comparison_{theme}_{width}")
    matrix = figure(browser, "Confusion between labels")
    cells = matrix.find_elements("css selector", "tbody td")
    shares = [float(cell.get_attribute("data-value")) for cell in cells]
    assert len(cells) == 9 and sum(shares) == pytest.approx(300, abs=1e-2)
    select = matrix.find_element("css selector", "select")
    browser.execute_script("arguments[0].value = '1'; arguments[0].dispatchEvent(new Event('change'))", select)
    amounts = matrix.find_elements("css selector", "tbody td")
    assert [float(cell.get_attribute("data-value")) for cell in amounts] != shares
    risk = figure(browser, "Risk against coverage")
    browser.execute_script("arguments[0].open = true", risk.find_element("css selector", "details"))
    wait = pytest.importorskip("selenium.webdriver.support.ui").WebDriverWait(browser, 60)
    wait.until(lambda _: risk.find_elements("css selector", "details table"))
    numbers = risk.find_element("css selector", "details table").get_attribute("textContent")
    browser.execute_script(
        "arguments[0].selectedIndex = 1; arguments[0].dispatchEvent(new Event('change', { bubbles: true }))",
        risk.find_element("css selector", "select"),
    )
    assert risk.find_element("css selector", "details table").get_attribute("textContent") != numbers
    pairs = figure(browser, f"{CONFIGURATION} and 2d")
    assert (
        len(pairs.find_elements("css selector", ".pair")) == len(pairs.find_elements("css selector", ".point")) / 2 > 2
    )
    ticks = figure(browser, "Reliability diagram").find_elements("css selector", "text")
    assert "0.5" in [tick.get_attribute("textContent") for tick in ticks]
    assert [line for line in browser.get_log("browser") if line["level"] in ("SEVERE", "WARNING")] == []


@pytest.mark.slow
def test_a_live_page_looks_for_a_newer_one_and_goes_on_where_the_reader_was(browser, live) -> None:
    emulate(browser)
    opened(browser, live)
    rows = browser.execute_script(  # at once: the page may be loaded anew between any two commands
        """window.old = true;
        const caption = [...document.querySelectorAll('figcaption')].find(each => each.textContent === 'All cases');
        const table = caption.parentElement, words = table.querySelector('input[type=search]');
        words.value = 'organ'; words.dispatchEvent(new Event('input'));
        table.querySelector('thead button').click(); table.querySelector('thead button').click();
        const theme = document.getElementById('theme'); theme.value = 'dark'; theme.dispatchEvent(new Event('change'));
        document.querySelector('details').open = true; window.scrollTo(0, 500);
        return [...table.querySelectorAll('tbody tr')].map(each => each.textContent);"""
    )
    live.write_text(live.read_text(encoding="utf-8").replace(' data-reload="1"', ""), encoding="utf-8")  # the last one
    wait = pytest.importorskip("selenium.webdriver.support.ui").WebDriverWait(browser, 60)
    wait.until(lambda driver: driver.execute_script("return !window.old && document.documentElement.dataset.drawn > 0"))
    assert browser.execute_script("return document.documentElement.dataset.reload") is None
    table = figure(browser, "All cases")
    assert [row.get_attribute("textContent") for row in table.find_elements("css selector", "tbody tr")] == rows
    assert table.find_element("css selector", "th").get_attribute("aria-sort") == "descending"
    assert browser.execute_script("return getComputedStyle(document.body).backgroundColor") == PAPER["dark"]
    assert browser.execute_script("return document.querySelector('details').open && window.scrollY") == 500
    assert [line for line in browser.get_log("browser") if line["level"] in ("SEVERE", "WARNING")] == []


def test_predictions_can_be_sorted_and_their_uncertainty_is_named(browser, pages) -> None:
    emulate(browser)
    opened(browser, pages["predictions"])
    table = figure(browser, "How good they are likely to be")
    heads = table.find_elements("css selector", "thead button")
    place = 1 + [head.get_attribute("textContent") for head in heads].index("predicted Dice")
    click(browser, heads[place - 1])
    click(browser, heads[place - 1])
    descending = [float(text) for text in column(table, place) if text != "–"]
    assert descending == sorted(descending, reverse=True) and len(set(descending)) > 2
    views = browser.find_elements("css selector", "figure.pictures .case .view > p")
    assert {view.get_attribute("textContent") for view in views} >= {"prediction", "uncertainty"}
    assert "Uncertainty:" in browser.find_element("css selector", "figure.pictures").get_attribute("textContent")
