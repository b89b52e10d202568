"""The demo page in a real headless Chromium, on a real cluster of two edges and two workers.

Each test opens windows of its own, as separate people, one on each edge. Nothing is asserted on how quickly
things happen beyond a generous deadline. With ROOMRING_SCREENSHOTS set to a folder, pictures are left there.
"""

from playwright.sync_api import Browser, Page, expect

from deploy.devcluster import DevCluster
from tests.web.windows import WIDE, OpenWindow, expect_connected, picture


def test_one_window_moves_and_the_other_shows_it(open_window: OpenWindow) -> None:
    ada, bob = open_window(0, "Ada", "moving"), open_window(1, "Bob", "moving")
    before = _where(bob, "Ada")
    ada.keyboard.down("d")
    bob.wait_for_function(
        "x => window.__roomring.scene.avatars().some(a => a.name === 'Ada' && a.x > x + 1)", arg=before["x"]
    )
    ada.keyboard.up("d")
    # It comes to rest where its own window shows it.
    bob.wait_for_timeout(100)
    rest = _settled(ada, "Ada")
    bob.wait_for_function(
        "([x, z]) => window.__roomring.scene.avatars().some(a => a.name === 'Ada'"
        " && Math.abs(a.x - x) < 0.05 && Math.abs(a.z - z) < 0.05)",
        arg=[rest["x"], rest["z"]],
    )


def test_the_movement_between_updates_is_smooth(open_window: OpenWindow) -> None:
    ada, bob = open_window(0, "Ada", "smooth"), open_window(1, "Bob", "smooth")
    _where(bob, "Ada")
    ada.keyboard.down("a")
    steps: list[float] = bob.evaluate(
        """async () => {
            const at = () => window.__roomring.scene.avatars().find(a => a.name === 'Ada').x;
            const start = at();
            const until = performance.now() + 15000;
            while (at() === start && performance.now() < until) await new Promise(requestAnimationFrame);
            const xs = [];
            for (let i = 0; i < 40; i++) { await new Promise(requestAnimationFrame); xs.push(at()); }
            return xs.slice(1).map((x, i) => xs[i] - x);
        }"""
    )
    ada.keyboard.up("a")
    moved = sum(steps)
    assert moved > 0
    # Interpolated: many small steps forward, none back, no jump that makes up most of the way.
    assert min(steps) > -0.01
    assert sum(step > 0 for step in steps) >= len(steps) // 4
    assert max(steps) < 0.75 * moved


def test_chat_emotes_and_the_member_list_reach_the_other_window(open_window: OpenWindow) -> None:
    ada, bob = open_window(0, "Ada", "talking"), open_window(1, "Bob", "talking")
    expect(ada.get_by_test_id("member-list")).to_contain_text("Bob")
    expect(bob.get_by_test_id("member-list")).to_contain_text("Ada")
    ada.get_by_test_id("chat-input").fill("<b>Cheers</b> & 👩‍💻")
    ada.get_by_test_id("chat-input").press("Enter")
    expect(bob.get_by_test_id("chat-log")).to_contain_text("<b>Cheers</b> & 👩‍💻")
    expect(ada.get_by_test_id("chat-log")).to_contain_text("<b>Cheers</b> & 👩‍💻")
    bob.evaluate("() => { window.seen = []; window.__roomring.client.on('emote', e => window.seen.push(e.emoteId)); }")
    ada.locator("[data-testid^=emote-]").first.click()
    bob.wait_for_function("() => window.seen.length === 1")
    ada.context.close()
    expect(bob.get_by_test_id("member-list")).not_to_contain_text("Ada")


def test_a_cut_connection_comes_back_and_nobody_sees_a_flicker(open_window: OpenWindow, cluster: DevCluster) -> None:
    ada, bob = open_window(0, "Ada", "dropping"), open_window(1, "Bob", "dropping")
    bob.evaluate("() => { window.left = 0; window.__roomring.client.on('memberLeft', () => { window.left += 1; }); }")
    ada.context.set_offline(True)
    expect(ada.get_by_test_id("status")).not_to_have_attribute("data-state", "connected")
    ada.context.set_offline(False)
    expect_connected(ada)
    bob.get_by_test_id("chat-input").fill("still there?")
    bob.get_by_test_id("chat-input").press("Enter")
    expect(ada.get_by_test_id("chat-log")).to_contain_text("still there?")
    assert bob.evaluate("() => window.left") == 0


