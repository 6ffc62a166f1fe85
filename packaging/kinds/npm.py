"""npm packages: one with the program for each platform, and the main package, whose launcher starts the program.

npm installs the one of the `optionalDependencies` whose `os` and `cpu` are those of the machine; no script runs at installation.
`npm pack` makes the tarballs: it checks package.json, and gives files fixed times.
"""
import json
import subprocess
import tempfile
from pathlib import Path

from .release import TEMPLATES
from .reproducible import File, tree

TOOLS = {"npm": "Node.js"}


def make(release, out):
    targets = release.with_target("npm")
    packages = [_program_package(release, target) for target in targets] + [_main_package(release, targets)]
    with tempfile.TemporaryDirectory() as directory:
        for number, files in enumerate(packages):
            tree(Path(directory) / str(number), files, release.epoch)
        sources = [f"./{number}" for number in range(len(packages))]
        command = ["npm", "pack", "--silent", "--ignore-scripts", "--offline", "--pack-destination", out.folder("npm"), *sources]
        subprocess.run(command, check=True, cwd=directory, stdout=subprocess.DEVNULL)


def _program_package(release, target):
    fields = {"name": _name(release, target), "preferUnplugged": True, **target.get("npm")}
    yield _package_json(release, fields, f"{release.description} (the program for {target.triple})")
    yield File(_program(release, target), target.program.read_bytes(), executable=True)
    yield File("README.md", f"The program of [{release.name('npm')}]({release.repository}) for {target.triple}.\n".encode())
    yield from _licenses(release)


def _main_package(release, targets):
    launcher = f"bin/{release.program}.js"
    fields = {
        "name": release.name("npm"),
        # The MCP Registry takes this as the proof that the package belongs to the server.
        "mcpName": release.name("mcp-registry"),
        "keywords": release.keywords,
        "bin": {release.program: launcher},
        # process.platform-process.arch to the module path of the program, for the launcher.
        "programs": {_platform(target): f"{_name(release, target)}/{_program(release, target)}" for target in targets},
        "engines": {"node": ">=14"},
        "optionalDependencies": {_name(release, target): release.version for target in targets},
    }
    yield _package_json(release, fields, release.description)
    yield File(launcher, (TEMPLATES / "npm-launcher.js").read_bytes(), executable=True)
    yield File("README.md", release.readme)
    yield from _licenses(release)


def _package_json(release, fields, description):
    common = {
        "name": fields["name"],
        "version": release.version,
        "description": description,
        "license": release.license,
        "author": release.name("publisher"),
        "homepage": release.repository,
        "repository": {"type": "git", "url": f"git+{release.repository}.git"},
        "files": ["bin", "THIRD_PARTY_LICENSES"],
    }
    constraints = {key: [value] for key, value in fields.items() if key in ("os", "cpu", "libc")}
    return File("package.json", (json.dumps(common | fields | constraints, indent=2) + "\n").encode())


def _licenses(release):
    for name, data in release.license_files.items():
        yield File(name, data)


def _name(release, target):
    return release.name("npm-program").format(**target.get("npm"))


def _platform(target):
    return "{os}-{cpu}".format(**target.get("npm"))


def _program(release, target):
    return f"bin/{release.program}{target.suffix}"
