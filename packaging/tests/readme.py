"""The README in packages, which registries show at addresses of their own."""
import re
import tarfile
import zipfile

from kinds.release import ROOT


def test_links_of_the_readme_in_each_package_are_absolute_and_lead_to_files(machine, _server):
    readmes = dict(_readmes(machine))
    assert {name.rsplit(".", 1)[-1] for name in readmes} == {"tgz", "whl", "mcpb", "gz", "zip"}, sorted(readmes)
    start = re.escape(f"{machine.release.repository}/") + r"(?:blob|raw)/" + re.escape(f"v{machine.release.version}/")
    for name, readme in readmes.items():
        links = re.findall(r"\]\(([^)]+)\)", readme)
        assert len(links) >= 10, (name, links)
        for link in links:
            if found := re.fullmatch(start + "([^#]+)(?:#.*)?", link):
                assert (ROOT / found[1]).is_file(), (name, link)
            else:
                assert link.startswith(("https://", "#")), (name, link)


def _readmes(machine):
    for path in sorted(machine.out.rglob("*")):
        if path.name.endswith((".tgz", ".tar.gz")):
            with tarfile.open(path) as archive:
                found = [name for name in archive.getnames() if name.endswith("/README.md")]
                # The packages with the program for one platform have a line that leads to the main package.
                if found and not re.match(r"mcp-bridge-(linux|darwin|win32)-", path.name):
                    yield path.name, archive.extractfile(found[0]).read().decode()
        elif path.suffix in (".whl", ".mcpb", ".zip"):
            with zipfile.ZipFile(path) as archive:
                found = [name for name in archive.namelist() if name.endswith(("README.md", ".dist-info/METADATA"))]
                yield path.name, archive.read(found[0]).decode()
