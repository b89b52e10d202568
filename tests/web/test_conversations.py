"""Conversations, notes and people on the demo page: real Chromium windows on a real cluster, one person each.

Each test has rooms of its own, so that none sees what another has left in the database.
"""

from playwright.sync_api import Page, expect

from tests.web.windows import OpenWindow, expect_connected, picture

WRITERS = 8
LINES_EACH = 9
PLACE = "(node => new DOMMatrix(getComputedStyle(node.parentElement).transform).e)"


def test_two_hold_a_conversation_one_goes_offline_and_comes_back(open_window: OpenWindow) -> None:
    ada, bob = open_window(0, "Ada", "letters"), open_window(1, "Bob", "letters")
    _befriend(ada, bob, "Bob")
    _write_to(ada, "Bob", "hello")
    expect(bob.get_by_test_id("unread-badge")).to_have_text("1")
    _open_thread(bob, "Ada")
    expect(bob.get_by_test_id("unread-badge")).to_be_hidden()
    expect(ada.locator("#direct-log .line").last).to_have_attribute("data-state", "seen")
    bob.get_by_test_id("direct-input").press_sequentially("hi")
    expect(ada.get_by_test_id("direct-typing")).to_have_text("Bob is writing…")
    bob.get_by_test_id("direct-input").press("Enter")
    expect(ada.locator("#direct-log")).to_contain_text("hi")
    expect(ada.get_by_test_id("direct-typing")).to_have_text("")
    bob.get_by_test_id("letters-close").click()

    ada.context.set_offline(True)
    expect(ada.get_by_test_id("status")).to_have_attribute("data-state", "offline")
    bob.get_by_test_id("open-letters").click()
    bob.get_by_test_id("thread").click()
    for number in range(3):
        _say(ada, "direct", f"from ada {number}")
        _say(bob, "direct", f"from bob {number}")
    bob.get_by_test_id("letters-close").click()
    expect(ada.get_by_test_id("status")).to_contain_text("3 waiting")
    expect(ada.locator("#direct-log .line[data-state=sending]")).to_have_count(3)
    picture(ada, "conversation-offline")
    ada.context.set_offline(False)
    expect_connected(ada)
    expect(ada.locator("#direct-log .line[data-state=sending]")).to_have_count(0)
    expect(bob.get_by_test_id("unread-badge")).to_have_text("3")

    _open_thread(bob, "Ada")
    expect(bob.get_by_test_id("unread-badge")).to_be_hidden()
    written = ["hello", "hi", *(f"from {who} {number}" for who in ("bob", "ada") for number in range(3))]
    expect(bob.locator("#direct-log .text")).to_have_text(written)
    expect(ada.locator("#direct-log .text")).to_have_text(written)
    expect(ada.locator("#direct-log .line[data-state=seen]")).to_have_count(4)
    expect(ada.get_by_test_id("unread-badge")).to_be_hidden()
    picture(ada, "conversation")

    # The same on a page that knows nothing yet.
    ada.reload()
    expect_connected(ada)
    _open_thread(ada, "Bob")
    expect(ada.locator("#direct-log .text")).to_have_text(written)


def test_a_letter_to_somebody_who_ended_the_friendship_says_that_it_did_not_go(open_window: OpenWindow) -> None:
    ada, bob = open_window(0, "Ada", "refused"), open_window(1, "Bob", "refused")
    _befriend(ada, bob, "Bob")
    _write_to(ada, "Bob", "hello")
    _card(bob, "Ada")
    bob.get_by_test_id("card-unfriend").click()
    expect(bob.get_by_test_id("card-friend")).to_be_visible()
    _say(ada, "direct", "still there?")
    failed = ada.locator("#direct-log .line[data-state=failed]")
    expect(failed).to_contain_text("Only friends can write to each other.")
    failed.get_by_role("button", name="Take back").click()
    expect(failed).to_have_count(0)
    expect(ada.get_by_test_id("direct-input")).to_have_value("still there?")


