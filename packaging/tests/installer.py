"""Installer scripts, with the release page on a local HTTP server."""
import contextlib
import functools
import http.server
import shutil
import threading


def test_the_shell_installer_installs_a_program_that_serves_a_session(machine, server):
    machine.need("sh", "curl")
    directory = machine.scratch / "installed"
    with release_page(machine.out / "release") as address:
        done = install(machine, address, directory)
        assert f"mcp-bridge {machine.release.version}" in done.stdout and "hint: add" in done.stdout, done.stdout
        server.serves([directory / "mcp-bridge", server.url])
        # Again, over the one that is there.
        install(machine, address, directory)
    assert [path.name for path in directory.iterdir()] == ["mcp-bridge"]


def test_the_shell_installer_works_with_wget(machine, _server):
    machine.need("sh", "wget")
    programs = machine.folder("without-curl")
    for name in ["sh", "wget", "sha256sum", "tar", "gzip", "uname", "mktemp", "rm", "cp", "mv", "chmod", "mkdir", "cut", "cat"]:
        (programs / name).symlink_to(shutil.which(name))
    with release_page(machine.out / "release") as address:
        install(machine, address, machine.scratch / "by-wget", PATH=str(programs))
    assert (machine.scratch / "by-wget/mcp-bridge").is_file()


def test_the_shell_installer_refuses_another_archive(machine, _server):
    machine.need("sh", "curl")
    page = machine.folder("changed-release")
    shutil.copy(machine.out / "release/install.sh", page)
    archive = machine.release.archive(machine.target)
    (page / archive).write_bytes((machine.out / "release" / archive).read_bytes() + b"changed")
    directory = machine.scratch / "not-installed"
    with release_page(page) as address:
        done = install(machine, address, directory, check=False)
    assert done.returncode == 1 and "wrong checksum" in done.stderr, done
    assert not directory.exists()


def test_half_a_shell_installer_does_nothing(machine, _server):
    script = (machine.out / "release/install.sh").read_bytes()
    directory = machine.scratch / "half"
    for part in range(1, 8):
        half = script[:len(script) * part // 8].decode(errors="ignore")
        machine.run("sh", "-s", input=half, check=False, env=machine.environment(MCP_BRIDGE_INSTALL_DIR=str(directory)))
        assert not directory.exists()


def test_shellcheck_finds_nothing(machine, _server):
    machine.need("shellcheck")
    machine.run("shellcheck", machine.out / "release/install.sh")


def test_powershell_can_read_its_installer(machine, _server):
    machine.need("pwsh")
    script = "$e = $null; [void][Management.Automation.Language.Parser]::ParseFile($args[0], [ref]$null, [ref]$e); $e; exit $e.Count"
    machine.run("pwsh", "-NoProfile", "-Command", script, machine.out / "release/install.ps1")


def test_a_grammar_of_powershell_can_read_its_installer(machine, _server):
    """Less than PowerShell's own parser, but it is a package for any machine."""
    script = """
import sys, tree_sitter, tree_sitter_powershell
parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_powershell.language()))
root = parser.parse(sys.stdin.buffer.read()).root_node
sys.exit(str(root) if root.has_error else 0)
"""
    machine.run(machine.python_tool("python"), "-c", script, input=(machine.out / "release/install.ps1").read_text())


def test_the_powershell_installer_has_the_checksums_of_the_archives(machine, _server):
    script = (machine.out / "release/install.ps1").read_text()
    sums = dict(reversed(line.split()) for line in (machine.out / "release/SHA256SUMS").read_text().splitlines())
    archives = [name for name in sums if name.endswith(".zip")]
    assert len(archives) == 2
    for name in archives:
        assert sums[name] in script, name
    assert "@program@" not in script


def install(machine, address, directory, check=True, **environment):
    env = machine.environment(MCP_BRIDGE_DOWNLOAD=address, MCP_BRIDGE_INSTALL_DIR=str(directory), **environment)
    return machine.run("sh", machine.out / "release/install.sh", env=env, check=check)


@contextlib.contextmanager
def release_page(directory):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=directory)) as page:
        threading.Thread(target=page.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{page.server_port}"
        page.shutdown()
