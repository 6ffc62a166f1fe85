"""Debian packages."""


def test_the_deb_installs_serves_a_session_and_is_removed(machine, server):
    machine.need("dpkg")
    package = machine.package(f"release/mcp-bridge_*_{machine.target.get('debian')}.deb")
    root = machine.folder("debian")
    database = root / "var/lib/dpkg"
    for name in ("updates", "info"):
        (database / name).mkdir(parents=True)
    (database / "status").touch()
    dpkg = ["dpkg", f"--root={root}", "--force-not-root", "--force-script-chrootless", f"--log={root}/log"]

    machine.run(*dpkg, "--install", package)
    assert machine.run("dpkg-query", f"--admindir={database}", "--show", "--showformat=${Status}", "mcp-bridge").stdout == "install ok installed"
    server.serves([root / "usr/bin/mcp-bridge", server.url])
    for path in ["man/man1/mcp-bridge.1.gz", "man/man1/mcp-bridge-login.1.gz", "bash-completion/completions/mcp-bridge",
                 "zsh/vendor-completions/_mcp-bridge", "fish/vendor_completions.d/mcp-bridge.fish", "doc/mcp-bridge/copyright"]:
        assert (root / "usr/share" / path).stat().st_size > 0, path

    machine.run(*dpkg, "--remove", "mcp-bridge")
    assert not (root / "usr/bin/mcp-bridge").exists()


def test_the_manual_page_and_the_completions_work_where_they_are_installed(machine, _server):
    machine.need("man", "bash")
    root = machine.folder("debian-documents")
    machine.run("dpkg", "-x", machine.package(f"release/mcp-bridge_*_{machine.target.get('debian')}.deb"), root)
    page = machine.run("man", "-l", root / "usr/share/man/man1/mcp-bridge.1.gz", env=machine.environment(MANWIDTH="80", LC_ALL="C.UTF-8"))
    assert "SYNOPSIS" in page.stdout and not page.stderr, page.stderr
    script = """
source "$1"
set -- $(complete -p mcp-bridge)
while [ "$1" != -F ]; do shift; done
COMP_WORDS=(mcp-bridge log) COMP_CWORD=1
"$2" mcp-bridge log mcp-bridge
echo "${COMPREPLY[*]}"
"""
    found = machine.run("bash", "-c", script, "-", root / "usr/share/bash-completion/completions/mcp-bridge").stdout
    assert found.split() == ["login", "logout"], found