def test_the_page_survives_the_death_of_its_edge(open_window: OpenWindow, cluster: DevCluster) -> None:
    ada, bob = open_window(0, "Ada", "dying"), open_window(1, "Bob", "dying")
    cluster.kill("edge-1")
    expect(ada.get_by_test_id("status")).not_to_have_attribute("data-state", "connected")
    expect_connected(ada)
    bob.get_by_test_id("chat-input").fill("welcome back")
    bob.get_by_test_id("chat-input").press("Enter")
    expect(ada.get_by_test_id("chat-log")).to_contain_text("welcome back")


def test_a_crowd_that_comes_in_parts_is_shown_whole(open_window: OpenWindow) -> None:
    ada = open_window(0, "Ada", "crowded")
    ada.evaluate(
        """async () => {
            const { RoomringClient } = await import('/web/roomring/index.js');
            window.crowd = Array.from({ length: 30 }, (_, index) => {
                const user = { userId: `guest-${index}`, displayName: `Guest ${index}`, avatarId: 'owl' };
                return new RoomringClient({ user });
            });
            for (const client of window.crowd) client.connect();
            await Promise.all(window.crowd.map((client) => client.join('crowded')));
        }"""
    )
    bob = open_window(1, "Bob", "crowded")
    bob.wait_for_function("() => window.__roomring.client.members('crowded').length === 32")
    for window in (ada, bob):
        expect(window.get_by_test_id("member-list").locator("li")).to_have_count(32)
        assert len(window.evaluate("() => window.__roomring.scene.avatars()")) == 32
    ada.evaluate("() => window.crowd.forEach((client) => client.disconnect())")
    expect(bob.get_by_test_id("member-list").locator("li")).to_have_count(2)


def test_the_entry_dialog_asks_for_a_name(browser: Browser, cluster: DevCluster) -> None:
    page = browser.new_page(viewport=WIDE)
    page.goto(cluster.edges[0].url + "/?room=door")
    page.get_by_test_id("name-input").fill("Grace Hopper")
    page.get_by_test_id("join").click()
    expect(page.get_by_test_id("member-list")).to_contain_text("Grace Hopper")
    page.close()


def test_it_works_by_touch_in_a_phone_sized_window(open_window: OpenWindow) -> None:
    phone = open_window(1, "Pia", "pocket", phone=True)
    assert phone.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")
    assert phone.evaluate("() => document.documentElement.scrollHeight <= window.innerHeight")
    before = _where(phone, "Pia")
    box = phone.get_by_test_id("stage").bounding_box()
    assert box is not None
    phone.touchscreen.tap(box["x"] + box["width"] * 0.2, box["y"] + box["height"] * 0.45)
    phone.wait_for_function(
        "x => window.__roomring.scene.avatars().some(a => a.self && Math.abs(a.x - x) > 0.5)", arg=before["x"]
    )
    picture(phone, "phone")


def test_the_sim_provider_needs_no_server(open_window: OpenWindow) -> None:
    page = open_window(0, "Solo", "sim", query="&provider=sim")
    page.wait_for_function("() => window.__roomring.scene.avatars().length >= 3")


def test_a_wide_window_shows_the_bar_and_the_panel(open_window: OpenWindow) -> None:
    ada, _bob = open_window(0, "Ada", "wide", size=WIDE), open_window(1, "Bob", "wide")
    for test_id in ("stage", "chat-input", "chat-log", "member-list", "status"):
        expect(ada.get_by_test_id(test_id)).to_be_visible()
    # Something is drawn: not one colour all over.
    colours = ada.evaluate(
        """() => {
            const canvas = document.querySelector('[data-testid=stage]');
            const context = canvas.getContext('2d');
            const seen = new Set();
            for (let i = 1; i < 20; i++) {
                const x = canvas.width * i / 20, y = canvas.height * ((i * 7) % 20) / 20;
                seen.add(context.getImageData(x, y, 1, 1).data.join());
            }
            return seen.size;
        }"""
    )
    assert colours > 8
    picture(ada, "wide")


def _where(page: Page, name: str) -> dict[str, float]:
    """Wait until the page shows an avatar, and return where it stands."""
    page.wait_for_function("name => window.__roomring.scene.avatars().some(a => a.name === name)", arg=name)
    found: dict[str, float] = page.evaluate(
        "name => window.__roomring.scene.avatars().find(a => a.name === name)", name
    )
    return found


def _settled(page: Page, name: str) -> dict[str, float]:
    """Wait until an avatar no longer moves, and return where it stands."""
    before = _where(page, name)
    while True:
        page.wait_for_timeout(200)
        now = _where(page, name)
        if (now["x"], now["z"]) == (before["x"], before["z"]):
            return now
        before = now
