"""Scoop manifest, for a bucket (https://github.com/ScoopInstaller/Scoop/wiki/App-Manifests)."""
import json

from .checksums import sha256


def make(release, out):
    targets = release.with_target("scoop")
    if not targets:
        return
    architectures = {
        target.get("scoop"): {
            "url": release.download(release.archive(target)),
            "hash": sha256(out.release / release.archive(target)),
            "extract_dir": release.archive_stem(target),
        }
        for target in targets
    }
    # What Scoop's robot replaces when there is a new version.
    updates = {
        target.get("scoop"): {
            "url": release.download(release.archive(target)).replace(release.version, "$version"),
            "extract_dir": release.archive_stem(target).replace(release.version, "$version"),
        }
        for target in targets
    }
    manifest = {
        "version": release.version,
        "description": release.name("summary"),
        "homepage": release.repository,
        "license": release.license,
        "architecture": architectures,
        "bin": f"{release.program}.exe",
        "checkver": "github",
        "autoupdate": {"architecture": updates, "hash": {"url": "$baseurl/SHA256SUMS"}},
    }
    path = out.folder("scoop") / f"{release.name('scoop')}.json"
    path.write_text(json.dumps(manifest, indent=4) + "\n", encoding="utf-8", newline="\n")
