"""server.json for the MCP Registry."""
import json
import tarfile
import zipfile

from kinds.checksums import sha256


def test_server_json_follows_its_schema(machine, _server):
    machine.check_schema("server.schema.json", json.loads(machine.package("mcp-registry/server.json").read_text()))


def test_server_json_belongs_to_the_packages(machine, _server):
    document = json.loads(machine.package("mcp-registry/server.json").read_text())
    packages = {}
    for package in document["packages"]:
        packages.setdefault(package["registryType"], []).append(package)

    # The registry looks for its name in the published packages.
    with tarfile.open(machine.package("npm/mcp-bridge-[0-9]*.tgz")) as archive:
        main = json.load(archive.extractfile("package/package.json"))
    assert (main["name"], main["version"], main["mcpName"]) == (
        packages["npm"][0]["identifier"], packages["npm"][0]["version"], document["name"])
    with zipfile.ZipFile(machine.package("pypi/*win_arm64.whl")) as wheel:
        name = next(name for name in wheel.namelist() if name.endswith("/METADATA"))
        metadata = wheel.read(name).decode()
    assert f"mcp-name: {document['name']} " in metadata
    assert f"Name: {packages['pypi'][0]['identifier']}\n" in metadata

    assert len(packages["mcpb"]) == len(machine.release.targets)
    for package in packages["mcpb"]:
        assert package["fileSha256"] == sha256(machine.out / "release" / package["identifier"].rsplit("/", 1)[1])
