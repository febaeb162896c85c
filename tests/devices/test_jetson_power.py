"""Power mode and clocks of a Jetson are put back whatever happens: TEST DOUBLES of its tools behind a real sshd."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import vitdeploy
from tests.doubles import artifacts, ssh_server
from tests.doubles.ssh_server import SshServer
from vitdeploy.benchmarks import bench
from vitdeploy.benchmarks.trial.case_trials import Job
from vitdeploy.devices import device_facts, inventory, jetson_power
from vitdeploy.devices.inventory import Device
from vitdeploy.devices.over_ssh import SshConnection, open_connection
from vitdeploy.errors import DeviceError
from vitdeploy.fleet import tasks
from vitdeploy.fleet.messages import DeviceSurvey

pytestmark = pytest.mark.skipif(not ssh_server.available(), reason="no OpenSSH server and client here")

NVPMODEL = """#!/bin/sh
state={folder}/mode
if [ "$1" = -q ]; then
  printf 'NV Power Mode: %s\\n' "$(sed -n 1p $state)"; sed -n 2p $state; exit 0
fi
[ -e {folder}/forbidden ] && {{ echo 'nvpmodel: not allowed'; exit 1; }}
case $2 in
  0) printf 'MAXN\\n0\\n' > $state;;
  1) printf 'MAXN_SUPER\\n1\\n' > $state;;
  2) printf 'MODE_30W\\n2\\n' > $state;;
  3) printf '15W\\n3\\n' > $state;;
  4) echo 'NVPM WARN: Reboot required for changing to this power mode: 4'
     echo 'NVPM WARN: DO YOU WANT TO REBOOT NOW? enter YES/yes to confirm:'
     read answer; case $answer in [Yy]*) touch {folder}/restarted;; esac;;
esac
"""
CLOCKS = """#!/bin/sh
case $1 in
  --store) echo stored > "$2";;
  --restore) [ "$(cat "$2")" = stored ] && echo low > {folder}/clocks;;
  *) echo high > {folder}/clocks; touch {folder}/held;;
esac
"""


class Board:
    """The doubles' state."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "mode").write_text("MODE_30W\n2\n")
        (folder / "clocks").write_text("low\n")
        for name, text in {
            "nvpmodel": NVPMODEL,
            "jetson_clocks": CLOCKS,
            "sudo": '#!/bin/sh\nshift\nexec "$@"\n',
        }.items():
            file = folder / "bin" / name
            file.parent.mkdir(exist_ok=True)
            file.write_text(text.format(folder=folder) if name != "sudo" else text)
            file.chmod(0o755)
        modes = ("MAXN", "MAXN_SUPER", "MODE_30W", "15W", "MODE_50W")
        conf = (f"< POWER_MODEL ID={number} NAME={name} >\nCPU_ONLINE CORE_0 1\n" for number, name in enumerate(modes))
        (folder / "nvpmodel.conf").write_text("".join(conf))
        python = folder / "python3"
        python.write_text(
            f'#!/bin/sh\nPATH={folder}/bin:$PATH; export PATH\nPYTHONPATH="$PYTHONPATH:{folder}"; export PYTHONPATH\n'
            f'exec {sys.executable} "$@"\n'
        )
        python.chmod(0o755)
        (folder / "sitecustomize.py").write_text(
            "import pathlib\n"
            "real = pathlib.Path.read_text\n"
            "def read_text(self, *given, **named):\n"
            f"    return real(pathlib.Path({str(folder / 'nvpmodel.conf')!r}) if str(self) == '/etc/nvpmodel.conf'"
            " else self, *given, **named)\n"
            "pathlib.Path.read_text = read_text\n"
        )

    def now(self) -> tuple[str, str]:
        return (self.folder / "mode").read_text().split()[0], (self.folder / "clocks").read_text().strip()

    def becomes(self, expected: tuple[str, str]) -> bool:
        deadline = time.monotonic() + 15
        while self.now() != expected and time.monotonic() < deadline:
            time.sleep(0.05)
        return self.now() == expected


@pytest.fixture
def board(tmp_path: Path) -> Board:
    folder = tmp_path / "board"
    folder.mkdir()
    return Board(folder)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SshServer]:
    folder = tmp_path / "sshd"
    folder.mkdir()
    made = SshServer(folder)
    monkeypatch.setenv("PATH", made.path)
    yield made
    made.stop()


def device_of(server: SshServer, board: Board, mode: str | None) -> Device:
    return msgspec.structs.replace(
        inventory.find("orin"),
        host="127.0.0.1",
        user=server.user,
        port=server.port,
        python=str(board.folder / "python3"),
        power_mode=mode,
        hold_clocks=True,
        facts={},
    )


def connected(server: SshServer, board: Board, mode: str | None = "MAXN") -> SshConnection:
    link = open_connection(device_of(server, board, mode))
    assert isinstance(link, SshConnection)
    return link