def test_world_chat_loads_its_past_while_scrolling_back(open_window: OpenWindow) -> None:
    ada = open_window(0, "Ada", "world", query="&world=scrolling")
    _fill_lobby(ada, "lobby:scrolling")
    eve = open_window(1, "Eve", "world", query="&world=scrolling")
    eve.get_by_test_id("tab-world").click()
    log = eve.get_by_test_id("world-log")
    lines = log.locator(".line")
    expect(lines).to_have_count(50)
    total = WRITERS * LINES_EACH
    log.evaluate("node => { node.scrollTop = 0; }")
    expect(lines).to_have_count(total)
    assert log.evaluate("node => node.scrollTop") > 0, "what was in sight stays in sight"
    texts = log.locator(".text").all_inner_texts()
    assert len(set(texts)) == total
    _say(eve, "world", "and one more")
    expect(ada.locator("#world-log")).to_contain_text("and one more")
    expect(lines.last).to_have_attribute("data-state", "stored")
    picture(eve, "world")


def test_notes_move_and_merge_and_two_texts_become_a_choice(open_window: OpenWindow) -> None:
    ada, bob = open_window(0, "Ada", "notes"), open_window(1, "Bob", "notes")
    for page in (ada, bob):
        page.get_by_test_id("open-board").click()
    ada.get_by_test_id("board-new").click()
    ada.get_by_test_id("note-text").fill("one umbrella")
    ada.get_by_test_id("note-save").click()
    theirs = bob.get_by_test_id("note")
    expect(theirs).to_contain_text("one umbrella")
    before = _place(bob)
    ada.get_by_test_id("note").focus()
    for _ in range(4):
        ada.keyboard.press("ArrowRight")
    expect(ada.get_by_test_id("note")).to_have_attribute("data-state", "stored")
    bob.wait_for_function(f"x => {PLACE}(document.querySelector('.note')) === x + 64", arg=before)

    ada.context.set_offline(True)
    expect(ada.get_by_test_id("status")).to_have_attribute("data-state", "offline")
    _rewrite(ada, "one blue umbrella")
    expect(ada.get_by_test_id("note")).to_have_attribute("data-state", "waiting")
    _rewrite(bob, "two umbrellas")
    box = theirs.bounding_box()
    assert box is not None
    bob.mouse.move(box["x"] + 80, box["y"] + 80)
    bob.mouse.down()
    bob.mouse.move(box["x"] + 180, box["y"] + 130, steps=4)
    bob.mouse.up()
    expect(theirs).to_have_attribute("data-state", "stored")
    ada.context.set_offline(False)
    mine = ada.get_by_test_id("note")
    expect(mine).to_have_attribute("data-state", "conflict")
    picture(ada, "notes-conflict")
    mine.click()
    expect(ada.get_by_test_id("note-sheet")).to_contain_text("two umbrellas")
    ada.get_by_test_id("keep-mine").click()
    expect(theirs).to_contain_text("one blue umbrella")
    expect(mine).to_have_attribute("data-state", "stored")
    assert _place(ada) == _place(bob) == before + 64 + 100, "the move of the one and the text of the other"
    picture(bob, "notes")
    mine.focus()
    ada.keyboard.press("Delete")
    expect(theirs).to_have_count(0)


def test_a_blocked_person_disappears_from_every_list_and_comes_back(open_window: OpenWindow) -> None:
    ada = open_window(0, "Ada", "blocks", query="&world=blocks")
    eve = open_window(1, "Eve", "blocks", query="&world=blocks")
    _say(eve, "chat", "first in the bar")
    eve.get_by_test_id("tab-world").click()
    _say(eve, "world", "first in the world")
    expect(ada.locator("#chat-log")).to_contain_text("first in the bar")
    expect(ada.locator("#world-log")).to_contain_text("first in the world")
    _card(ada, "Eve")
    ada.get_by_test_id("card-block").click()
    expect(ada.get_by_test_id("card-unblock")).to_be_visible()
    ada.keyboard.press("Escape")
    expect(ada.get_by_test_id("member-list")).not_to_contain_text("Eve")
    ada.wait_for_function("() => window.__roomring.scene.avatars().length === 1")
    _say(eve, "world", "second in the world")
    expect(eve.locator("#world-log .line[data-state=stored]")).to_have_count(2)
    for where in ("#chat-log", "#world-log"):
        expect(ada.locator(f"{where} .text")).to_have_count(0)
    ada.get_by_test_id("open-letters").click()
    ada.get_by_role("button", name="Unblock").click()
    expect(ada.locator("#world-log .text")).to_have_text(["first in the world", "second in the world"])
    expect(ada.get_by_test_id("member-list")).to_contain_text("Eve")


