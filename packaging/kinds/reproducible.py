"""Archives that are the same bytes each time: fixed times, owners, modes and order."""
import gzip
import io
import os
import tarfile
import time
import zipfile
from dataclasses import dataclass

# The earliest time that a zip file can express.
ZIP_EPOCH = 315532800


@dataclass(frozen=True, order=True)
class File:
    """A file in an archive."""

    path: str
    data: bytes
    executable: bool = False

    @property
    def mode(self):
        return 0o755 if self.executable else 0o644


def tar_gz(path, files, epoch):
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for file in sorted(files):
            header = tarfile.TarInfo(file.path)
            header.size, header.mode, header.mtime = len(file.data), file.mode, epoch
            archive.addfile(header, io.BytesIO(file.data))
    path.write_bytes(gzip.compress(written.getvalue(), 9, mtime=epoch))


def zip_file(path, files, epoch):
    """A zip file with the files in the given order, which wheels care about."""
    date = time.gmtime(max(epoch, ZIP_EPOCH))[:6]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for file in files:
            header = zipfile.ZipInfo(file.path, date)
            header.create_system = 3  # Unix: the next line has the mode.
            header.external_attr = (0o100000 | file.mode) << 16
            header.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(header, file.data)


def tree(root, files, epoch):
    """Writes files into a directory, for tools that make a package of one."""
    for file in files:
        path = root / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.data)
        path.chmod(file.mode)
    for directory, _, names in os.walk(root, topdown=False):
        for name in names:
            os.utime(os.path.join(directory, name), (epoch, epoch))
        os.chmod(directory, 0o755)
        os.utime(directory, (epoch, epoch))
