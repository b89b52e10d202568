"""What the tests of the demo page share: sizes of windows, deadlines, waiting and pictures."""

import os
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, ViewportSize, expect

DEADLINE_MS = 20_000
WIDE: ViewportSize = {"width": 1440, "height": 900}
# Wide enough for the panel beside the bar, and quickly drawn without a graphics card.
SMALL: ViewportSize = {"width": 900, "height": 600}
PHONE: ViewportSize = {"width": 390, "height": 844}

expect.set_options(timeout=DEADLINE_MS)

OpenWindow = Callable[..., Page]


def expect_connected(page: Page) -> None:
    """Wait until the page says that it is connected; after the death of an edge that includes its restart."""
    expect(page.get_by_test_id("status")).to_have_attribute("data-state", "connected", timeout=2 * DEADLINE_MS)


def picture(page: Page, name: str) -> None:
    """Leave a picture in the folder that ROOMRING_SCREENSHOTS names, if it does; of a small window, a wide one."""
    folder = os.environ.get("ROOMRING_SCREENSHOTS")
    if not folder:
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    is_small = page.viewport_size == SMALL
    if is_small:
        page.set_viewport_size(WIDE)
        page.wait_for_timeout(500)
    page.screenshot(path=str(Path(folder) / f"{name}.png"))
    if is_small:
        page.set_viewport_size(SMALL)
