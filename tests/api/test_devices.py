"""`devices show`, `devices add`, `devices --probe`: a real OpenSSH server on loopback, a stand-in board and phone."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.doubles import board, ssh_server
from tests.doubles.adb_daemon import PhoneDouble
from tests.doubles.ssh_server import SshServer
from vitdeploy.api import device_add, device_details, listings
from vitdeploy.api.device_add import AddRequest
from vitdeploy.catalog.fact_table import DeviceFacts
from vitdeploy.cli import json_forms
from vitdeploy.cli.main import main
from vitdeploy.devices import device_facts, device_file, inventory, reach
from vitdeploy.errors import DeviceError, UnreadableFile, UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TOOL = Path(__file__).parents[1] / "doubles" / "benchmark_model_double.py"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SshServer]:
    if not ssh_server.available():
        pytest.skip("no OpenSSH server and client here")
    place = tmp_path / "sshd"
    place.mkdir()
    made = SshServer(place)
    monkeypatch.setenv("PATH", made.path)
    yield made
    made.stop()


def address(server: SshServer) -> str:
    return f"{server.user}@127.0.0.1:{server.port}"


def added(server: SshServer, folder: Path, name: str = "my-board", **options) -> device_add.AddedDevice:
    python = str(board.python_of(folder))
    return device_add.add(AddRequest(name=name, ssh=address(server), python=python, **options))


def test_a_board_is_added_with_what_it_says_of_itself(server: SshServer, folder: Path):
    outcome = added(server, folder)
    assert outcome.path == Path("devices/my-board.toml")
    table = tomllib.loads(outcome.path.read_text())
    assert table["facts"] == {
        "gpu": "Orin (test double)",
        "compute_capability": "8.7",
        "machine": outcome.facts.machine,
    }
    assert (table["host"], table["user"], table["port"]) == ("127.0.0.1", server.user, server.port)
    assert "trt-fp16" in table["targets"]
    device = inventory.find("my-board")
    assert device == outcome.device
    assert device_facts.facts_of(device).compute_capability == "8.7"
    lines = outcome.path.read_text().splitlines()
    assert all("  # " in line for line in lines if " = " in line and not line.startswith("#"))
    assert any(line.startswith("# physical cores: ") for line in lines)
    assert [finding.what for finding in outcome.missing if finding.what == "tensorrt"], (
        "the double has no package of it"
    )


def test_a_board_like_one_that_ships_has_its_targets_and_must_have_its_facts(server: SshServer, folder: Path):
    outcome = added(server, folder, "mine", from_device="orin")
    assert outcome.device.targets == inventory.find("orin").targets
    with pytest.raises(DeviceError, match=r"has compute_capability '8\.7', a100 has '8\.0'"):
        added(server, folder, "other", from_device="a100")
    assert not Path("devices/other.toml").exists()


def test_the_name_of_one_that_ships_is_that_one_with_an_address(server: SshServer, folder: Path):
    added(server, folder, "orin")
    origins = inventory.load().origins["orin"]
    assert origins["host"] == Path("devices/orin.toml")
    assert inventory.find("orin").facts["compute_capability"] == "8.7"


def test_an_existing_file_is_not_replaced_unless_that_is_asked_for(server: SshServer, folder: Path):
    Path("devices").mkdir()
    mine = Path("devices/my-board.toml")
    mine.write_text('title = "mine"\nlink = "ssh"\nhost = "10.0.0.2"\ntargets = []\n')
    with pytest.raises(UsageError, match="exists already"):
        added(server, folder)
    assert "10.0.0.2" in mine.read_text()
    added(server, folder, force=True)
    assert "10.0.0.2" not in mine.read_text()


def test_a_board_that_does_not_answer_leaves_no_file(server: SshServer, folder: Path, capsys):
    server.stop()
    assert main(["devices", "add", "my-board", "--ssh", address(server)]) == 7
    assert not Path("devices").exists()
    assert capsys.readouterr().err.count("error: ") == 1


def test_a_dry_run_connects_to_nothing(folder: Path, capsys):
    assert main(["devices", "add", "my-board", "--ssh", "me@192.0.2.1", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "connect to me@192.0.2.1 by ssh" in out
    assert "write devices/my-board.toml" in out
    assert not Path("devices").exists()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["q"], 2),
        (["q", "--ssh", "a@b", "--adb", "R58"], 2),
        (["q", "--ssh", ""], 2),
        (["q", "--ssh", "-oProxyCommand=x"], 2),
        (["q", "--ssh", "a@b:99999"], 2),
        (["q", "--adb", "a b"], 2),
        (["../q", "--ssh", "a@b"], 2),
        (["local", "--ssh", "a@b"], 2),
        (["q", "--ssh", "a@b", "--from", "nothing"], 2),
        (["q", "--hub", "Galaxy S21"], 2),
        (["q", "--ssh", "a@b", "--from", "snapdragon-855"], 4),
        (["orin", "--adb", "R58"], 4),
        (["q", "--adb", "R58", "--benchmark-model", "nowhere"], 9),
    ],
)
def test_what_names_no_device_is_refused_before_anything_is_contacted(words: list[str], code: int, capsys):
    assert main(["devices", "add", *words]) == code
    assert capsys.readouterr().err.startswith("error: ")
    assert not Path("devices").exists()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("board", ("", "board", None)),
        ("me@board:2222", ("me", "board", 2222)),
        ("me@corp.example@board", ("me@corp.example", "board", None)),
        ("me@[fe80::1]:2222", ("me", "fe80::1", 2222)),
        ("me@fe80::1", ("me", "fe80::1", None)),
    ],
)
def test_addresses_are_read(text: str, parts: tuple[str, str, int | None]):
    found = device_add._ssh_address(text)
    assert (found["user"], found["host"], found["port"]) == parts


def test_hostile_words_of_a_device_stay_words():
    """Line breaks and escapes would begin lines of the file; what cannot be written as it is, is not checked."""
    hostile = DeviceFacts(
        {
            "cpu": 'x"\nhost = "evil"\x1b[31m',
            "gpu": "ok\nlink = 'local'",
            "board": '"quoted" \\ board',
            "compute_capability": ["8.7"],
            "machine": "y" * 5000,
            "packages": {"numpy": "1\n2"},
            "unknown\nkey": "z",
        }
    )
    device = msgspec.structs.replace(
        inventory.find("orin"),
        name="q",
        title=device_file.title_for(hostile, "q"),
        facts=device_file.identity_of(hostile, "ssh"),
    )
    text = device_file.text_of(device, hostile, head=("head\nhost = 'evil'",))
    read = inventory.read_text(text, Path("q.toml"))
    assert read.facts == {"board": '"quoted" \\ board'}
    assert (read.host, read.link, read.title) == ("", "ssh", '"quoted" \\ board')
    assert "\x1b" not in text
    assert "unknown" not in text


def test_a_phone_is_added_and_the_missing_tool_is_named(phone: PhoneDouble, folder: Path, capsys):
    assert main(["devices", "add", "my-phone", "--adb", phone.serial]) == 0
    out = capsys.readouterr().out
    assert "benchmark_model" in out
    table = tomllib.loads(Path("devices/my-phone.toml").read_text())
    assert table["facts"] == {"phone": "Double Test Double", "soc_model": "SM8150", "cores": "4+3+1"}
    assert (table["threads"], table["targets"]) == ("big-cores", ["tflite-fp32"])
    assert inventory.unreachable(inventory.find("my-phone"))
    words = ["devices", "add", "my-phone", "--adb", phone.serial, "--force", "--benchmark-model", str(TOOL)]
    assert main([*words, "--from", "snapdragon-855", "--json", "-"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert msgspec.convert(document, json_forms.FORMS["devices add"]).device == inventory.find("my-phone")
    assert document["device"]["benchmark_model"] == str(TOOL)
    assert "benchmark_model" not in [finding["what"] for finding in document["missing"]]
    assert inventory.unreachable(inventory.find("my-phone")) is None
    with pytest.raises(DeviceError, match="has soc_model 'SM8150', snapdragon-8gen1 has 'SM8450'"):
        device_add.add(AddRequest(name="x", adb=phone.serial, from_device="snapdragon-8gen1"))


def test_a_stronger_file_and_the_environment_are_announced(
    server: SshServer, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    place = folder / "config/vitdeploy/devices"
    place.mkdir(parents=True)
    (place / "orin.toml").write_text('power_mode = "MAXN"\n')
    monkeypatch.setenv("VITDEPLOY_ORIN_USER", server.user)
    outcome = added(server, folder, "orin")
    assert set(outcome.notices) == {
        f"power_mode is taken from {place / 'orin.toml'}",
        "user is taken from VITDEPLOY_ORIN_USER",
    }
    elsewhere = added(server, folder, "away", out=folder / "elsewhere")
    assert "is not searched" in elsewhere.notices[0]


def test_show_says_where_each_value_is_from(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    Path("devices").mkdir()
    Path("devices/orin.toml").write_text('host = "192.0.2.1"\n[facts]\nboard = "mine"\n')
    monkeypatch.setenv("VITDEPLOY_ORIN_USER", "me")
    details = device_details.device_details("orin")
    origins = {row.key: (row.value, row.origin) for row in details.values}
    assert origins["host"] == ("192.0.2.1", "devices/orin.toml")
    assert origins["user"] == ("me", "environment variable VITDEPLOY_ORIN_USER")
    assert origins["link"] == ("ssh", "shipped orin.toml")
    assert origins["facts.compute_capability"] == ("8.7", "shipped orin.toml")
    assert origins["facts.board"] == ("mine", "devices/orin.toml")
    assert origins["python"] == ("python3", "default")
    assert details.not_configured is None
    (notice,) = details.notices
    assert "sets host, facts" in notice
    needs = {row.name: row.needs for row in details.targets}
    assert (needs["onnx-fp32"], needs["trt-fp16"]) == ("onnxruntime", "tensorrt")
    assert main(["devices", "show", "a100"]) == 0
    assert "VITDEPLOY_A100_HOST" in capsys.readouterr().out
    assert main(["devices", "show", "orin", "--json", "-"]) == 0
    assert msgspec.convert(json.loads(capsys.readouterr().out), json_forms.FORMS["devices show"]) == details
    assert main(["devices", "show", "oring"]) == 2
    assert main(["devices", "shw"]) == 2
    assert "Did you mean show?" in capsys.readouterr().err


def test_reached_is_said_of_what_was_reached_only(server: SshServer, folder: Path, capsys):
    added(server, folder)
    Path("devices/gone.toml").write_text(
        f'title = "gone"\nlink = "ssh"\nhost = "127.0.0.1"\nuser = "{server.user}"\nport = 1\ntargets = ["onnx-fp32"]\n'
    )
    wrong = Path("devices/my-board.toml").read_text().replace('"8.7"', '"7.2"')
    Path("devices/wrong.toml").write_text(wrong)
    states = {row.name: row.state for row in listings.devices()}
    assert states["my-board"] == states["gone"] == states["wrong"] == "configured"
    rows = {row.name: row for row in listings.devices(probe=True)}
    assert (rows["my-board"].state, rows["my-board"].usable) == ("reached", True)
    assert (rows["gone"].state, rows["gone"].usable) == ("not reached", False)
    assert "nothing listens" in (rows["gone"].why_not or "")
    assert rows["wrong"].state == "not reached"
    assert "its file says '7.2'" in (rows["wrong"].why_not or "")
    assert rows["a100"].state == "not configured"
    assert main(["devices", "--probe"]) == 0
    assert "reached" in capsys.readouterr().out


def test_a_device_that_says_nothing_is_given_up(server: SshServer, folder: Path):
    added(server, folder)
    server.stop()
    server.start(login="exec sleep 60")
    answer = reach.reach([inventory.find("my-board")], limit_s=1.0)["my-board"]
    assert isinstance(answer, DeviceError)
    assert "did not answer in 1 s" in answer.message


def test_a_phone_with_other_facts_is_not_reached(phone: PhoneDouble, folder: Path):
    """Both files of phones have no serial number: the one phone that is there is one of them."""
    Path("devices").mkdir()
    for name in ("snapdragon-855", "snapdragon-8gen1"):
        Path(f"devices/{name}.toml").write_text(f'benchmark_model = "{TOOL}"\n')
    states = {row.name: row.state for row in listings.devices(probe=True)}
    assert (states["snapdragon-855"], states["snapdragon-8gen1"]) == ("reached", "not reached")


def test_a_place_that_cannot_be_written_is_refused_before_the_device_is_contacted(folder: Path):
    Path("devices").write_text("a file")
    with pytest.raises(UnreadableFile):
        device_add.add(AddRequest(name="q", ssh="me@192.0.2.1"))
    with pytest.raises(UnreadableFile):
        device_add.add(AddRequest(name="q", hub="snapdragon-8gen1"))
