"""Checksums of the release page and their signature."""


def test_the_checksums_are_those_of_all_files(machine, _server):
    release = machine.out / "release"
    machine.run("sha256sum", "--check", "--strict", "SHA256SUMS", cwd=release)
    listed = {line.split()[1] for line in (release / "SHA256SUMS").read_text().splitlines()}
    assert listed == {path.name for path in release.iterdir()} - {"SHA256SUMS", "SHA256SUMS.sig"}


def test_the_signature_is_valid_for_these_checksums_only(machine, _server):
    release = machine.out / "release"
    signers = machine.scratch / "signers"
    signers.write_text(f"release {machine.key.with_suffix('.pub').read_text()}")
    verify = ["ssh-keygen", "-Y", "verify", "-f", signers, "-I", "release", "-n", "file", "-s", release / "SHA256SUMS.sig"]
    sums = (release / "SHA256SUMS").read_text()
    machine.run(*verify, input=sums)
    assert machine.run(*verify, input=sums.replace("0", "1", 1), check=False).returncode != 0