def test_a_message_is_reported_from_its_menu(open_window: OpenWindow) -> None:
    ada = open_window(0, "Ada", "reports", query="&world=reports")
    eve = open_window(1, "Eve", "reports", query="&world=reports")
    for page in (ada, eve):
        page.get_by_test_id("tab-world").click()
    _say(eve, "world", "something rude")
    line = ada.locator("#world-log .line", has_text="something rude")
    line.hover()
    line.get_by_role("button", name="More about the message").click()
    ada.get_by_test_id("action-report").click()
    ada.get_by_test_id("report-reason").fill("It is rude")
    ada.get_by_test_id("report-send").click()
    expect(ada.get_by_test_id("toasts")).to_contain_text("The moderators will look at it")


# --- what people do -----------------------------------------------------------------------------------------


def _say(page: Page, where: str, text: str) -> None:
    page.get_by_test_id(f"{where}-input").fill(text)
    page.get_by_test_id(f"{where}-input").press("Enter")


def _card(page: Page, name: str) -> None:
    page.get_by_test_id("member-list").get_by_role("button", name=name).click()
    expect(page.get_by_test_id("card")).to_be_visible()


def _befriend(asking: Page, asked: Page, name: str) -> None:
    """One asks on the other's card, the other agrees in the drawer."""
    _card(asking, name)
    asking.get_by_test_id("card-friend").click()
    expect(asked.get_by_test_id("unread-badge")).to_have_text("1")
    asked.get_by_test_id("open-letters").click()
    asked.get_by_test_id("accept-friend").click()
    expect(asked.get_by_test_id("unread-badge")).to_be_hidden()
    expect(asking.get_by_test_id("card-message")).to_be_enabled()
    asked.get_by_test_id("letters-close").click()
    asking.keyboard.press("Escape")


def _write_to(page: Page, name: str, text: str) -> None:
    _card(page, name)
    page.get_by_test_id("card-message").click()
    _say(page, "direct", text)


def _open_thread(page: Page, name: str) -> None:
    page.get_by_test_id("open-letters").click()
    page.get_by_test_id("thread").filter(has_text=name).click()


def _rewrite(page: Page, text: str) -> None:
    page.get_by_test_id("note").click()
    page.get_by_test_id("note-text").fill(text)
    page.get_by_test_id("note-save").click()


def _place(page: Page) -> float:
    """Where the only note hangs, in pixels from the left of the board."""
    x: float = page.get_by_test_id("note").evaluate(PLACE)
    return x


def _fill_lobby(page: Page, room_id: str) -> None:
    """Have several people talk, each within the rate of one, until all of it is stored."""
    page.evaluate(
        """async ([roomId, writers, lines]) => {
            const { RoomringClient } = await import('/web/roomring/index.js');
            await Promise.all(Array.from({ length: writers }, async (_unused, writer) => {
                const displayName = `Writer ${writer}`;
                const userId = `writer-${roomId.slice(6)}-${writer}`;
                const client = new RoomringClient({ user: { userId, displayName, avatarId: 'owl' } });
                client.connect();
                await client.join(roomId);
                const stored = new Promise((resolve) => {
                    let count = 0;
                    client.on('persisted', () => { if (++count === lines) resolve(); });
                });
                for (let line = 0; line < lines; line += 1) {
                    await client.request('chat_send', roomId, { roomId, text: `line ${line} of ${writer}` });
                }
                await stored;
                client.disconnect();
            }));
        }""",
        [room_id, WRITERS, LINES_EACH],
    )
