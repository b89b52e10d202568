"""Starting a child as another user than root, for servers that refuse to run as root.

Owns only what happens between fork and exec. The child keeps one right of root: it may open files whatever
their folders' modes say, so that nothing above its data has to be opened to everybody.
"""

import ctypes
import os
import pwd
import sys
from collections.abc import Callable
from typing import Final

USER: Final = "nobody"
"""Exists on every Linux; PostgreSQL asks for the name of its user, so a bare number would not do."""

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_KEEPCAPS: Final = 8
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_RAISE: Final = 2
_CAP_DAC_OVERRIDE: Final = 1
_CAPABILITY_VERSION_3: Final = 0x20080522
"""Numbers of prctl(2), capabilities(7) and capget(2)."""


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Capabilities(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


_libc: Final = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def unprivileged_user() -> pwd.struct_passwd | None:
    """Return the user to run as, where this process is root; None: run as who we are.

    Raises:
        KeyError: there is no such user here.
    """
    return pwd.getpwnam(USER) if os.geteuid() == 0 else None


def prepare_child(user: pwd.struct_passwd | None, death_signal: int) -> Callable[[], None]:
    """Return what a child does before exec (`preexec_fn`): become that user, and ask for a signal when we end.

    Where the system does not let the right to open files be kept, the child runs without it, and needs a
    path to its files that everybody may walk.
    """

    def prepare() -> None:
        if user is not None:
            if _libc is not None:
                _libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
            os.setgroups([])
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)
            if _libc is not None:
                mask = 1 << _CAP_DAC_OVERRIDE
                header = _Header(_CAPABILITY_VERSION_3, 0)
                wanted = (_Capabilities * 2)(_Capabilities(mask, mask, mask), _Capabilities(0, 0, 0))
                _libc.capset(ctypes.byref(header), wanted)
                _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE, 0, 0)
        if _libc is not None:
            # Last: a change of user or rights clears it.
            _libc.prctl(_PR_SET_PDEATHSIG, death_signal)

    return prepare
