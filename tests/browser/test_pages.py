"""Every page in a real browser, over `up --demo`: drawn whole, without an error box, a console error or a call abroad."""

import pytest

from tests.browser.conftest import Visitor

pytestmark = pytest.mark.browser

PAGES = (
    "", "project", "incidents", "changes", "keys", "models", "hygiene", "deadlines", "rate_limits", "evidence", "monitor",
)  # fmt: skip


@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_by_its_link_without_a_complaint(visitor: Visitor, name: str) -> None:
    page = visitor.open(f"/{name}")
    visitor.shoot(name or "overview")
    assert page.locator('[data-testid="stException"]').count() == 0
    assert page.locator('[data-testid="stAlertContentError"]').count() == 0
    assert "Page not found" not in page.content()
    assert visitor.complaints == []


def test_the_overview_says_that_the_data_are_a_sample(visitor: Visitor) -> None:
    page = visitor.open("/")
    assert "sample" in page.inner_text("body").lower()


def test_the_score_of_the_month_is_drawn_at_once(visitor: Visitor) -> None:
    text = visitor.open("/hygiene").inner_text("body")
    assert "Score over time" in text
    assert "There is no history yet" not in text


def test_a_dark_page_is_printed_with_dark_ink(visitor: Visitor) -> None:
    visitor.page.emulate_media(color_scheme="dark")
    page = visitor.open("/hygiene")
    page.emulate_media(media="print", color_scheme="dark")
    ink = "element => getComputedStyle(element).color"
    assert page.locator(".t td").first.evaluate(ink) == "rgb(27, 36, 48)"
    assert page.locator(".stApp").evaluate("element => getComputedStyle(element).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator('[data-testid="stSidebar"]').is_hidden()


def test_a_broken_project_leads_to_its_page_by_one_click(visitor: Visitor) -> None:
    page = visitor.open("/")
    page.get_by_role("link", name="legacy", exact=True).first.click()
    page.wait_for_url("**/project?*project=legacy*")
    visitor.settle()
    text = page.inner_text("body")
    assert "legacy" in text
    assert visitor.complaints == []


def test_a_deep_link_holds_project_and_window(visitor: Visitor) -> None:
    page = visitor.open("/project?project=batch&window=7d")
    assert "batch" in page.inner_text('[data-testid="stMainBlockContainer"]')
    assert "window=7d" in page.url


def test_no_secret_reaches_the_browser(visitor: Visitor) -> None:
    frames: list[bytes] = []
    visitor.page.on(
        "websocket",
        lambda socket: socket.on("framereceived", lambda data: frames.append(data if isinstance(data, bytes) else data.encode())),
    )
    for name in PAGES:
        visitor.open(f"/{name}")
    assert frames
    assert not [frame for frame in frames if b"SAMPLE-" in frame and b"sk-" in frame]


TOO_WIDE = "found => found.filter(element => element.scrollWidth > element.clientWidth + 1).length"
CUT = """() => {
  const rightmost = element => Math.max(...[...element.querySelectorAll('*')].map(each => each.getBoundingClientRect().right))
  const out = cell => cell.children.length && rightmost(cell) > cell.getBoundingClientRect().right + 1
  return [...document.querySelectorAll('.mx td')].filter(out).length
}"""


def test_the_matrix_of_models_fits_its_page_and_no_cell_runs_into_the_next(visitor: Visitor) -> None:
    page = visitor.open("/models")
    assert page.locator(".wide:has(.mx)").evaluate_all(TOO_WIDE) == 0
    assert page.locator(".mx td").count() > 50
    assert page.evaluate(CUT) == 0


@pytest.mark.parametrize("name", ["models", "deadlines", "changes?window=30d", "project?project=reporting"])
def test_on_a_telephone_nothing_that_is_read_lies_beside_the_screen(visitor: Visitor, name: str) -> None:
    visitor.page.set_viewport_size({"width": 390, "height": 844})
    page = visitor.open(f"/{name}")
    assert page.locator(".t").count() > 0
    assert page.locator(".wide:has(.stack)").evaluate_all(TOO_WIDE) == 0
    assert page.locator('[data-testid="stMain"]').evaluate_all(TOO_WIDE) == 0


@pytest.mark.parametrize("name", ["", "models", "deadlines", "incidents"])
def test_on_paper_no_table_is_cut_off_and_no_filter_is_printed(visitor: Visitor, name: str) -> None:
    visitor.page.set_viewport_size({"width": 794, "height": 1123})  # A4
    page = visitor.open(f"/{name}")
    page.emulate_media(media="print")
    assert page.locator(".wide").evaluate_all(TOO_WIDE) == 0
    assert page.locator(".stMain .stSelectbox:visible").count() == 0
