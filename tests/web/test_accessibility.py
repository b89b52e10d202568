"""The demo page by keyboard, for a screen reader and on a phone; in the offline room, which has everything at once."""

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.web.windows import OpenWindow, picture

SIM = "&provider=sim"


@pytest.mark.parametrize("phone", [False, True], ids=["wide", "phone"])
def test_axe_finds_nothing_in_any_view(open_window: OpenWindow, phone: bool) -> None:
    page = open_window(0, "Ada", "axe", query=SIM, phone=phone)
    size = "phone" if phone else "wide"
    found: list[str] = []
    for name, visit in VIEWS.items():
        visit(page)
        # Colours are judged as they stand, not halfway through an animation.
        page.evaluate("() => Promise.all(document.getAnimations().map(each => each.finished.catch(() => {})))")
        picture(page, f"{size}-{name}")
        assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth"), name
        # What lies behind an open sheet was looked at before it was opened.
        results = Axe().run(page, context="dialog[open]" if page.locator("dialog[open]").count() else None)
        found += [
            f"{name}: {violation['id']}: {[node['html'][:120] for node in violation['nodes'][:3]]}"
            for violation in results.response["violations"]
        ]
    assert found == []


def _bar(page: Page) -> None:
    page.get_by_test_id("chat-input").fill("Good evening!")
    page.get_by_test_id("chat-input").press("Enter")
    expect(page.locator("#chat-log .line.self")).to_be_visible()


def _world(page: Page) -> None:
    page.get_by_test_id("tab-world").click()
    expect(page.locator("#world-log .line").last).to_be_visible()


def _letters(page: Page) -> None:
    page.get_by_test_id("open-letters").click()
    expect(page.get_by_test_id("thread")).to_be_visible()


def _thread(page: Page) -> None:
    page.get_by_test_id("thread").click()
    expect(page.locator("#direct-log .line")).to_have_count(3)


def _board(page: Page) -> None:
    page.get_by_test_id("letters-close").click()
    page.get_by_test_id("open-board").click()
    expect(page.get_by_test_id("note")).to_have_count(3)


def _note(page: Page) -> None:
    page.get_by_test_id("note").first.click()
    expect(page.get_by_test_id("note-text")).to_be_focused()


def _card(page: Page) -> None:
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    if page.get_by_test_id("tab-people").is_visible():
        page.get_by_test_id("tab-people").click()
    page.get_by_test_id("member-list").get_by_role("button", name="June").click()
    expect(page.get_by_test_id("card")).to_contain_text("Wants to be your friend")


def _report(page: Page) -> None:
    page.get_by_test_id("card-report").click()
    expect(page.get_by_test_id("report-reason")).to_be_focused()


VIEWS: dict[str, Callable[[Page], None]] = {
    "bar": _bar,
    "world": _world,
    "letters": _letters,
    "thread": _thread,
    "board": _board,
    "note": _note,
    "card": _card,
    "report": _report,
}


