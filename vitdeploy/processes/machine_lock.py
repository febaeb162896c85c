"""Machine lock: one for each machine, at one place that every account can use, whatever a device file is called.

The lock is the kernel's (``flock``), so a holder that died holds nothing; what the file says only names the holder.
``/tmp`` is the place that all accounts see and may write to. ``VITDEPLOY_LOCK_DIR`` names another one, where accounts
or containers of one machine have a ``/tmp`` of their own. Standard library only: the agent carries this file.
"""

import contextlib
import errno
import fcntl
import os
import pwd
import stat
import tempfile
import time
from collections.abc import Generator
from pathlib import Path

from vitdeploy.errors import DeviceError
from vitdeploy.processes.device_words import one_line

FILE = "vitdeploy-machine.lock"
VARIABLE = "VITDEPLOY_LOCK_DIR"
POLL_S = 0.05
"""How often a held lock is asked for again."""

_ALL_MAY_WRITE = 0o666
_MOST_HOLDER_BYTES = 200


def lock_folder() -> Path:
    """Where this machine's lock lies."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    # TMPDIR is not looked at first: it differs between the accounts of a machine, and then each would have a lock.
    return Path("/tmp") if Path("/tmp").is_dir() else Path(tempfile.gettempdir())  # noqa: S108 (see above)


@contextlib.contextmanager
def machine_lock(name: str, *, timeout_s: float, folder: Path | None = None) -> Generator[int]:
    """Hold this machine alone, among all processes and accounts on it; yields the lock's file descriptor.

    Args:
        name: what messages call the machine.
        folder: where the lock lies; None: `lock_folder`.

    Raises:
        DeviceError: another process holds it (the message says which, whose and since when), or it cannot be opened.
    """
    file = (folder or lock_folder()) / FILE
    deadline = time.monotonic() + timeout_s
    while True:
        descriptor = _opened(file)
        try:
            if _is_ours(descriptor, file):
                _write_holder(descriptor)
                yield descriptor
                return
            holder = _holder(descriptor)
        finally:
            os.close(descriptor)  # releases the lock; the file stays, or two could hold two files of one name
        if time.monotonic() >= deadline:
            raise DeviceError(f"{name} is in use by process {holder}", "Wait for it, or stop it.")
        time.sleep(POLL_S)


def _opened(file: Path) -> int:
    """The lock file, opened: for writing where this account may, else for reading, which a lock needs no more than."""
    # Not O_CREAT on a file that is there: in a folder as /tmp, Linux refuses it for others' files, even to root.
    # Source: sysctl fs.protected_regular. O_NONBLOCK: a pipe that somebody put there must not hold us.
    common = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    ways = (os.O_RDWR, os.O_RDWR | os.O_CREAT | os.O_EXCL, os.O_RDWR, os.O_RDONLY)
    problem: OSError | None = None
    for flags in ways:
        try:
            descriptor = os.open(file, flags | common, _ALL_MAY_WRITE)
        except OSError as error:
            # That it is there, or not, follows from how it was opened: the other error is the reason.
            problem = error if error.errno not in (errno.EEXIST, errno.ENOENT) or problem is None else problem
            continue
        try:
            _check_regular(file, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor
    assert problem is not None
    raise _cannot_open(file, problem)


def _check_regular(file: Path, descriptor: int) -> None:
    """Refuse what is no lock file of ours; make ours usable by all, whatever the umask was."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        raise DeviceError(f"cannot use the lock {file}: it is not a plain file", f"Remove it, or set {VARIABLE}.")
    if status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) != _ALL_MAY_WRITE:
        with contextlib.suppress(OSError):
            os.fchmod(descriptor, _ALL_MAY_WRITE)


def _is_ours(descriptor: int, file: Path) -> bool:
    """Whether the lock was free, and the file is still the one of that name: a clean-up of /tmp may have removed it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise _cannot_open(file, error) from error
    with contextlib.suppress(OSError):
        return os.path.samestat(os.fstat(descriptor), file.lstat())
    return False


def _write_holder(descriptor: int) -> None:
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    with contextlib.suppress(OSError):  # opened for reading only, or the disk is full: the lock holds without a name
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()} of {_account()} since {since}\n".encode(), 0)


def _holder(descriptor: int) -> str:
    """Who holds the lock. Every account may write there, so it is text of a stranger."""
    with contextlib.suppress(OSError):
        text = os.pread(descriptor, _MOST_HOLDER_BYTES, 0).decode(errors="replace")
        return one_line(text, _MOST_HOLDER_BYTES) or "unknown"
    return "unknown"


def _account() -> str:
    try:
        return one_line(pwd.getpwuid(os.getuid()).pw_name, 40)
    except (KeyError, OSError):
        return f"account {os.getuid()}"


def _cannot_open(file: Path, error: OSError) -> DeviceError:
    hints = {
        errno.EACCES: f"Have its owner or root run `chmod 666 {file}`.",
        errno.ELOOP: f"It is a symbolic link: remove it, or set {VARIABLE}.",
        errno.EMFILE: "Raise the limit of open files: `ulimit -n 4096`.",
    }
    return DeviceError(
        f"cannot open the lock {file}: {error.strerror}",
        hints.get(error.errno or 0, f"Set {VARIABLE} to a folder that every account of this machine can write to."),
    )
