"""Device files: those that ship, those that take their place, and those that are wrong."""

import re
from pathlib import Path

import msgspec
import pytest

from vitdeploy.catalog.fact_table import DeviceFacts
from vitdeploy.devices import inventory
from vitdeploy.errors import DeviceError, UnreadableFile, UsageError

NAMES = {"local", "orin", "a100", "snapdragon-8gen1", "snapdragon-855"}
MINE = 'name = "orin"\ntitle = "mine"\nlink = "ssh"\nhost = "10.0.0.2"\ntargets = ["onnx-fp32"]\n'


def test_every_device_of_the_contract_ships():
    assert set(inventory.load([inventory.SHIPPED]).devices) == NAMES


def test_a_later_file_is_merged_key_by_key_and_announced(tmp_path: Path):
    """The file of four lines that docs/jetson.md shows: it has no name, title, link or targets of its own."""
    (tmp_path / "orin.toml").write_text('host = "10.0.0.2"\nuser = "me"\npower_mode = "MAXN"\nhold_clocks = true\n')
    shipped = inventory.load([inventory.SHIPPED]).devices["orin"]
    merged = inventory.load([inventory.SHIPPED, tmp_path])
    device = merged.devices["orin"]
    assert device == msgspec.structs.replace(shipped, host="10.0.0.2", user="me", power_mode="MAXN", hold_clocks=True)
    assert merged.files["orin"] == tmp_path / "orin.toml"
    (notice,) = merged.notices
    assert notice == (
        f"device orin: {tmp_path / 'orin.toml'} sets host, user, power_mode, hold_clocks; "
        f"the rest is from {inventory.SHIPPED / 'orin.toml'}"
    )


def test_facts_are_merged_key_by_key_too(tmp_path: Path):
    (tmp_path / "snapdragon-855.toml").write_text('[facts]\nsoc_model = "SM8150P"\n')
    facts = inventory.load([inventory.SHIPPED, tmp_path]).devices["snapdragon-855"].facts
    assert facts == {"soc_model": "SM8150P", "cores": "4+3+1"}


def test_the_line_that_the_hint_names_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    hint = inventory.unreachable_error(inventory.find("orin"), "not configured").hint
    line, file = hint.split("`")[1], hint.split("into ")[1].rstrip(".")
    assert (line, file) == ('host = "ADDRESS"', "./devices/orin.toml")
    (tmp_path / "devices").mkdir()
    (tmp_path / file).write_text(line + "\n")
    assert inventory.find("orin").host == "ADDRESS"
    assert inventory.unreachable(inventory.find("orin")) is None


def test_folders_are_the_working_and_the_configuration_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for folder, title in ((tmp_path / "devices", "here"), (tmp_path / "config/vitdeploy/devices", "configured")):
        folder.mkdir(parents=True)
        (folder / "orin.toml").write_text(MINE.replace("mine", title))
    assert inventory.find("orin").title == "configured"
    assert len(inventory.load().notices) == 2


def test_an_unknown_device_offers_the_nearest():
    with pytest.raises(UsageError, match="unknown device 'oren'") as refused:
        inventory.find("oren")
    assert "orin" in refused.value.hint


@pytest.mark.parametrize("name", sorted(NAMES - {"local"}))
def test_a_device_that_is_not_configured_is_a_device_error_with_the_line_to_write(name: str):
    device = inventory.load([inventory.SHIPPED]).devices[name]
    with pytest.raises(DeviceError, match="it is not configured: its file names no"):
        inventory.connect(device)


def test_this_machine_is_reachable():
    device = inventory.find("local")
    assert inventory.unreachable(device) is None
    with inventory.connect(device) as link:
        assert link.run(["true"], timeout_s=10).exit_code == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ('password = "x"\n', "password"),
        ("port = 0\n", r"\$.port"),
        ("threads = 0\n", r"\$.threads"),
        ('threads = "many"\n', r"\$.threads"),
        ('source = "', "device file"),
    ],
)
def test_a_wrong_device_file_is_told_by_its_field(tmp_path: Path, change: str, words: str):
    (tmp_path / "orin.toml").write_text(MINE + change)
    with pytest.raises(UnreadableFile, match=words):
        inventory.load([tmp_path])


def test_a_device_file_is_named_as_its_device(tmp_path: Path):
    (tmp_path / "box.toml").write_text(MINE)
    with pytest.raises(UnreadableFile, match="names 'orin'"):
        inventory.load([tmp_path])


def test_a_target_that_is_none_is_refused(tmp_path: Path):
    (tmp_path / "orin.toml").write_text(MINE.replace("onnx-fp32", "onnx-fp31"))
    with pytest.raises(UnreadableFile, match="no target 'onnx-fp31'"):
        inventory.load([tmp_path])


def test_the_rule_for_threads_is_applied_to_what_is_found():
    local = inventory.find("local")
    assert inventory.threads_of(local, DeviceFacts({"cores_physical": 6})) == 6
    assert inventory.threads_of(msgspec.structs.replace(local, threads="big-cores"), DeviceFacts({"cores_big": 4})) == 4
    assert inventory.threads_of(msgspec.structs.replace(local, threads=3), DeviceFacts({})) == 3
    assert inventory.threads_of(local, DeviceFacts({})) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('facts = {"a" = ' + "[" * 100_000 + "]" * 100_000 + "}", "not a valid device file"),
        ('title = "a\\u0000b"', "control character - at `$.title`"),
        ('host = "a\\u001b[31m"', "control character - at `$.host`"),
        ('user = "a\\u202eb"', "control character - at `$.user`"),
    ],
    ids=["deep", "nul", "escape", "direction"],
)
def test_hostile_device_files_are_refused(tmp_path: Path, text: str, said: str):
    lines = {"title": 'title = "t"', "link": 'link = "ssh"', "targets": 'targets = ["onnx-fp32"]'}
    lines[text.split(maxsplit=1)[0]] = text
    (tmp_path / "box.toml").write_text("\n".join(lines.values()))
    with pytest.raises(UnreadableFile, match=re.escape(said)):
        inventory.read(tmp_path / "box.toml")
