"""Files of a package for a Unix system: program, manual pages, completions and licences under /usr."""
from .reproducible import File
from .release import compressed_manual_pages


def files(release, target, zsh_directory, documents_directory):
    yield File(f"usr/bin/{release.program}", target.program.read_bytes(), executable=True)
    for name, data in compressed_manual_pages(release).items():
        yield File(f"usr/share/man/man1/{name}", data)
    completions = {
        "bash": f"bash-completion/completions/{release.program}",
        "zsh": f"{zsh_directory}/_{release.program}",
        "fish": f"fish/vendor_completions.d/{release.program}.fish",
    }
    for shell, path in completions.items():
        yield File(f"usr/share/{path}", release.completions[shell])
    yield File(f"{documents_directory}/README.md", release.readme)
    for name, data in release.license_files.items():
        yield File(f"{documents_directory}/{name}", data)
