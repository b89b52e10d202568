"""An edge may open as many files as it may have connections, where the system lets it."""

import resource

import pytest

from deploy.serve import raise_open_files


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ((1024, 65_536), (20_200, 65_536)),
        ((1024, 4096), (4096, 4096)),
        ((1024, resource.RLIM_INFINITY), (20_200, resource.RLIM_INFINITY)),
        ((65_536, 65_536), None),
        ((4096, 4096), None),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), None),
    ],
)
def test_the_limit_is_raised_as_far_as_allowed(
    monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], expected: tuple[int, int] | None
) -> None:
    raised: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _, new: raised.append(new))
    raise_open_files(20_200)
    assert raised == ([expected] if expected else [])
