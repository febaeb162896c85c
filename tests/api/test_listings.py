"""Listings say what was looked at: a device behind a link was not contacted."""

from pathlib import Path

import pytest

from vitdeploy.api import listings
from vitdeploy.cli.main import main


def test_a_configured_device_is_not_called_usable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "devices").mkdir()
    (tmp_path / "devices" / "orin.toml").write_text('host = "192.0.2.1"\n')
    rows = {row.name: row for row in listings.devices()}
    assert (rows["local"].usable, rows["orin"].usable, rows["a100"].usable) == (True, None, False)
    assert rows["orin"].facts["file"] == "devices/orin.toml"
    assert "not contacted" in (rows["orin"].why_not or "")
    assert main(["devices"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("orin"))
    assert line.rstrip().endswith(" configured")
    assert "reached" not in line


def test_a_dry_run_of_gc_removes_nothing_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main(["cache", "gc", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "would be removed" in out
    assert main(["cache", "gc", "--yes"]) == 0
    assert "0 removed" in capsys.readouterr().out
