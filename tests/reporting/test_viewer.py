"""A case is looked through in a real browser: left is left, everything answers mouse, keys and fingers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from browsing import WITH_BROWSER, click, complaints, emulate, opened, screenshot
from packed_case import packed_case

from autoseg.core.geometry import Geometry, Image
from autoseg.core.labels import ExclusiveLabels
from autoseg.data.dataset import Case
from autoseg.data.images import read_case
from autoseg.data.label_maps import read_label_map
from autoseg.reporting.blocks import CasePicture, Pictures, Section
from autoseg.reporting.packed import Volume
from autoseg.reporting.page import Page, write
from autoseg.reporting.pictures import ERRORS, legend

pytestmark = WITH_BROWSER
HOSTILE = "</script><img src=x onerror=window.broken=1>"
LABELS = ExclusiveLabels({"background": 0, f"left {HOSTILE}": 1})
FLIPPED = np.array([[2.0, 0, 0], [0, 1.5, 0], [0, 0, 3.0]])  # x to the right, y to the front: LPS is the other way
TILT = np.array([[0.94, -0.34, 0], [0.34, 0.94, 0], [0, 0, 1]])  # 20 degrees around the long axis of the body
PERMUTED = TILT @ [[0, 0, -2.0], [0, 1.5, 0], [3.0, 0, 0]]  # the axes run up, to the front and to the left
COUNTS = {"flipped": (30, 40, 20), "oblique": (20, 40, 30)}
# What keys are called: arrow up, right, page up, shift.
UP, RIGHT, PAGE_UP, SHIFT = "\ue013", "\ue014", "\ue00e", "\ue008"

FOUND = """
const canvas = arguments[0], of = arguments[1], { width, height } = canvas;
const other = Object.assign(document.createElement('canvas'), { width, height });
const copy = other.getContext('2d', { willReadFrequently: true });
copy.drawImage(canvas, 0, 0);
const pixels = copy.getImageData(0, 0, width, height).data;
let count = 0, x = 0, y = 0, sum = 0;
for (let at = 0; at < width * height; at += 1) {
  const [red, green, blue] = pixels.subarray(4 * at, 4 * at + 3), coloured = Math.abs(red - blue) > 30;
  sum += red + green + blue;
  if (of === 'colour' ? !coloured : coloured || red < 150) continue;
  count += 1; x += at % width; y += Math.floor(at / width);
}
return { count, x: x / count / width, y: y / count / height, sum };
"""
"""Where on a canvas pixels are bright, or coloured, as shares of its size, how many, and how bright all are."""


def patient(folder: Path, key: str, matrix: np.ndarray) -> Volume:
    """Bright and labelled: a block in the patient's left, front and upper part. Where that is says the header."""
    shape = COUNTS[key]
    middle = (np.array(shape) - 1) / 2
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1) - middle
    x, y, z = np.moveaxis(grid @ matrix.T, -1, 0)  # mm to the right, front and head
    inside = (x < -8) & (x > -24) & (y > 8) & (y < 22) & (z > 9) & (z < 24)
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = matrix, -matrix @ middle
    body = 100 + 20 * np.random.default_rng(0).random(shape)
    files = {"image": np.where(inside, 900, body), "second": np.where(inside, 100, 900 + body), "label": inside}
    for name, array in files.items():
        kind = np.uint8 if name == "label" else np.float32
        nibabel.save(nibabel.Nifti1Image(array.astype(kind), affine), folder / f"{key}_{name}.nii.gz")
    paths = [str(folder / f"{key}_{name}.nii.gz") for name in files]
    image = read_case(Case.of_files(key, paths[:2], paths[2]))
    absent = np.zeros_like(image.array[:1])
    image = replace(image, array=np.concatenate([image.array, absent]), absent=(2,))
    reference, _ = read_label_map((Path(paths[2]),), LABELS)
    return packed_case(
        f"{key} {HOSTILE}",
        image,
        ["T1", f"T2 {HOSTILE}", "FLAIR"],
        LABELS,
        reference=reference,
        prediction=np.zeros_like(reference),
        most=10_000_000,
    )


