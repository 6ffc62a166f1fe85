"""Command line of `packaging/build`."""
import sys

from kinds.release import PACKAGING

from .machine import REPOSITORY


def test_what_is_missing_or_wrong_is_said(machine, _server):
    empty = machine.folder("command-line")
    fine = ["--binaries", machine.binaries, "--out", empty / "out", "--repository", REPOSITORY]
    for arguments, expected in [
        ([*fine, "--target", "pdp11-unknown-v6"], "targets.toml has no pdp11-unknown-v6"),
        ([*fine, "--binaries", empty], "mcp-bridge is missing; name the targets that there are with --target"),
        ([*fine, "--out", machine.binaries], "is not empty"),
        ([*fine, "--target", "x86_64-pc-windows-msvc"], "none of the programs runs on this machine; name one that does with --program"),
    ]:
        done = machine.run(sys.executable, PACKAGING / "build", *arguments, check=False)
        assert done.returncode == 1 and done.stderr.startswith("error: ") and expected in done.stderr, done
    assert not (empty / "out").exists()


def test_a_version_that_is_not_that_of_cargo_toml_is_refused(machine, _server):
    program = machine.folder("other-version") / "mcp-bridge"
    program.write_text("#!/bin/sh\necho mcp-bridge 0.0.1\n")
    program.chmod(0o755)
    done = machine.run(sys.executable, PACKAGING / "build", "--binaries", machine.binaries, "--out", machine.scratch / "none",
                       "--repository", REPOSITORY, "--program", program, check=False)
    assert done.returncode == 1 and "is version 0.0.1, but Cargo.toml says" in done.stderr, done


def test_some_targets_can_be_packaged_alone(machine, _server):
    out = machine.scratch / "one-target"
    machine.run(sys.executable, PACKAGING / "build", "--binaries", machine.binaries, "--out", out, "--repository", REPOSITORY,
                "--target", machine.target.triple, "--without", "sbom", "--without", "deb", "--without", "rpm")
    names = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert "release/install.sh" in names and "homebrew/mcp-bridge.rb" in names
    assert not {name for name in names if "windows" in name or "darwin" in name or name.startswith(("scoop", "winget"))}, names
    assert "release/install.ps1" not in names
