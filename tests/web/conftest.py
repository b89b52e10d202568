"""A development cluster and a Chromium, which all tests of the page share; each test opens windows of its own."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, sync_playwright

from deploy.devcluster import DevCluster
from tests.web.windows import DEADLINE_MS, PHONE, SMALL, OpenWindow, expect_connected

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="package")
def cluster() -> Iterator[DevCluster]:
    # So little that a room of twenty is a large one, whose members come in parts.
    with DevCluster(environ={"ROOMRING_ROOM_STATE_BYTES_MAX": "4096"}) as running:
        yield running


@contextlib.contextmanager
def running_browser() -> Iterator[Browser]:
    """Start a Chromium. While it runs no test of its thread can have an asyncio loop: Playwright's has it."""
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if path is None:
        pytest.fail("there is no Chromium; run `bash deploy/install_browser.sh`")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGUMENTS)
        yield started
        started.close()


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with running_browser() as started:
        yield started


@pytest.fixture
def open_window(browser: Browser, cluster: DevCluster) -> Iterator[OpenWindow]:
    """Open the page as a new person on one of the edges; page errors fail the test."""
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    def open_(
        edge: int, name: str, room: str, *, query: str = "", phone: bool = False, size: ViewportSize = SMALL
    ) -> Page:
        options: dict[str, Any] = {"viewport": PHONE, "has_touch": True, "is_mobile": True} if phone else {}
        context = browser.new_context(**(options or {"viewport": size}))
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(DEADLINE_MS)
        page.on("pageerror", lambda error: errors.append(f"{name}: {error}"))
        page.goto(f"{cluster.edges[edge].url}/?name={name}&avatar=fox&room={room}{query}")
        expect_connected(page)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert errors == []
