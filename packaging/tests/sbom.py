"""Software bill of materials."""
import json


def test_the_sbom_is_cyclonedx(machine, _server):
    script = """
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
sys.exit(str(JsonStrictValidator(SchemaVersion.V1_6).validate_str(sys.stdin.read()) or "") or 0)
"""
    for path in sorted((machine.out / "release").glob("*.cdx.json")):
        machine.run(machine.python_tool("python"), "-c", script, input=path.read_text())


def test_the_sbom_has_what_is_in_the_program_and_only_that(machine, _server):
    linux = components(machine, "x86_64-unknown-linux-musl")
    windows = components(machine, "x86_64-pc-windows-msvc")
    for found in (linux, windows):
        assert {"rustls", "serde_json", "mcp-bridge-core"} <= found
        # Tests, benches and examples.
        assert not {"axum", "rmcp", "mcp-bridge-testkit"} & found
    assert "windows-sys" in windows - linux


def components(machine, triple):
    document = json.loads(machine.package(f"release/*-{triple}.cdx.json").read_text())
    known = {component["bom-ref"] for component in document["components"]} | {document["metadata"]["component"]["bom-ref"]}
    assert {row["ref"] for row in document["dependencies"]} == known
    return {component["name"] for component in document["components"]}