def photograph() -> Volume:
    array = np.zeros((1, 1, 20, 30), np.float32)
    array[..., 2:8, 3:9] = 200
    labels = (array[0] > 0).astype(np.uint8)
    image = Image(array, Geometry.plain_2d((20, 30)))
    return packed_case("photograph", image, ["grey"], LABELS, reference=labels, most=10_000_000)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("viewer")
    cases = [patient(folder, "flipped", FLIPPED), patient(folder, "oblique", PERMUTED), photograph()]
    damaged = replace(cases[2], case="damaged", layers=(replace(cases[2].layers[0], data="AAAA"),))
    shown = tuple(CasePicture(case.case, "a told thing", (), case) for case in (*cases, damaged))
    block = Pictures("Looked through", shown, legend(LABELS), ERRORS)
    write(folder / "page.html", Page("Viewer", "", "1", (Section("one", "One", (block,)),)))
    return folder / "page.html"


def settled(browser, script: str, *arguments):
    """What ``script`` returns, once it is true; asked again in every frame."""
    return browser.execute_async_script(
        f"""const done = arguments[arguments.length - 1], given = [...arguments].slice(0, -1);
        const asked = (...arguments) => {{ {script} }};
        const look = () => {{
          const found = asked(...given);
          if (found) done(found); else requestAnimationFrame(look);
        }};
        requestAnimationFrame(() => requestAnimationFrame(look));""",
        *arguments,
    )


def look(browser, path: Path, case: str):
    """The opened viewer of a case."""
    opened(browser, path)
    (place,) = [
        each
        for each in browser.find_elements("css selector", ".case")
        if each.find_element("css selector", "h4").text.startswith(case)
    ]
    assert not place.find_elements("css selector", "canvas")
    click(browser, place.find_element("css selector", ".look > button"))
    settled(browser, "return arguments[0].querySelector('.viewer-open output')?.textContent", place)
    return place


def plane(browser, place, name: str):
    canvas = place.find_element("css selector", f"canvas[aria-label$=', {name}']")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    return canvas


def told(browser, place) -> str:
    return settled(browser, "return arguments[0].querySelector('.viewer-open output').textContent", place)


def control(place, name: str):
    """The field, slider or list of this label."""
    labels = place.find_elements("css selector", ".tools label")
    (label,) = [each for each in labels if each.get_attribute("textContent").startswith(name)]
    return label.find_element("css selector", "input, select")


def put(browser, element, value) -> None:
    settled(
        browser,
        """const [element, value] = arguments;
        if (element.value !== value) { element.value = value; ['input', 'change'].forEach(
            (name) => element.dispatchEvent(new Event(name))); }
        return true;""",
        element,
        str(value),
    )
    settled(browser, "return true")


def found(browser, canvas, of: str = "bright") -> dict:
    return settled(browser, FOUND, canvas, of)


def choose(browser, place, name: str, option: str) -> None:
    element = control(place, name)
    names = [each.get_attribute("textContent") for each in element.find_elements("css selector", "option")]
    put(browser, element, element.find_elements("css selector", "option")[names.index(option)].get_attribute("value"))


def without_crosshair(browser, place) -> None:
    click(browser, control(place, "crosshair"))
    settled(browser, "return true")


def slice_of(text: str, name: str) -> int:
    return int(text.partition(f"{name} ")[2].split()[0])


@pytest.mark.slow
@pytest.mark.parametrize("case", ["flipped", "oblique"])
def test_what_is_left_in_front_and_up_in_the_patient_is_seen_there_with_its_label_on_it(browser, page, case) -> None:
    emulate(browser)
    place = look(browser, page, case)
    without_crosshair(browser, place)
    choose(browser, place, "Show", "reference")
    sides = {
        "axial": ("RLAP", 1, 0),
        "coronal": ("RLSI", 1, 0),
        "sagittal": ("APSI", 0, 0),
    }  # column, row; 0: left, top
    for name, (letters, column, row) in sides.items():
        canvas = plane(browser, place, name)
        wrapper = canvas.find_element("xpath", "..")
        assert "".join(each.text for each in wrapper.find_elements("css selector", ".letter")) == letters
        put(browser, control(place, "Opacity of labels"), 100)
        label = found(browser, canvas, "colour")
        put(browser, control(place, "Opacity of labels"), 0)
        bright = found(browser, canvas)
        assert found(browser, canvas, "colour")["count"] == 0
        for where in (bright, label):
            assert where["count"] > 100
            assert (int(where["x"] > 0.5), int(where["y"] > 0.5)) == (column, row), name
        assert abs(bright["x"] - label["x"]) < 0.02 and abs(bright["y"] - label["y"]) < 0.02
    assert complaints(browser) == [] and browser.execute_script("return window.broken") is None
    screenshot(browser, f"viewer_{case}_light_1280")


