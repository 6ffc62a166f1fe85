"""Reproducibility of the packages."""
import shutil


def test_two_builds_are_the_same_bytes(machine, _server):
    again = machine.scratch / "again"
    machine.build_into(again, umask=0o077, TZ="Pacific/Auckland", LC_ALL="C")
    files = _files(machine.out)
    assert files == _files(again)
    different = [name for name in files if (machine.out / name).read_bytes() != (again / name).read_bytes()]
    assert not different, different
    shutil.rmtree(again)


def _files(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
