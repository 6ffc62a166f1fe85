"""Homebrew formula."""
from pathlib import Path

# Homebrew itself cannot be installed by a package manager. This is as much of its language as the formula uses.
STUB = Path(__file__).parent / "homebrew.rb"


def test_ruby_can_read_the_formula(machine, _server):
    machine.need("ruby")
    machine.run("ruby", "-wc", machine.package("homebrew/mcp-bridge.rb"))


def test_the_formula_installs_a_program_that_serves_a_session(machine, server):
    machine.need("ruby", "tar")
    system, processor = machine.target.get("homebrew")
    prefix = machine.folder("homebrew")
    machine.run("ruby", "-w", STUB, machine.package("homebrew/mcp-bridge.rb"), system, processor, machine.out / "release", prefix)
    server.serves([prefix / "bin/mcp-bridge", server.url])
    for path in ["share/man/man1/mcp-bridge.1", "etc/bash_completion.d/mcp-bridge", "share/zsh/site-functions/_mcp-bridge",
                 "share/fish/vendor_completions.d/mcp-bridge.fish"]:
        assert (prefix / path).stat().st_size > 0, path


def test_the_formula_has_every_unix_target(machine, _server):
    formula = machine.package("homebrew/mcp-bridge.rb").read_text()
    for target in machine.release.with_target("homebrew"):
        assert machine.release.download(machine.release.archive(target)) in formula
