"""Release to package: version and names, targets, programs, and the documents that go into the packages."""
import gzip
import os
import platform
import re
import subprocess
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

PACKAGING = Path(__file__).resolve().parent.parent
ROOT = PACKAGING.parent
TEMPLATES = PACKAGING / "templates"

COMPLETIONS = {"bash": "{}.bash", "zsh": "_{}", "fish": "{}.fish", "powershell": "_{}.ps1", "elvish": "{}.elv"}


class CannotPackage(Exception):
    """Something that the person who runs the script has to change."""


@dataclass(frozen=True)
class Target:
    """A row of targets.toml with the finished program for it."""

    triple: str
    row: dict
    program: Path

    @property
    def is_windows(self):
        return "-windows-" in self.triple

    @property
    def suffix(self):
        return ".exe" if self.is_windows else ""

    def get(self, format):
        """The name of this target in a package format, or None if the format does not have it."""
        return self.row.get(format)


@dataclass(frozen=True)
class Release:
    cargo: dict
    table: dict
    repository: str
    epoch: int
    targets: list
    native_program: Path

    @property
    def version(self):
        return self.cargo["workspace"]["package"]["version"]

    @property
    def license(self):
        return self.cargo["workspace"]["package"]["license"]

    @property
    def description(self):
        return self.cargo["package"]["description"]

    @property
    def keywords(self):
        return self.cargo["package"]["keywords"]

    @property
    def owner(self):
        return self.repository.split("/")[-2]

    @property
    def program(self):
        return self.name("program")

    def name(self, key):
        return self.table[key].replace("{owner}", self.owner)

    def with_target(self, format):
        """The targets that a package format has."""
        return [target for target in self.targets if target.get(format)]

    def archive_stem(self, target):
        return f"{self.program}-{self.version}-{target.triple}"

    def archive(self, target):
        return self.archive_stem(target) + (".zip" if target.is_windows else ".tar.gz")

    def download(self, file):
        """The address of a file on the release page."""
        return f"{self.repository}/releases/download/v{self.version}/{file}"

    @cached_property
    def license_files(self):
        return {name: (ROOT / name).read_bytes() for name in ("LICENSE", "THIRD_PARTY_LICENSES")}

    @cached_property
    def readme(self):
        """The README with absolute links: registries show it at addresses of their own, and packages have no other pages."""
        text = (ROOT / "README.md").read_text(encoding="utf-8")
        return re.sub(r"(!?)\[([^\]]*)\]\((?!https?://|#)([^)]+)\)", self._absolute_link, text).encode()

    def _absolute_link(self, found):
        image, label, path = found.groups()
        return f"{image}[{label}]({self.repository}/{'raw' if image else 'blob'}/v{self.version}/{path})"

    @cached_property
    def changelog(self):
        return (ROOT / "CHANGELOG.md").read_bytes()

    @cached_property
    def manual_pages(self):
        """The manual page of the program and those of its commands, by file name."""
        main = self._print("man")
        plain = main.decode().replace("\\-", "-")
        commands = [name for name in re.findall(rf"^{self.program}-([a-z-]+)\(1\)", plain, re.MULTILINE) if name != "help"]
        pages = {f"{self.program}.1": main}
        return pages | {f"{self.program}-{name}.1": self._print("man", name) for name in commands}

    @cached_property
    def completions(self):
        """The completions, by shell."""
        return {shell: self._print("completions", shell) for shell in COMPLETIONS}

    def completion_file(self, shell):
        return COMPLETIONS[shell].format(self.program)

    def _print(self, *arguments):
        done = subprocess.run([self.native_program, *arguments], capture_output=True)
        if done.returncode != 0:
            raise CannotPackage(f"{self.native_program} has no command {arguments[0]}; build it with its default features")
        return done.stdout


def load(binaries, triples, repository, native_program):
    """Reads the tables, and finds the programs in `binaries`."""
    cargo = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))
    table = tomllib.loads((PACKAGING / "names.toml").read_text(encoding="utf-8"))
    rows = tomllib.loads((PACKAGING / "targets.toml").read_text(encoding="utf-8"))

    repository = repository or cargo["package"].get("repository")
    if not repository:
        raise CannotPackage("which repository? Set `repository` in Cargo.toml, or pass --repository https://github.com/OWNER/NAME")
    unknown = set(triples) - set(rows)
    if unknown:
        raise CannotPackage(f"targets.toml has no {', '.join(sorted(unknown))}")

    targets = [_target(triple, row, binaries, table) for triple, row in rows.items() if not triples or triple in triples]
    native_program = native_program or _native(targets)
    release = Release(cargo, table, repository.removesuffix("/"), _epoch(), targets, native_program)

    printed = subprocess.run([native_program, "--version"], check=True, capture_output=True, text=True).stdout.split()
    if printed[-1] != release.version:
        raise CannotPackage(f"{native_program} is version {printed[-1]}, but Cargo.toml says {release.version}")
    return release


def _target(triple, row, binaries, table):
    suffix = ".exe" if "-windows-" in triple else ""
    program = binaries / triple / f"{table['program']}{suffix}"
    if not program.is_file():
        raise CannotPackage(f"{program} is missing; name the targets that there are with --target")
    return Target(triple, row, program)


def _native(targets):
    """The program that runs here: it prints the manual pages and completions of all packages."""
    here = [platform.system(), platform.machine()]
    for target in targets:
        if target.get("uname") == here or target.get("processor-architecture") == here[1]:
            return target.program
    raise CannotPackage("none of the programs runs on this machine; name one that does with --program, for the manual pages")


def _epoch():
    """The time of all files in the packages: SOURCE_DATE_EPOCH, or the time of the commit."""
    if value := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(value)
    shown = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True)
    if shown.returncode != 0:
        raise CannotPackage("set SOURCE_DATE_EPOCH: this is no git repository, so there is no time of a commit")
    return int(shown.stdout)


def tilde_version(version):
    """The version for dpkg and rpm, which sort `1.0~rc.1` before `1.0`."""
    return version.replace("-", "~", 1)


def compressed_manual_pages(release):
    """The manual pages as they are installed, with gzip, by file name."""
    return {f"{name}.gz": gzip.compress(page, 9, mtime=0) for name, page in release.manual_pages.items()}
