"""The remembered answers of a room."""

from hypothesis import given
from hypothesis import strategies as st

from common.ids import UserId
from roomworker.idempotency import Answers
from tests.unit.stage import ADA, BEN


def restored(fields: dict[str, bytes], *, window_ms: int = 100, answers_max: int = 10) -> Answers:
    """Rebuild from stored fields, which come in no order."""
    answers = Answers(window_ms, answers_max)
    for name in sorted(fields, key=lambda name: name[::-1]):
        answers.restore(name.removeprefix("d:"), fields[name])
    return answers


def test_an_answer_is_given_within_the_window_and_its_end_counts() -> None:
    answers = Answers(100, 10)
    answers.remember(ADA, "m", 1_000, b"yes")
    assert answers.get(ADA, "m", 1_100) == b"yes"
    assert answers.get(ADA, "m", 1_101) is None
    assert answers.get(BEN, "m", 1_000) is None
    assert answers.get(ADA, "n", 1_000) is None


def test_old_answers_leave_the_store_when_new_ones_come() -> None:
    answers = Answers(100, 10)
    answers.remember(ADA, "old", 1_000, b"1")
    assert answers.take()[1] == []
    answers.remember(ADA, "new", 1_101, b"2")
    changed, deleted = answers.take()
    assert list(changed) == ["d:ada\0new"]
    assert deleted == ["d:ada\0old"]


def test_what_came_and_went_between_two_turns_is_not_stored() -> None:
    answers = Answers(100, 1)
    answers.remember(ADA, "a", 1_000, b"1")
    answers.remember(ADA, "b", 1_000, b"2")
    changed, _ = answers.take()
    assert list(changed) == ["d:ada\0b"]
    assert answers.take() == ({}, [])


def test_of_answers_of_one_millisecond_the_first_is_forgotten_first_also_after_a_takeover() -> None:
    # Ordered by their time only, restored answers of the same millisecond stood in the store's order, and past
    # the bound a newer one was forgotten before an older one.
    answers = Answers(100, 3)
    for name in ("z", "m", "a"):
        answers.remember(ADA, name, 1_000, name.encode())
    again = restored(answers.take()[0], answers_max=3)
    again.remember(ADA, "next", 1_000, b"n")
    assert [again.get(ADA, name, 1_000) for name in ("z", "m", "a", "next")] == [None, b"m", b"a", b"n"]


@given(
    st.lists(
        st.tuples(st.sampled_from([ADA, BEN]), st.sampled_from("abcde"), st.integers(0, 60), st.booleans()), max_size=40
    ),
    st.integers(1, 4),
)
def test_the_store_holds_what_is_remembered_and_never_more_than_the_bound(
    course: list[tuple[UserId, str, int, bool]], answers_max: int
) -> None:
    answers = Answers(100, answers_max)
    fields: dict[str, bytes] = {}
    newest: dict[tuple[UserId, str], bytes] = {}
    now_ms = 1_000
    for number, (user, name, pause_ms, take_over) in enumerate(course):
        now_ms += pause_ms
        answer = b"%d" % number
        answers.remember(user, name, now_ms, answer)
        newest[user, name] = answer
        changed, deleted = answers.take()
        for field in deleted:
            fields.pop(field, None)
        fields.update(changed)
        assert 1 <= len(fields) <= answers_max
        if take_over:
            answers = restored(fields, answers_max=answers_max)
        assert answers.get(user, name, now_ms) == answer
        known = {key: answers.get(*key, now_ms) for key in newest}
        assert all(found in (None, newest[key]) for key, found in known.items())
        assert sum(found is not None for found in known.values()) <= answers_max
