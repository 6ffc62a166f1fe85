"""RPM packages, by rpmbuild: the format's own tool, which Debian and Ubuntu have as well (package rpm)."""
import os
import subprocess
import tempfile
from pathlib import Path

from . import unix_tree
from .release import tilde_version
from .reproducible import tree

TOOLS = {"rpmbuild": "the package rpm (Debian, Ubuntu) or rpm-build (Fedora)"}


def make(release, out):
    for target in release.with_target("rpm"):
        name, architecture = release.name("rpm"), target.get("rpm")
        documents = f"usr/share/doc/{name}"
        files = sorted(unix_tree.files(release, target, "zsh/site-functions", documents))
        package = f"{name}-{tilde_version(release.version)}-1.{architecture}.rpm"

        with tempfile.TemporaryDirectory() as directory:
            root, spec = Path(directory) / "root", Path(directory) / "package.spec"
            root.mkdir()
            tree(root, files, release.epoch)
            spec.write_text(_spec(release, name, files), encoding="utf-8")
            defines = {
                "_topdir": f"{directory}/top",
                "_rpmfilename": package,
                "_rpmdir": out.release,
                "files_to_install": root,
            }
            command = ["rpmbuild", "-bb", "--quiet", f"--target={architecture}-linux", spec]
            for key, value in defines.items():
                command += ["--define", f"{key} {value}"]
            subprocess.run(command, check=True, env=os.environ | {"SOURCE_DATE_EPOCH": str(release.epoch)})


def _spec(release, name, files):
    marks = {f"usr/share/doc/{name}/README.md": "%doc "}
    marks |= {f"usr/share/doc/{name}/{license}": "%license " for license in release.license_files}
    listed = "\n".join(f"{marks.get(file.path, '')}/{file.path}" for file in files)
    return f"""\
# The same bytes each time.
%global _buildhost reproducible
%global use_source_date_epoch_as_buildtime 1
%global clamp_mtime_to_source_date_epoch 1
# The program is finished, and static: nothing to strip, to compress or to look for dependencies in.
%global debug_package %{{nil}}
%global __os_install_post %{{nil}}
%global _build_id_links none
# xz, not zstd: rpm of RHEL 7 and 8 reads it.
%global _binary_payload w6.xzdio

Name: {name}
Version: {tilde_version(release.version)}
Release: 1
Summary: {release.name("summary")}
License: {release.license}
URL: {release.repository}
Vendor: {release.name("publisher")}
AutoReqProv: no

%description
{release.description}.

%install
mkdir -p %{{buildroot}}
cp -a %{{files_to_install}}/. %{{buildroot}}/

%files
%defattr(-,root,root,-)
%dir /usr/share/doc/{name}
{listed}
"""
