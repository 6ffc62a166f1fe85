"""SHA256SUMS of the release page, and its signature by an SSH key, which `ssh-keygen` verifies on every desktop system."""
import hashlib
import subprocess

# The namespace keeps the signature from being valid for anything but files of releases.
NAMESPACE = "file"


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def make(release, out, sign_key):
    sums = out.release / "SHA256SUMS"
    lines = [f"{sha256(path)}  {path.name}\n" for path in sorted(out.release.iterdir())]
    sums.write_text("".join(lines), encoding="utf-8", newline="\n")
    if sign_key:
        subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-f", sign_key, "-n", NAMESPACE, sums], check=True)
