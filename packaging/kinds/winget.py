"""winget manifests, for a pull request to microsoft/winget-pkgs (schema 1.12)."""
import json
import time

from .checksums import sha256

SCHEMA = "1.12.0"
LOCALE = "en-US"


def make(release, out):
    targets = release.with_target("winget")
    if not targets:
        return
    identifier = release.name("winget")
    common = {"PackageIdentifier": identifier, "PackageVersion": release.version}
    manifests = {
        "version": ("", {"DefaultLocale": LOCALE}),
        "installer": (".installer", _installer(release, out, targets)),
        "defaultLocale": (f".locale.{LOCALE}", _locale(release)),
    }
    for kind, (suffix, fields) in manifests.items():
        lines = [f"# yaml-language-server: $schema=https://aka.ms/winget-manifest.{kind}.{SCHEMA}.schema.json", ""]
        lines += _yaml(common | fields | {"ManifestType": kind, "ManifestVersion": SCHEMA})
        path = out.folder("winget") / f"{identifier}{suffix}.yaml"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def _installer(release, out, targets):
    installers = [
        {
            "Architecture": target.get("winget"),
            "NestedInstallerFiles": [
                {
                    "RelativeFilePath": f"{release.archive_stem(target)}\\{release.program}.exe",
                    "PortableCommandAlias": release.program,
                }
            ],
            "InstallerUrl": release.download(release.archive(target)),
            "InstallerSha256": sha256(out.release / release.archive(target)).upper(),
        }
        for target in targets
    ]
    return {
        "InstallerType": "zip",
        "NestedInstallerType": "portable",
        "Commands": [release.program],
        "ReleaseDate": time.strftime("%Y-%m-%d", time.gmtime(release.epoch)),
        "Installers": installers,
    }


def _locale(release):
    return {
        "PackageLocale": LOCALE,
        "Publisher": release.name("publisher"),
        "PackageName": release.program,
        "PackageUrl": release.repository,
        "License": release.license,
        "LicenseUrl": f"{release.repository}/blob/v{release.version}/LICENSE",
        "ShortDescription": release.name("summary"),
        "Description": release.description,
        "Moniker": release.program,
        "Tags": release.keywords,
        "ReleaseNotesUrl": f"{release.repository}/releases/tag/v{release.version}",
    }


def _yaml(value, indent=""):
    """Lines of YAML. Strings are written as in JSON, which is a part of YAML."""
    for key, item in value.items():
        if isinstance(item, str):
            yield f"{indent}{key}: {json.dumps(item)}"
            continue
        yield f"{indent}{key}:"
        for element in item:
            if isinstance(element, str):
                yield f"{indent}- {json.dumps(element)}"
                continue
            first, *rest = _yaml(element, f"{indent}  ")
            yield f"{indent}- {first.lstrip()}"
            yield from rest
