"""The doctor of this machine: versions beside names, and commands that install for how we were installed."""

from vitdeploy import _version
from vitdeploy.api.doctor import doctor
from vitdeploy.catalog import packages
from vitdeploy.devices import findings


def test_versions_are_shown():
    found = {finding.what: finding for finding in doctor()}
    assert found["vitdeploy"].found.startswith(_version.__version__)
    version = packages.versions(["safetensors"]).get("safetensors")
    # A busy machine may not import it in the time that the doctor waits.
    assert version is None or found["package safetensors"].found.startswith(f"{version}, ")


def test_a_package_is_shown_with_its_version_and_a_missing_one_with_its_command():
    tested = packages.Tested({"onnx": "not installed"}, ("tensorflow",))
    versions = {"torch": "2.9.1", "tensorflow": "2.21.0"}
    present, missing, slow, together = findings.package_findings(tested, versions, ["torch", "onnx", "tensorflow"])
    assert present.found == "2.9.1, imports"
    assert missing.advice == packages.advice(["onnx"])
    assert (slow.found, slow.state) == ("2.21.0, its import was not waited for", "note")
    assert together.found.startswith("1 ")
    assert packages.versions(["msgspec", "no_such_package"]).keys() == {"msgspec"}