def test_mode_and_clocks_are_held_with_the_lock_and_put_back_after_it(server: SshServer, board: Board):
    with connected(server, board) as link:
        with link.lock(timeout_s=5):
            assert link.power == {"power_mode": "MAXN, was MODE_30W", "clocks": "at their highest"}
            assert board.now() == ("MAXN", "high")
        assert board.becomes(("MODE_30W", "low"))


@pytest.mark.parametrize("mode", ["MAXN_SUPER", "15W"])
def test_super_and_the_wattages_are_held_and_put_back(server: SshServer, board: Board, mode: str):
    with connected(server, board, mode) as link:
        with link.lock(timeout_s=5):
            assert link.power["power_mode"] == f"{mode}, was MODE_30W"
            assert board.now() == (mode, "high")
        assert board.becomes(("MODE_30W", "low"))


def test_a_mode_that_asks_for_a_restart_is_not_set(server: SshServer, board: Board):
    with connected(server, board, "MODE_50W") as link, link.lock(timeout_s=5):
        assert link.power["power_mode"].startswith("not held: NVPM WARN: DO YOU WANT TO REBOOT")
        assert board.now() == ("MODE_30W", "high")
    assert not (board.folder / "restarted").exists()


def test_a_bench_that_is_refused_leaves_them_as_they_were(server: SshServer, board: Board, tmp_path: Path):
    """Whatever happens: here it is another machine than its file says, which is seen with the lock held."""
    device = msgspec.structs.replace(device_of(server, board, "MAXN"), facts={"compute_capability": "8.7"})
    made = artifacts.plain_file(tmp_path / "a")
    job = Job(case=artifacts.case_of(made, device="orin"), compute="cpu", artifact=made)
    with pytest.raises(DeviceError, match="compute_capability"):
        bench.run([job], device=device, protocol=bench.make_protocol(), out=tmp_path / "run.json")
    assert (board.folder / "held").exists()
    assert board.becomes(("MODE_30W", "low"))


def test_a_cut_link_puts_them_back(server: SshServer, board: Board):
    with connected(server, board) as link, link.lock(timeout_s=5):
        assert board.now() == ("MAXN", "high")
        server.cut()
        assert board.becomes(("MODE_30W", "low"))


def test_what_is_not_allowed_is_said_and_nothing_is_left(server: SshServer, board: Board):
    (board.folder / "forbidden").touch()
    with connected(server, board) as link, link.lock(timeout_s=5):
        assert link.power["power_mode"] == "not held: nvpmodel: not allowed"
        assert board.now() == ("MODE_30W", "high")


def test_an_unknown_mode_names_those_there_are(server: SshServer, board: Board):
    with connected(server, board, "MODE_15W") as link, link.lock(timeout_s=5):
        assert "has no MODE_15W, only MAXN, MAXN_SUPER, MODE_30W, 15W, MODE_50W" in link.power["power_mode"]


def test_a_mode_that_is_printed_before_a_failure_is_held_and_put_back(server: SshServer, board: Board):
    """As for a user who may not read a file of root's: the mode, an error behind it, and an exit code."""
    tool = board.folder / "bin" / "nvpmodel"
    failing = "sed -n 2p $state; echo 'NVPM ERROR: Error opening emc_iso_cap: 13'; exit 244"
    tool.write_text(tool.read_text().replace("sed -n 2p $state; exit 0", failing))
    with connected(server, board) as link:
        with link.lock(timeout_s=5):
            assert link.power["power_mode"] == "MAXN, was MODE_30W"
        assert board.becomes(("MODE_30W", "low"))


def test_a_machine_without_the_tools_says_so():
    with jetson_power.power_held("MAXN", clocks=True) as said:
        assert said["power_mode"] == "not held: nvpmodel -q tells none"
        assert said["clocks"].startswith("not held: ")


def test_a_sweep_surveys_a_device_as_its_trials_will_find_it(
    server: SshServer, board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "devices").mkdir()
    (tmp_path / "devices" / "board.toml").write_text(
        'name = "board"\ntitle = "a board"\nlink = "ssh"\nhost = "127.0.0.1"\n'
        f'user = "{server.user}"\nport = {server.port}\n'
        f'python = "{board.folder / "python3"}"\npower_mode = "MAXN"\nhold_clocks = true\ntargets = ["onnx-fp32"]\n'
    )
    monkeypatch.chdir(tmp_path)
    found = tasks.survey_device("board", vitdeploy.__version__, 5.0)
    assert isinstance(found, DeviceSurvey)
    assert found.facts["clocks_held"] == "at their highest"
    assert board.becomes(("MODE_30W", "low"))
    with inventory.connect(found.device) as link, link.lock(timeout_s=5):
        assert device_facts.stable_facts(found.device, device_facts.read_facts(found.device, link)) == found.facts
