"""Android's own userland without Android: Google's adbd, mksh and toybox of Debian trixie, in a root of their own.

No phone: the kernel is this machine's, there is no bionic, no SELinux and no service of Android. But the daemon, the
shell and every command are those of a phone, run by uid 2000 in a chroot whose PATH holds nothing else. The packages
come by apt, into ``build/android-userland`` of the checkout, once.
"""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

PACKAGES = ("adbd", "mksh", "toybox")
SUITE = "deb http://deb.debian.org/debian trixie main"
CHECKOUT = Path(__file__).parents[2]
SHELL_USER = 2000
"""Android's uid of adb's shell."""

FETCH_LIMIT_S = 300.0
ADBD = "/usr/lib/android-sdk/platform-tools/adbd"
UNSHARED = ("unshare", "--mount", "--pid", "--fork")
STARTS = r"""
set -e
root=$1 storage=$2
shift 2
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
mount -t tmpfs -o size="$storage",mode=755,uid=2000,gid=2000 tmpfs "$root/data/local/tmp"
for pair in "$@"; do mount --bind "${pair%%:*}" "$root${pair#*:}"; done
exec env -i PATH=/system/bin HOME=/ ADBD_PORT="$PORT" \
    "$(command -v chroot)" --userspec=2000:2000 "$root" """


class NoUserland(Exception):
    """It cannot be had here, and why."""


def root_folder() -> Path:
    """The root, fetched where it is not there yet.

    Raises:
        NoUserland: apt, the network or a privilege is missing.
    """
    missing = [tool for tool in ("apt-get", "dpkg", "unshare", "chroot", "mount") if shutil.which(tool) is None]
    if missing or os.geteuid() != 0:
        raise NoUserland(f"needs root and Debian's tools, missing: {', '.join(missing) or 'root'}")
    _run([*UNSHARED, "true"], "this container may make no namespaces")
    folder = CHECKOUT / "build" / "android-userland"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        root = folder / "root"
        if not root.exists():
            _fetch(folder)
            part = folder / "root.part"
            shutil.rmtree(part, ignore_errors=True)
            _unpack(sorted((folder / "debs").glob("*.deb")), part)
            part.rename(root)
    return root


def _fetch(folder: Path) -> None:
    """Download the packages and all that they need, by lists of their own: this machine's are not touched."""
    debs, state = folder / "debs", folder / "apt"
    for made in (debs, state / "lists", state / "cache" / "archives" / "partial"):
        made.mkdir(parents=True, exist_ok=True)
    (state / "sources.list").write_text(f"{SUITE}\n")
    (state / "status").write_text("")
    settings = {
        "Dir::State::Lists": state / "lists",
        "Dir::State::status": state / "status",
        "Dir::Cache": state / "cache",
        "Dir::Etc::SourceList": state / "sources.list",
        "Dir::Etc::SourceParts": "-",
    }
    (state / "apt.conf").write_text("".join(f'{name} "{value}";\n' for name, value in settings.items()))
    environment = {**os.environ, "APT_CONFIG": str(state / "apt.conf")}
    _run(["apt-get", "update"], "apt cannot read trixie's lists", env=environment)
    kinds = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
    tree = _run(
        ["apt-cache", "depends", "--recurse", *(f"--no-{kind}" for kind in kinds), *PACKAGES],
        "apt knows no adbd",
        env=environment,
    )
    names = [line for line in tree.splitlines() if line and not line.startswith((" ", "<", "|"))]
    _run(["apt-get", "download", *names], "apt cannot download", env=environment, cwd=debs)


def _unpack(debs: Sequence[Path], root: Path) -> None:
    """One folder with all packages, whose only programs on PATH are mksh and toybox."""
    root.mkdir()
    for deb in debs:
        _run(["dpkg", "-x", str(deb), str(root)], f"{deb.name} cannot be unpacked")
    for name in ("lib", "lib64", "bin"):
        if not (root / name).exists():
            (root / name).symlink_to(f"usr/{name}")
    programs = root / "system" / "bin"
    programs.mkdir(parents=True)
    for name in ("mksh", "toybox"):
        (root / "usr" / "bin" / name).rename(programs / name)
    shutil.rmtree(root / "usr" / "bin")
    (root / "usr" / "bin").mkdir()
    (root / "usr" / "bin" / "sh").symlink_to("/system/bin/mksh")  # Debian's adbd starts this one
    (programs / "sh").symlink_to("mksh")
    for folder in ("proc", "dev", "sys", "data/local/tmp", "etc"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "etc/passwd").write_text("root:x:0:0::/:/system/bin/sh\nshell:x:2000:2000::/:/system/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\nshell:x:2000:\n")
    for name in _run(["chroot", str(root), "/system/bin/toybox"], "toybox does not run").split():
        if not (programs / name).exists():
            (programs / name).symlink_to("toybox")


def _run(argv: Sequence[str], why_not: str, **options: object) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=FETCH_LIMIT_S, check=False, **options)  # pyright: ignore[reportCallIssue, reportArgumentType, reportUnknownVariableType]
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoUserland(f"{why_not}: {error}") from error
    if done.returncode:
        raise NoUserland(f"{why_not}: {done.stderr.strip()[-300:]}")
    return str(done.stdout)


class Userland:
    """One running daemon with a storage of its own; ended, everything of it is gone, as with a phone switched off.

    Args:
        root: of `root_folder`.
        storage_mib: what ``/data/local/tmp`` holds.
        binds: folders of this machine that lie at a path of the phone.
    """

    def __init__(self, root: Path, *, storage_mib: int = 512, binds: Sequence[tuple[Path, str]] = ()) -> None:
        self.root = root
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.serial = f"127.0.0.1:{self.port}"
        pairs = [f"{here}:{there}" for here, there in binds]
        self.process = subprocess.Popen(
            [*UNSHARED, "sh", "-c", f"{STARTS}{ADBD}", "sh", str(root), f"{storage_mib}m", *pairs],
            env={**os.environ, "PORT": str(self.port)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._wait_for_port()

    def _wait_for_port(self) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                assert self.process.stderr is not None
                raise NoUserland(f"adbd ended: {self.process.stderr.read()[-300:].decode(errors='replace')}")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        self.switch_off()
        raise NoUserland("adbd does not listen")

    @property
    def daemon(self) -> int:
        """Number of the daemon, the first process of its namespace: whatever ran there ends with it."""
        return int(Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text())

    def inside(self, path: str) -> Path:
        """A path of the phone, as this machine reaches it: through the daemon's own mounts."""
        return Path(f"/proc/{self.daemon}/root") / path.lstrip("/")

    def switch_off(self) -> None:
        """Gone at once, with every process that ran there."""
        if self.process.poll() is None:
            os.kill(self.daemon, signal.SIGKILL)
        self.process.wait(timeout=20)
        assert self.process.stderr is not None
        self.process.stderr.close()
