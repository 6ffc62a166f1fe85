"""Software bill of materials (CycloneDX 1.6) for each target, from what cargo resolves for it.

`cargo metadata` has everything that is needed, so no other tool has to be compiled for it. Crates that only tests or build scripts
use are left out. (`cargo auditable build` puts the same list into the program itself, when the release is built with it.)
"""
import json
import subprocess
import time
import tomllib
import uuid

from .release import ROOT

TOOLS = {"cargo": "Rust"}


def make(release, out):
    checksums = _checksums()
    for target in release.targets:
        metadata = _metadata(target)
        name = f"{release.archive_stem(target)}.cdx.json"
        document = _document(release, target, metadata, checksums)
        (out.release / name).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8", newline="\n")


def _metadata(target):
    command = ["cargo", "metadata", "--format-version=1", "--locked", f"--filter-platform={target.triple}"]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)


def _checksums():
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text(encoding="utf-8"))
    return {(package["name"], package["version"]): package.get("checksum") for package in lock["package"]}


def _document(release, target, metadata, checksums):
    packages = {package["id"]: package for package in metadata["packages"]}
    root = next(id for id, package in packages.items() if package["name"] == release.cargo["package"]["name"])
    needed = _needed(metadata, root)
    components = {id: _component(packages[id], checksums) for id in needed}
    main = components.pop(root) | {"type": "application"}
    references = {id: _reference(packages[id]) for id in needed}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        # The same for the same release and target.
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, release.download(release.archive(target)))}",
        "version": 1,
        "metadata": {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(release.epoch)),
            "component": main,
            "properties": [{"name": "cdx:rustc:sbom:target:triple", "value": target.triple}],
        },
        "components": sorted(components.values(), key=lambda component: component["bom-ref"]),
        "dependencies": [
            {"ref": references[id], "dependsOn": sorted(references[used] for used in uses)}
            for id, uses in sorted(needed.items(), key=lambda entry: references[entry[0]])
        ],
    }


def _needed(metadata, root):
    """The packages that become part of the program, each with those that it uses itself."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    needed, waiting = {}, [root]
    while waiting:
        id = waiting.pop()
        if id in needed:
            continue
        uses = [dependency["pkg"] for dependency in nodes[id]["deps"]
                if any(kind["kind"] is None for kind in dependency["dep_kinds"])]
        needed[id] = sorted(set(uses))
        waiting += uses
    return needed


def _component(package, checksums):
    component = {
        "type": "library",
        "bom-ref": _reference(package),
        "name": package["name"],
        "version": package["version"],
        "scope": "required",
        "purl": _reference(package),
    }
    if checksum := checksums.get((package["name"], package["version"])):
        component["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if license := package["license"]:
        # Old manifests separate alternatives with a slash.
        component["licenses"] = [{"expression": license.replace("/", " OR ")}]
    if repository := package["repository"]:
        component["externalReferences"] = [{"type": "vcs", "url": repository}]
    return component


def _reference(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"