def test_everything_can_be_done_with_the_keyboard_alone(open_window: OpenWindow) -> None:
    page = open_window(0, "Ada", "keys", query=SIM)
    keys = page.keyboard
    # Messages: open, read, answer, back to where one was.
    expect(page.get_by_test_id("unread-badge")).to_have_text("4")
    keys.press("m")
    expect(page.get_by_test_id("accept-friend")).to_be_focused()
    keys.press("Tab")
    keys.press("Tab")
    expect(page.get_by_test_id("thread")).to_be_focused()
    keys.press("Enter")
    expect(page.get_by_test_id("direct-input")).to_be_focused()
    keys.type("On my way!")
    keys.press("Enter")
    expect(page.locator("#direct-log .line.self")).to_have_attribute("data-state", "seen")
    keys.press("Escape")
    expect(page.get_by_test_id("thread")).to_be_visible()
    keys.press("Escape")
    expect(page.get_by_test_id("open-letters")).to_be_focused()
    # Notes: move one, open it, leave it, close the board.
    keys.press("n")
    note = page.get_by_test_id("note").first
    note.focus()
    before = note.evaluate("node => node.getBoundingClientRect().top")
    keys.press("ArrowDown")
    page.wait_for_function("top => document.querySelector('.note').getBoundingClientRect().top > top", arg=before)
    expect(page.locator("#board-told")).to_contain_text("Moved to")
    keys.press("Enter")
    expect(page.get_by_test_id("note-text")).to_be_focused()
    keys.press("Escape")
    expect(note).to_be_focused()
    keys.press("Escape")
    expect(page.get_by_test_id("board")).to_be_hidden()
    # Conversations: the arrow keys change between them, a message's menu gives the focus back.
    page.get_by_test_id("tab-chat").focus()
    keys.press("ArrowRight")
    expect(page.get_by_test_id("tab-world")).to_be_focused()
    expect(page.get_by_test_id("world-log")).to_be_visible()
    more = page.locator("#world-log .more").last
    more.focus()
    keys.press("Enter")
    expect(page.get_by_test_id("actions")).to_be_visible()
    keys.press("Escape")
    expect(more).to_be_focused()
    # A person: the card opens from the list, and its buttons follow each other.
    page.get_by_test_id("member-list").get_by_role("button", name="Otis").focus()
    keys.press("Enter")
    expect(page.get_by_test_id("card")).to_be_visible()
    page.get_by_test_id("card-friend").focus()
    keys.press("Enter")
    expect(page.get_by_test_id("card-message")).to_be_enabled()
    keys.press("Escape")
    expect(page.get_by_test_id("member-list").get_by_role("button", name="Otis")).to_be_focused()


def test_a_person_and_the_board_answer_to_a_touch_in_the_scene(open_window: OpenWindow) -> None:
    page = open_window(0, "Ada", "touch", query=SIM)
    page.wait_for_function("() => window.__roomring.scene.avatars().length >= 5")
    point = page.evaluate(
        """() => {
            for (let y = 60; y < 700; y += 6) for (let x = 10; x < 1000; x += 6) {
                if (window.__roomring.scene.at(x, y) === 'board') return { x: x + 20, y: y + 20 };
            }
            return null;
        }"""
    )
    page.get_by_test_id("stage").click(position=point)
    expect(page.get_by_test_id("board")).to_be_visible()
    page.keyboard.press("Escape")
    page.wait_for_function(
        """() => {
            for (let y = 100; y < 760; y += 8) for (let x = 10; x < 1000; x += 8) {
                const found = window.__roomring.scene.at(x, y);
                if (found?.userId) { window.found = { x, y, name: found.name }; return true; }
            }
            return false;
        }"""
    )
    page.evaluate(
        """() => {
            const canvas = document.querySelector('[data-testid=stage]');
            const box = canvas.getBoundingClientRect();
            const [clientX, clientY] = [box.left + window.found.x, box.top + window.found.y];
            const at = { clientX, clientY, isPrimary: true, bubbles: true };
            canvas.setPointerCapture = () => {};
            canvas.dispatchEvent(new PointerEvent('pointerdown', at));
            canvas.dispatchEvent(new PointerEvent('pointerup', at));
        }"""
    )
    expect(page.get_by_test_id("card")).to_contain_text(page.evaluate("() => window.found.name"))


def test_what_is_pressed_on_a_phone_is_large_enough_and_the_line_stays_above_the_keyboard(
    open_window: OpenWindow,
) -> None:
    page = open_window(0, "Pia", "thumbs", query=SIM, phone=True)
    page.get_by_test_id("open-letters").click()
    page.get_by_test_id("thread").click()
    small = page.evaluate(
        """() => [...document.querySelectorAll('button')]
            .filter(each => each.checkVisibility() && !each.matches('.author, .earlier, .newer, .plain'))
            .map(each => [each.getAttribute('aria-label') ?? each.textContent, each.getBoundingClientRect()])
            .filter(([, box]) => box.width < 44 || box.height < 36).map(([label]) => label)"""
    )
    assert small == []
    page.get_by_test_id("direct-input").focus()
    page.set_viewport_size({"width": 390, "height": 430})
    box = page.get_by_test_id("direct-input").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] <= 430
    page.get_by_test_id("letters-close").click()
    page.get_by_test_id("tab-world").click()
    page.get_by_test_id("world-input").focus()
    box = page.get_by_test_id("world-input").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] <= 430
    picture(page, "phone-keyboard")
