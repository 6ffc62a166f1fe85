"""Python wheels with the program as a script, for pip, pipx and uvx.

A wheel with one program is a zip file with a few metadata files (https://packaging.python.org/specifications/binary-distribution-format).
maturin and setuptools are not used, because they build the program themselves and cannot package one that was signed.
"""
import base64
import hashlib
import re

from .release import TEMPLATES
from .reproducible import File, zip_file


def make(release, out):
    for target in release.with_target("wheel"):
        distribution = f"{_module(release)}-{package_version(release)}"
        tags = target.get("wheel")
        files = list(_files(release, target, distribution))
        files.append(_record(files, f"{distribution}.dist-info/RECORD"))
        zip_file(out.folder("pypi") / f"{distribution}-py3-none-{tags}.whl", files, release.epoch)


def _files(release, target, distribution):
    module, program = _module(release), f"{release.program}{target.suffix}"
    yield File(f"{distribution}.data/scripts/{program}", target.program.read_bytes(), executable=True)
    yield File(f"{module}/__init__.py", (TEMPLATES / "python-launcher.py").read_bytes().replace(b"@program@", release.program.encode()))
    yield File(f"{module}/__main__.py", f"from {module} import main\n\nmain()\n".encode())

    information = f"{distribution}.dist-info"
    yield File(f"{information}/METADATA", _metadata(release))
    yield File(f"{information}/WHEEL", _wheel(target))
    # `uvx NAME` and `pipx run NAME` look for a command with the name of the package.
    if release.name("pypi") != release.program:
        yield File(f"{information}/entry_points.txt", f"[console_scripts]\n{release.name('pypi')} = {module}:main\n".encode())
    for name, data in release.license_files.items():
        yield File(f"{information}/licenses/{name}", data)


def _metadata(release):
    licenses = "".join(f"License-File: {name}\n" for name in release.license_files)
    header = f"""\
Metadata-Version: 2.4
Name: {release.name("pypi")}
Version: {package_version(release)}
Summary: {release.description}
Author: {release.name("publisher")}
Keywords: {",".join(release.keywords)}
License-Expression: {release.license}
{licenses}\
Project-URL: Repository, {release.repository}
Requires-Python: >=3.7
Description-Content-Type: text/markdown

<!-- mcp-name: {release.name("mcp-registry")} -->

"""
    return header.encode() + release.readme


def _wheel(target):
    tags = "".join(f"Tag: py3-none-{tag}\n" for tag in target.get("wheel").split("."))
    return f"Wheel-Version: 1.0\nGenerator: packaging/build\nRoot-Is-Purelib: false\n{tags}".encode()


def _record(files, path):
    lines = [f"{file.path},sha256={_digest(file.data)},{len(file.data)}\n" for file in files]
    return File(path, "".join([*lines, f"{path},,\n"]).encode())


def _digest(data):
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _module(release):
    return re.sub(r"[-_.]+", "_", release.name("pypi")).lower()


def package_version(release):
    """The version as PyPI writes it (PEP 440): `1.0.0-rc.1` is `1.0.0rc1`."""
    return re.sub(r"-(alpha|beta|rc)\.?(\d+)$", lambda found: {"alpha": "a", "beta": "b", "rc": "rc"}[found[1]] + found[2], release.version)
