"""Debian packages, by dpkg-deb: it is on every Debian and Ubuntu, and respects SOURCE_DATE_EPOCH."""
import gzip
import os
import subprocess
import tempfile
from pathlib import Path

from . import unix_tree
from .release import tilde_version
from .reproducible import File, tree

TOOLS = {"dpkg-deb": "the package dpkg"}


def make(release, out):
    for target in release.with_target("debian"):
        architecture = target.get("debian")
        name = release.name("debian")
        package = out.release / f"{name}_{tilde_version(release.version)}_{architecture}.deb"
        documents = f"usr/share/doc/{name}"
        files = [file for file in unix_tree.files(release, target, "zsh/vendor-completions", documents)
                 if not file.path.endswith("/LICENSE")]
        files.append(File(f"{documents}/copyright", release.license_files["LICENSE"]))
        files.append(File(f"{documents}/changelog.gz", gzip.compress(release.changelog, 9, mtime=0)))
        files.append(File("DEBIAN/control", _control(release, name, architecture, files).encode()))

        with tempfile.TemporaryDirectory() as directory:
            root = Path(directory) / "root"
            root.mkdir()
            tree(root, files, release.epoch)
            # xz, not zstd: dpkg of Debian 11 has no zstd.
            command = ["dpkg-deb", "--root-owner-group", "-Zxz", "--build", root, package]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL,
                           env=os.environ | {"SOURCE_DATE_EPOCH": str(release.epoch)})


def _control(release, name, architecture, files):
    kibibytes = sum(-(-len(file.data) // 1024) for file in files)
    # No Depends: the program is static. xdg-open opens the sign-in page; without it the address is printed.
    return f"""\
Package: {name}
Version: {tilde_version(release.version)}
Architecture: {architecture}
Maintainer: {release.name("maintainer")}
Installed-Size: {kibibytes}
Suggests: xdg-utils
Section: net
Priority: optional
Homepage: {release.repository}
Description: {release.name("summary")}
 {release.description}.
"""
