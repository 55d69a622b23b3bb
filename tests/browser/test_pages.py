"""Every page in a real browser, over `up --demo`: drawn whole, without an error box, a console error or a call abroad."""

import pytest

from tests.browser.conftest import Visitor

pytestmark = pytest.mark.browser

PAGES = ("", "project", "incidents", "changes", "keys", "models", "rate_limits", "evidence", "monitor")


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
