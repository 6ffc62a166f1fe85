"""Scoop and winget manifests."""
import json

from kinds.checksums import sha256


def test_the_scoop_manifest_follows_its_schema(machine, _server):
    machine.check_schema("scoop.json", json.loads(machine.package("scoop/mcp-bridge.json").read_text()))


def test_the_scoop_manifest_names_the_archives(machine, _server):
    manifest = json.loads(machine.package("scoop/mcp-bridge.json").read_text())
    for target in machine.release.with_target("scoop"):
        entry = manifest["architecture"][target.get("scoop")]
        check_archive(machine, entry["url"], entry["hash"])
        update = manifest["autoupdate"]["architecture"][target.get("scoop")]["url"]
        assert update.replace("$version", machine.release.version) == entry["url"]


def test_the_winget_manifests_follow_their_schemas(machine, _server):
    for kind, suffix in {"version": "", "installer": ".installer", "defaultLocale": ".locale.en-US"}.items():
        machine.check_schema(f"winget-manifest.{kind}.1.12.0.schema.json", read_yaml(machine, f"winget/example.mcp-bridge{suffix}.yaml"))


def test_the_winget_manifest_names_the_archives(machine, _server):
    installers = read_yaml(machine, "winget/example.mcp-bridge.installer.yaml")["Installers"]
    assert {installer["Architecture"] for installer in installers} == {"x64", "arm64"}
    for installer in installers:
        check_archive(machine, installer["InstallerUrl"], installer["InstallerSha256"].lower())


def check_archive(machine, url, sum):
    name = url.rsplit("/", 1)[1]
    assert url == machine.release.download(name)
    assert sha256(machine.out / "release" / name) == sum


def read_yaml(machine, pattern):
    script = "import json, sys, yaml; print(json.dumps(yaml.safe_load(sys.stdin), default=str))"
    return json.loads(machine.run(machine.python_tool("python"), "-c", script, input=machine.package(pattern).read_text()).stdout)
