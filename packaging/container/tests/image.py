"""An image in an OCI layout: its configuration, and its root file system, unpacked."""
from __future__ import annotations

import json
import struct
import subprocess
from pathlib import Path
from typing import Any

PT_INTERP = 3  # program header of a dynamic loader (ELF)


class Layout:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        index = json.loads((directory / "index.json").read_text())
        self.entry = index["manifests"][0]
        self.manifests = self.blob(self.entry["digest"])["manifests"]

    def blob(self, digest: str) -> dict[str, Any]:
        return json.loads((self.directory / "blobs" / digest.replace(":", "/")).read_text())

    def architectures(self) -> list[str]:
        return [manifest["platform"]["architecture"] for manifest in self.manifests]

    def configuration(self, architecture: str) -> dict[str, Any]:
        chosen = next(it for it in self.manifests if it["platform"]["architecture"] == architecture)
        return self.blob(self.blob(chosen["digest"])["config"]["digest"])

    def unpack(self, architecture: str, work: Path) -> Path:
        """The root file system, with the places for mounts that a runtime makes."""
        name = self.entry["annotations"]["org.opencontainers.image.ref.name"]
        single = work / f"{self.directory.name}-{architecture}"
        quiet = {"check": True, "stdout": subprocess.DEVNULL}
        subprocess.run(
            ["skopeo", "copy", "--override-arch", architecture, f"oci:{self.directory}:{name}", f"oci:{single}:test"], **quiet
        )
        bundle = work / f"{self.directory.name}-{architecture}-bundle"
        subprocess.run(["umoci", "unpack", "--image", f"{single}:test", str(bundle)], **quiet)
        bundle.chmod(0o755)
        return bundle / "rootfs"


def is_static(program: Path) -> bool:
    data = program.read_bytes()
    if data[:5] != b"\x7fELF\x02":
        return False
    offset, = struct.unpack_from("<Q", data, 0x20)
    size, count = struct.unpack_from("<HH", data, 0x36)
    kinds = [struct.unpack_from("<I", data, offset + size * number)[0] for number in range(count)]
    return PT_INTERP not in kinds
