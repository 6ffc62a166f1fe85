"""Archives of the release page."""
import zipfile


def test_the_archive_has_everything_and_its_program_serves_a_session(machine, server):
    directory = machine.folder("archive")
    archive = machine.package(f"release/mcp-bridge-*-{machine.target.triple}.tar.gz")
    machine.run("tar", "-xzf", archive, "-C", directory)
    content = directory / machine.release.archive_stem(machine.target)
    for name in ["LICENSE", "THIRD_PARTY_LICENSES", "README.md", "man/mcp-bridge.1", "man/mcp-bridge-login.1",
                 "completions/mcp-bridge.bash", "completions/_mcp-bridge", "completions/mcp-bridge.fish"]:
        assert (content / name).stat().st_size > 0, name
    server.serves([content / "mcp-bridge", server.url])


def test_windows_gets_a_zip_file_with_an_exe(machine, _server):
    for triple in ("x86_64-pc-windows-msvc", "aarch64-pc-windows-msvc"):
        with zipfile.ZipFile(machine.package(f"release/mcp-bridge-*-{triple}.zip")) as archive:
            assert archive.testzip() is None
            assert any(name.endswith(f"-{triple}/mcp-bridge.exe") for name in archive.namelist())
