"""The page in a real browser: the controls do what they say, and nothing is asked of the network."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import LOCAL, Page, browser

import attnsim
from attnsim.reports.document import (
    Chart,
    Column,
    Document,
    Paragraph,
    Point,
    Quantity,
    Section,
    Table,
    seconds,
    times,
    walk,
)
from attnsim.reports.kinds import roofline
from attnsim.reports.writers import _figures as figures
from attnsim.reports.writers import html, write
from attnsim.simulator.errors import InputError

for library in ("plotly", "itables", "jinja2"):
    pytest.importorskip(library)

CHIPS = ("h100", "b200")
VARIANTS = ("mha", "sliding-window", "moba", "linear-attention")
LENGTHS = (4096, 8192, 16384, 32768)
HOSTILE = """</script><script>window.broken=1</script><img src=x onerror="broken=1"> & 'quotes' "double" {{7}}"""
QUANTITIES = (Quantity("time", "time (s)", "predicted"), Quantity("speedup", "speedup (ratio)", "predicted", log=False))


@pytest.fixture(scope="module")
def report() -> Document:
    """The roofline report of real predictions, with lines and bars over lengths, a long table and hostile texts."""
    made = roofline.document(attnsim.predict(VARIANTS, CHIPS, seq=8192, heads=16), "attnsim report roofline")
    points, rows = [], []
    for seq in LENGTHS:
        for p in attnsim.predict(VARIANTS, CHIPS, seq=seq, heads=16):
            chip, variant = p.hardware.name, p.variant.id
            values = {"time": p.time_s, "speedup": p.speedup}
            points.append(Point(chip, variant, float(seq), values, (f"{variant} on {chip}", f"{seq} tokens")))
            rows.append((variant, chip, seq, p.time_s, p.speedup))
    columns = (
        Column("variant", facet="variant"), Column("chip", facet="chip"), Column("tokens", "{:,}".format),
        seconds("time", "predicted"), times("speedup", "predicted"),
    )  # fmt: skip
    missing = (*rows[0][:3], None, None)
    bars = tuple(Point(p.chip, p.variant, f"{p.x:.0f}", p.values, p.hover) for p in points)
    blocks = (
        Chart("lengths", "Time over length", "lines", "sequence (tokens)", QUANTITIES, tuple(points)),
        Chart("bars", "The same as bars", "bars", "tokens", QUANTITIES, bars),
        Section("Long", (Table(columns, (missing, *rows * 4)),)),
        Section("Short", (Table(columns, (missing, *rows)),)),
        Section(HOSTILE, (Paragraph(HOSTILE), Table((Column(HOSTILE), Column("b")), ((HOSTILE, 1), ("-", 2))),
                          Table((Column("a"),), ((HOSTILE,),) * html.LONG))),
    )  # fmt: skip
    return Document("page", made.title, made.lead, (*made.blocks, *blocks))


@pytest.fixture(scope="module")
def written(report: Document, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("html") / "page.html"
    path.write_bytes(write(report, ["html"])["page.html"])
    return path


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with browser(tmp_path_factory.mktemp("profile")) as made:
        yield made


@pytest.fixture
def page(driver: Any, written: Path) -> Iterator[Page]:
    """The page as it opens; nothing that a test does may make it complain or ask for anything."""
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    opened = Page(driver, written)
    yield opened
    assert opened.complaints() == []
    assert [address for address in opened.requests() if not address.startswith(LOCAL)] == []
    assert opened.js("return window.broken") is None


def plot_of(page: Page, title: str) -> str:
    """The id of a chart that has been scrolled to and drawn."""
    found = page.js(
        "const plot = [...document.querySelectorAll('.chart')].find((one) => one.innerText.startsWith(arguments[0]))"
        ".querySelector('.plot'); plot.scrollIntoView(); return plot.id", title,
    )  # fmt: skip
    page.wait("return document.getElementById(arguments[0]).data?.length", found)
    return str(found)


def series(page: Page, plot: str) -> list[dict[str, Any]]:
    """What is drawn: variant, chips, x, y of each visible trace with data."""
    found = page.js(
        "return document.getElementById(arguments[0]).data.filter((t) => t.visible === true && t.meta.values)"
        ".map((t) => ({variant: t.meta.variant, chip: t.meta.chip, x: t.x, y: t.y}))", plot,
    )  # fmt: skip
    return list(found)


def table_of(page: Page, section: str) -> str:
    return str(page.js(
        "return [...document.querySelectorAll('section')].find((one) => one.querySelector('h2,h3').innerText === "
        "arguments[0]).querySelector('table').id", section,
    ))  # fmt: skip


def column(page: Page, table: str, index: int) -> list[str]:
    """Texts of a column, the rows on the screen."""
    return list(page.js(
        "return [...document.getElementById(arguments[0]).tBodies[0].rows]"
        ".map((row) => row.cells[arguments[1]]?.innerText)", table, index,
    ))  # fmt: skip


def box(page: Page, name: str) -> None:
    """Click the box of a chip or variant, its panel open."""
    found = page.find(f"input[type=checkbox][value='{name}']")
    page.js("arguments[0].closest('details').open = true", found)
    found.click()


def test_the_same_document_gives_the_same_bytes(report: Document, written: Path) -> None:
    assert write(report, ["html"])["page.html"] == written.read_bytes()


def test_no_address_of_a_network_is_an_element_of_the_page(written: Path) -> None:
    head, _, _ = written.read_text().partition('<script type="application/json"')
    assert 'src="http' not in head
    assert "url(http" not in head


def test_every_chart_is_a_figure_that_plotly_accepts(report: Document) -> None:
    import plotly.graph_objects

    charts = [block for block in walk(report.blocks) if isinstance(block, Chart)]
    assert {chart.kind for chart in charts} == {"points", "lines", "bars"}
    for chart in charts:
        made = plotly.graph_objects.Figure(figures.figure(chart, CHIPS, VARIANTS))
        assert made.layout.xaxis.title.text == chart.x_label


def test_variants_and_chips_look_different() -> None:
    points = tuple(
        Point(f"chip{c}", f"variant{v}", 1.0, {"time": 1.0}, ()) for v in range(24) for c in range(len(figures.SYMBOLS))
    )
    chart = Chart("a", "a", "points", "x (B)", QUANTITIES, points)
    chips = [f"chip{c}" for c in range(len(figures.SYMBOLS))]
    traces = figures.figure(chart, chips, [f"variant{v}" for v in range(24)])["data"]
    drawn = [trace for trace in traces if "chips" in trace["meta"]]
    looks = {(trace["marker"]["color"], symbol) for trace in drawn for symbol in trace["marker"]["symbol"]}
    assert len(looks) == len(points)


def test_points_of_one_category_stand_side_by_side() -> None:
    points = tuple(Point("b200", v, x, {"time": 1.0}, ()) for v in ("a", "b", "c") for x in ("one", "<two>"))
    made = figures.figure(Chart("a", "a", "points", "x", QUANTITIES, points), ["b200"], ["a", "b", "c"])
    places = [x for trace in made["data"] if "chips" in trace["meta"] for x in trace["x"]]
    assert len(set(places)) == len(points)
    assert {round(place) for place in places} == {0, 1}
    assert made["layout"]["xaxis"]["ticktext"] == ["one", "&lt;two&gt;"]


@pytest.mark.parametrize("library", ["plotly.offline", "itables", "jinja2"])
def test_a_missing_library_is_named(library: str, report: Document, monkeypatch: pytest.MonkeyPatch) -> None:
    if library == "itables":
        find = importlib.util.find_spec
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "itables" else find(name))
    else:
        monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(InputError, match=f"html needs {library}: pip install") as raised:
        write(report, ["html"])
    assert "\n" not in str(raised.value)


def test_pages_without_charts_or_tables_carry_no_libraries() -> None:
    assert len(write(Document("a", "a", "b", (Paragraph("c"),)), ["html"])["a.html"]) < 50_000


def test_cells_with_parameters_belong_to_the_bare_name() -> None:
    columns = (Column("variant", facet="variant"), Column("n"))
    tables = [Table(columns, (("gqa", 1), ("mha (a=1)", 1), ("mha (a=2)", 2), ("gqa (kv=8)", 1)))]
    found = html._facet("variant", [], tables)
    assert found["names"] == ["gqa", "mha (a=1)", "mha (a=2)"]
    assert found["given"]["gqa (kv=8)"] == "gqa"
    assert found["title"] == "Variants"


def test_a_chip_is_hidden_in_charts_and_tables(page: Page) -> None:
    lines, long, short = plot_of(page, "Time over length"), table_of(page, "Long"), table_of(page, "Short")
    assert {one["chip"] for one in series(page, lines)} == set(CHIPS)
    box(page, "h100")
    page.until(lambda: {one["chip"] for one in series(page, lines)} == {"b200"}, "h100 hidden in lines")
    assert set(column(page, long, 1)) == set(column(page, short, 1)) == {"b200"}
    points = plot_of(page, "Variants under the roofs")
    page.until(lambda: {len(one["x"]) for one in series(page, points)} == {1}, "h100 hidden in points")
    seen = "return document.getElementById(arguments[0]).data.filter((t) => t.visible === true && t.meta.quantity)"
    assert set(page.js(seen + ".map((t) => t.meta.chip)", points)) == {"b200"}  # its ceilings
    box(page, "h100")
    page.until(lambda: {len(one["x"]) for one in series(page, points)} == {2}, "h100 shown in points")
    assert {"h100", "b200"} == set(column(page, short, 1))


def test_variants_are_hidden_one_by_one_none_and_all(page: Page) -> None:
    lines, counts = plot_of(page, "Time over length"), table_of(page, "Counts")
    assert any(cell.startswith("moba (") for cell in column(page, counts, 0))
    box(page, "moba")
    rest = set(VARIANTS) - {"moba"}
    page.until(lambda: {one["variant"] for one in series(page, lines)} == rest, "moba hidden")
    assert not any(cell.startswith("moba") for cell in column(page, counts, 0))
    assert page.find(".panel[data-facet=variant] .count").text == "3 of 4"
    buttons = page.find(".panel[data-facet=variant]").find_elements("css selector", "button")
    buttons[1].click()
    page.until(lambda: not series(page, lines), "none shown")
    assert "No row is left" in column(page, counts, 0)[0]
    buttons[0].click()
    page.until(lambda: {one["variant"] for one in series(page, lines)} == set(VARIANTS), "all shown")


def test_long_lists_are_searched(driver: Any, tmp_path: Path) -> None:
    names = [f"variant-{n}" for n in range(12)]
    table = Table((Column("variant", facet="variant"),), tuple((name,) for name in names))
    path = tmp_path / "long.html"
    path.write_bytes(write(Document("long", "a", "b", (Section("All", (table,)),)), ["html"])["long.html"])
    page = Page(driver, path)
    page.find(".panel summary").click()
    page.find(".panel input[type=search]").send_keys("variant-1")
    labels = page.driver.find_elements("css selector", ".panel .names label")
    assert [one.text for one in labels if one.is_displayed()] == ["variant-1", "variant-10", "variant-11"]
    page.find(".panel button[data-all='']").click()
    rest = [name for name in names if not name.startswith("variant-1")]
    page.until(lambda: column(page, table_of(page, "All"), 0) == rest, "what was found is hidden")
    assert page.complaints() == []


def test_a_name_of_the_legend_is_a_switch_too(page: Page) -> None:
    lines = plot_of(page, "Time over length")
    where = "[...document.querySelectorAll(`#${arguments[0]} .traces`)].find((t) => t.textContent === 'moba')"
    toggle = page.js(f"return {where}.querySelector('.legendtoggle')", lines)
    webdriver = pytest.importorskip("selenium.webdriver")
    webdriver.ActionChains(page.driver).move_to_element(toggle).click().perform()
    page.until(lambda: "moba" not in {one["variant"] for one in series(page, lines)}, "moba hidden")
    assert not page.find("input[value=moba]").is_selected()


def test_no_button_uploads_a_chart(page: Page) -> None:
    buttons = page.wait("return [...document.querySelectorAll('.modebar-btn')].map(b => b.outerHTML)")
    assert not [button for button in buttons if "cloud" in button.lower() or "share" in button.lower()]


def test_the_quantity_changes_values_and_axis(page: Page) -> None:
    lines = plot_of(page, "Time over length")
    axis = f"return document.getElementById('{lines}').layout.yaxis"
    assert page.js(axis)["title"]["text"] == "time (s), predicted"
    before = series(page, lines)
    select = page.js("return document.querySelector(`.choice select[data-charts~='${arguments[0]}']`)", lines)
    page.js("arguments[0].value = 'speedup'; arguments[0].dispatchEvent(new Event('change'))", select)
    page.until(lambda: page.js(axis)["title"]["text"] == "speedup (ratio), predicted", "axis")
    assert page.js(axis)["type"] == "linear"
    after = series(page, lines)
    assert [one["x"] for one in before] == [one["x"] for one in after]
    assert next(one["y"] for one in after if one["variant"] == "mha") == [1.0] * len(LENGTHS)
    bars = plot_of(page, "The same as bars")
    page.until(
        lambda: page.js(f"return {bars!r} && document.getElementById('{bars}').layout.yaxis.type") == "linear", ""
    )


@pytest.mark.parametrize("section", ["Long", "Short"])
def test_numbers_sort_as_numbers_and_missing_ones_last(page: Page, section: str) -> None:
    table = table_of(page, section)
    heads = f"return document.querySelectorAll('#{table} thead th')[arguments[0]]"
    number = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}
    head = page.js(heads, 3)
    page.js("arguments[0].scrollIntoView({block: 'center'})", head)
    orders = []
    for direction in ("ascending", "descending"):
        head.click()
        page.until(lambda want=direction: head.get_attribute("aria-sort") == want, direction)
        page.js("const size = document.getElementById(arguments[0]).closest('.dt-container').querySelector('select');"
                "size.value = -1; size.dispatchEvent(new Event('change'))", table)  # fmt: skip
        cells = column(page, table, 3)
        assert cells[-1] == "-"
        found = [float(value) * number[unit] for value, unit in (cell.split() for cell in cells[:-1])]
        orders.append(found == sorted(found, reverse=direction == "descending"))
    assert orders == [True, True]


@pytest.mark.parametrize("section", ["Long", "Short"])
def test_text_filters_rows(page: Page, section: str) -> None:
    table = table_of(page, section)
    field = page.js("return document.getElementById(arguments[0]).closest('.dt-container')"
                    ".querySelector('input[type=search]')", table)  # fmt: skip
    field.send_keys("moba b200 16,384")
    page.until(lambda: set(column(page, table, 0)) == {"moba"}, "rows filtered")
    assert set(column(page, table, 1)) == {"b200"}
    assert set(column(page, table, 2)) == {"16,384"}


def test_the_keyboard_reaches_and_works_every_control(page: Page) -> None:
    webdriver = pytest.importorskip("selenium.webdriver")
    keys = webdriver.Keys
    lines = plot_of(page, "Time over length")
    page.js("scrollTo(0, 0); document.querySelector('nav li:last-child a').focus()")

    def press(*pressed: str) -> None:
        webdriver.ActionChains(page.driver).send_keys(*pressed).perform()

    def focused() -> str:
        return str(page.js("const one = document.activeElement; return one.value || one.innerText || one.tagName"))

    press(keys.TAB)
    assert focused().startswith("Chips")
    assert page.js("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    press(keys.ENTER)
    press(keys.TAB, keys.TAB, keys.TAB)
    assert focused() == "h100"
    press(keys.SPACE)
    page.js("document.getElementById(arguments[0]).scrollIntoView()", lines)
    page.until(lambda: {one["chip"] for one in series(page, lines)} == {"b200"}, "h100 hidden by the space bar")
    press(keys.ESCAPE)
    assert focused().startswith("Chips")
    press(keys.TAB, keys.TAB)
    press(keys.ARROW_DOWN)
    assert focused() == "time"
    while focused() != "Colours: auto":
        press(keys.TAB)
    press(keys.ENTER)
    assert focused() == "Colours: light"
    page.js("document.querySelector('.dt-column-order[tabindex]').focus()")
    press(keys.ENTER)
    page.wait("return document.querySelector('th[aria-sort=ascending]')")


def test_hovering_tells_the_counts(page: Page) -> None:
    webdriver = pytest.importorskip("selenium.webdriver")
    plot = plot_of(page, "Variants under the roofs")
    page.js("scrollTo(0, 0); document.getElementById(arguments[0]).scrollIntoView({block: 'center'})", plot)
    point = page.wait("return document.querySelector(`#${arguments[0]} .scatterlayer .points path`)", plot)
    webdriver.ActionChains(page.driver).move_to_element(point).perform()
    text = page.wait("return document.querySelector(`#${arguments[0]} .hoverlayer`).textContent", plot)
    assert "GFLOP" in text
    assert "(counted)" in text
    assert "(predicted)" in text


def test_names_of_lines_stand_apart(page: Page) -> None:
    plot = plot_of(page, "Variants under the roofs")
    boxes = page.wait(
        "const found = [...document.querySelectorAll(`#${arguments[0]} .annotation-text-g`)]; return found.length && "
        "found.map((one) => one.getBoundingClientRect()).map((b) => [b.left, b.right, b.top, b.bottom])", plot,
    )  # fmt: skip
    assert len(boxes) >= 4
    for i, (left, right, top, bottom) in enumerate(boxes):
        for other in boxes[:i]:
            assert left >= other[1] or other[0] >= right or top >= other[3] or other[2] >= bottom


def test_colours_follow_the_button_and_the_system(page: Page) -> None:
    plot = plot_of(page, "Time over length")
    colours = (
        "return [getComputedStyle(document.body).backgroundColor, "
        f"document.getElementById('{plot}')._fullLayout.font.color]"
    )
    light = ["rgb(255, 255, 255)", "rgb(26, 26, 26)"]
    dark = ["rgb(20, 23, 26)", "rgb(230, 230, 230)"]

    def system(scheme: str) -> None:
        feature = {"name": "prefers-color-scheme", "value": scheme}
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    for scheme, expected in (("dark", dark), ("light", light), ("dark", dark)):
        system(scheme)
        page.until(lambda want=expected: page.js(colours) == want, f"{scheme} by the system")
    for expected in (light, dark):  # whatever the system says
        page.find("#theme").click()
        page.until(lambda want=expected: page.js(colours) == want, "by the button")
    system("light")
    assert page.js(colours) == dark
    card = "return getComputedStyle(document.querySelector('.card')).backgroundColor"
    assert page.js(card) == "rgb(255, 255, 255)"  # pictures are drawn for paper


def test_texts_are_shown_as_they_are(page: Page) -> None:
    assert HOSTILE in page.js("return document.querySelector('main').textContent")
    heads = page.js("return [...document.querySelectorAll('h2')].map((one) => one.textContent)")
    assert HOSTILE in heads
    cells = page.js("return [...document.querySelectorAll('td')].filter((c) => c.textContent === arguments[0]).length",
                    HOSTILE)  # fmt: skip
    assert cells > 2  # of the table in the page and of the one handed over as JSON


def test_a_narrow_screen_does_not_scroll_sideways_and_paper_has_no_toolbar(page: Page) -> None:
    size = {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        page.until(lambda: page.js("return document.documentElement.scrollWidth") <= 400, "a page of 400 pixels")
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
        assert page.js("return getComputedStyle(document.querySelector('.toolbar')).display") == "none"
    finally:
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
