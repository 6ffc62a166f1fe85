"""Archives for the release page: the program with its manual pages, completions and licences (.tar.gz, .zip)."""
from .reproducible import File, tar_gz, zip_file


def make(release, out):
    for target in release.targets:
        stem = release.archive_stem(target)
        files = [File(f"{stem}/{file.path}", file.data, file.executable) for file in _content(release, target)]
        write = zip_file if target.is_windows else tar_gz
        write(out.release / release.archive(target), sorted(files), release.epoch)


def _content(release, target):
    yield File(f"{release.program}{target.suffix}", target.program.read_bytes(), executable=True)
    yield File("README.md", release.readme)
    for name, data in release.license_files.items():
        yield File(name, data)
    for name, data in release.manual_pages.items():
        yield File(f"man/{name}", data)
    for shell, data in release.completions.items():
        yield File(f"completions/{release.completion_file(shell)}", data)
