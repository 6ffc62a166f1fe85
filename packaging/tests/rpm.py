"""RPM packages."""


def test_the_rpm_installs_serves_a_session_and_is_removed(machine, server):
    machine.need("rpm")
    package = machine.package(f"release/mcp-bridge-*.{machine.target.get('rpm')}.rpm")
    root = machine.folder("rpm")
    rpm = ["rpm", "--root", root, "--dbpath", "/var/lib/rpm"]
    machine.run(*rpm, "--initdb")
    # Nothing is required but features of rpm itself, which the empty database cannot know.
    required = machine.run("rpm", "-qp", "--requires", package).stdout.split("\n")
    assert all(line.startswith("rpmlib(") for line in required if line), required

    machine.run(*rpm, "--install", "--noplugins", package)
    machine.run(*rpm, "--verify", "--noplugins", "mcp-bridge")
    server.serves([root / "usr/bin/mcp-bridge", server.url])
    for path in ["man/man1/mcp-bridge.1.gz", "bash-completion/completions/mcp-bridge", "zsh/site-functions/_mcp-bridge",
                 "fish/vendor_completions.d/mcp-bridge.fish", "doc/mcp-bridge/LICENSE"]:
        assert (root / "usr/share" / path).stat().st_size > 0, path

    machine.run(*rpm, "--erase", "--noplugins", "mcp-bridge")
    assert not (root / "usr/bin/mcp-bridge").exists() and not (root / "usr/share/doc/mcp-bridge").exists()