@pytest.mark.slow
def test_wheel_keys_and_sliders_scroll_through_slices(browser, page) -> None:
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

    emulate(browser)
    place = look(browser, page, "flipped")
    axial = plane(browser, place, "axial")
    at = slice_of(told(browser, place), "axial")
    before = found(browser, axial)["sum"]
    ActionChains(browser).scroll_from_origin(ScrollOrigin.from_element(axial), 0, 100).perform()
    assert slice_of(told(browser, place), "axial") == at - 1  # down: towards the feet
    for key, change in ((UP, 1), (RIGHT, 1), (PAGE_UP, 10)):
        at = slice_of(told(browser, place), "axial")
        axial.send_keys(key)
        assert slice_of(told(browser, place), "axial") == min(20, at + change)
    assert found(browser, axial)["sum"] != before
    slider = place.find_element("css selector", "input[aria-label='slice, coronal']")
    put(browser, slider, 7)
    assert slice_of(told(browser, place), "coronal") == 7
    assert slider.get_attribute("aria-valuetext") == "7 of 40"


@pytest.mark.slow
def test_a_click_moves_the_other_planes_and_tells_what_is_there(browser, page) -> None:
    """Axial slices are 60 mm wide and high, in a canvas of that aspect."""
    from selenium.webdriver import ActionChains

    emulate(browser)
    place = look(browser, page, "flipped")
    axial = plane(browser, place, "axial")
    size = axial.size
    for x, y, where, value, label in ((0.75, 0.25, (23, 11), "900", "left"), (0.25, 0.75, (8, 31), "1", "background")):
        offset = round((x - 0.5) * size["width"]), round((y - 0.5) * size["height"])
        ActionChains(browser).move_to_element_with_offset(axial, *offset).click().perform()
        text = told(browser, place)
        assert abs(slice_of(text, "sagittal") - where[0]) <= 1 and abs(slice_of(text, "coronal") - where[1]) <= 1
        assert f"T1: {value}" in text and f"reference: {label}" in text
        assert "prediction: background" in text and f"errors: {'missed' if label == 'left' else 'none'}" in text
    at = slice_of(text, "sagittal")
    ActionChains(browser).key_down(SHIFT).send_keys(RIGHT).key_up(SHIFT).perform()
    assert slice_of(told(browser, place), "sagittal") == at + 1
    assert place.find_element("css selector", ".viewer-open output").get_attribute("aria-live") == "polite"


