"""Scripts that the release workflow runs beside `packaging/build`."""
import base64
import shutil
import stat
from pathlib import Path

from kinds.release import PACKAGING

from .machine import Skip


def test_the_notes_of_a_release_are_its_section_of_the_changelog(machine, _server):
    notes = machine.run(PACKAGING / "release-notes", "Unreleased").stdout
    assert notes.startswith("### ") and "\n## " not in notes, notes
    assert machine.run(PACKAGING / "release-notes", "v0.0.0-none", check=False).returncode == 1


def test_a_windows_program_is_signed(machine, _server):
    machine.need("osslsigncode", "openssl")
    directory = machine.folder("sign-windows")
    key, certificate, bundle = (directory / name for name in ("key.pem", "certificate.pem", "certificate.pfx"))
    machine.run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=Test", "-keyout", key, "-out", certificate,
                "-addext", "extendedKeyUsage=codeSigning")
    machine.run("openssl", "pkcs12", "-export", "-inkey", key, "-in", certificate, "-passout", "pass:secret", "-out", bundle)
    program = directory / "program.exe"
    shutil.copy(some_windows_program(), program)
    before = program.read_bytes()

    sign = PACKAGING / "sign-windows"
    machine.run(sign, program)
    assert program.read_bytes() == before

    env = machine.environment(WINDOWS_CERTIFICATE=base64.b64encode(bundle.read_bytes()).decode(), WINDOWS_CERTIFICATE_PASSWORD="secret",
                              WINDOWS_TIMESTAMP="")
    machine.run(sign, program, env=env)
    machine.run("osslsigncode", "verify", "-CAfile", certificate, "-in", program)


def test_a_macos_program_is_signed_and_notarised_by_apples_tools(machine, _server):
    """With programs of the same names that write down how they are called: Apple's exist on macOS only."""
    machine.need("bash", "openssl")
    directory = machine.folder("sign-macos")
    calls = directory / "calls"
    for name in ("security", "codesign", "ditto", "xcrun"):
        stub = directory / name
        answer = 'case "$1" in find-identity) echo \'  1) 0A "Developer ID Application: Test (T)"\' ;; esac\n'
        stub.write_text(f'#!/bin/sh\necho "{name} $*" >>{calls}\n{answer}')
        stub.chmod(stub.stat().st_mode | stat.S_IXUSR)
    program = directory / "mcp-bridge"
    program.touch()

    sign = PACKAGING / "sign-macos"
    path = f"{directory}:{machine.environment()['PATH']}"
    assert "::warning::" in machine.run(sign, program, env=machine.environment(PATH=path)).stdout
    assert not calls.exists()

    secret = base64.b64encode(b"certificate").decode()
    env = machine.environment(PATH=path, APPLE_CERTIFICATE=secret, APPLE_CERTIFICATE_PASSWORD="secret", APPLE_API_KEY=secret,
                              APPLE_API_KEY_ID="id", APPLE_API_ISSUER="issuer")
    machine.run(sign, program, env=env)
    called = [line.split()[:3] for line in calls.read_text().splitlines()]
    assert [line[:2] for line in called] == [
        ["security", "create-keychain"], ["security", "unlock-keychain"], ["security", "import"], ["security", "set-key-partition-list"],
        ["security", "find-identity"], ["codesign", "--force"], ["codesign", "--verify"], ["ditto", "-c"], ["xcrun", "notarytool"],
        ["security", "delete-keychain"]], called
    assert '--sign Developer ID Application: Test (T)' in calls.read_text()


def some_windows_program():
    """A program for Windows that pip brings along."""
    import pip

    found = Path(pip.__file__).parent / "_vendor/distlib/w64.exe"
    if not found.exists():
        raise Skip("pip has no program for Windows, which could be signed")
    return found