@pytest.mark.slow
def test_window_and_level_change_the_picture(browser, page) -> None:
    from selenium.webdriver import ActionChains

    emulate(browser)
    place = look(browser, page, "flipped")
    without_crosshair(browser, place)
    put(browser, control(place, "Opacity of labels"), 0)
    axial = plane(browser, place, "axial")
    first = found(browser, axial)
    put(browser, control(place, "Window"), 10)
    put(browser, control(place, "Level"), 50)
    assert found(browser, axial)["count"] > 3 * first["count"]  # all of the body is above the window
    choose(browser, place, "Preset", "most of the image")
    assert found(browser, axial) == first
    choose(browser, place, "Dragging", "changes window and level")
    size, level = axial.size, float(control(place, "Level").get_attribute("value"))
    drag = ActionChains(browser).move_to_element(axial).click_and_hold()
    drag.move_by_offset(size["width"] // 8, -size["height"] // 4).release().perform()
    settled(browser, "return true")
    assert float(control(place, "Level").get_attribute("value")) < level  # upwards: brighter
    assert found(browser, axial)["sum"] > first["sum"]
    assert control(place, "Preset").get_attribute("value") == "-1"


@pytest.mark.slow
def test_layers_and_channels_are_chosen_and_what_is_absent_is_not_offered(browser, page) -> None:
    emulate(browser)
    place = look(browser, page, "flipped")
    without_crosshair(browser, place)
    axial = plane(browser, place, "axial")
    options = control(place, "Channel").find_elements("css selector", "option")
    assert [each.get_attribute("textContent") for each in options] == ["T1", f"T2 {HOSTILE}"]
    assert found(browser, axial, "colour")["count"] == 0  # the prediction is empty
    choose(browser, place, "Show", "errors")
    assert found(browser, axial, "colour")["count"] > 100
    put(browser, control(place, "Opacity of labels"), 0)
    first = found(browser, axial)
    put(browser, control(place, "Channel"), 1)
    assert found(browser, axial)["count"] > 3 * first["count"]
    assert "T2" in told(browser, place)
    note = place.find_element("css selector", ".viewer-open").text
    assert "Shown at 1 x 1 x 1 voxels (2 x 1.5 x 3 mm)" in note and "Values are quantised: 256 steps" in note


def test_slices_are_enlarged_moved_and_shown_whole_again(browser, page) -> None:
    emulate(browser)
    place = look(browser, page, "flipped")
    without_crosshair(browser, place)
    put(browser, control(place, "Opacity of labels"), 0)
    axial = plane(browser, place, "axial")
    first = found(browser, axial)
    axial.send_keys("+")
    larger = found(browser, axial)
    assert larger["count"] > 1.3 * first["count"] and larger["x"] > first["x"]
    click(browser, place.find_element("css selector", "button[aria-label='show the whole slices']"))
    assert found(browser, axial) == first
    click(browser, place.find_element("css selector", ".look > button"))
    assert not place.find_elements("css selector", "canvas")


@pytest.mark.slow
def test_fingers_set_the_crosshair_and_enlarge_on_a_phone(browser, page) -> None:
    emulate(browser, width=360)
    browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True, "maxTouchPoints": 2})
    place = look(browser, page, "oblique")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 360
    without_crosshair(browser, place)
    put(browser, control(place, "Opacity of labels"), 0)
    axial = plane(browser, place, "axial")
    box = browser.execute_script(
        "const { x, y, width, height } = arguments[0].getBoundingClientRect(); return { x, y, width, height }", axial
    )

    def touch(kind: str, *points: tuple[float, float]) -> None:
        places = [
            {"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"], "id": number}
            for number, (x, y) in enumerate(points)
        ]
        browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

    touch("touchStart", (0.2, 0.5))
    touch("touchEnd")
    assert slice_of(told(browser, place), "sagittal") in (6, 7)  # of 30, of which a fifth is passed
    before = found(browser, axial)
    touch("touchStart", (0.45, 0.45), (0.55, 0.55))
    touch("touchMove", (0.35, 0.35), (0.65, 0.65))
    touch("touchEnd")
    assert found(browser, axial)["sum"] != before["sum"]
    assert axial.value_of_css_property("touch-action") == "none"
    screenshot(browser, "viewer_oblique_light_360")
    browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})
    assert complaints(browser) == []


def test_a_photograph_has_one_plane_without_letters(browser, page) -> None:
    emulate(browser)
    place = look(browser, page, "photograph")
    assert len(place.find_elements("css selector", "canvas")) == 1
    assert not place.find_elements("css selector", ".letter, .slice input")
    bright = found(browser, plane(browser, place, "image"))
    assert bright["x"] < 0.4 and bright["y"] < 0.4
    assert told(browser, place).startswith("row 3, column 4; grey: 200; reference: left")


def test_every_control_of_an_open_viewer_has_a_name_and_can_be_reached(browser, page) -> None:
    emulate(browser, theme="dark")
    place = look(browser, page, "flipped")
    nameless = browser.execute_script(
        """return [...arguments[0].querySelectorAll('button, select, input, canvas')].filter(each =>
            !(each.textContent.trim() || each.closest('label')?.textContent.trim() || each.getAttribute('aria-label')))
            .map(each => each.outerHTML);""",
        place,
    )
    assert nameless == []
    canvas = plane(browser, place, "axial")
    assert canvas.get_attribute("tabindex") == "0"
    help_text = browser.execute_script(
        "return document.getElementById(arguments[0]).textContent", canvas.get_attribute("aria-describedby")
    )
    assert "arrow keys" in help_text
    screenshot(browser, "viewer_flipped_dark_1280")


def told_instead(browser, path: Path, case: str) -> str:
    opened(browser, path)
    places = browser.find_elements("css selector", ".case")
    (place,) = [each for each in places if each.find_element("css selector", "h4").text == case]
    click(browser, place.find_element("css selector", ".look > button"))
    return settled(browser, "return arguments[0].querySelector('.notice')?.textContent", place)


def test_damaged_data_and_old_browsers_are_told_in_words(browser, page) -> None:
    emulate(browser)
    assert "cannot be unpacked" in told_instead(browser, page, "damaged")
    source = {"source": "delete window.DecompressionStream"}
    script = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", source)
    assert "DecompressionStream is missing" in told_instead(browser, page, "photograph")
    browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)
    assert complaints(browser) == []
