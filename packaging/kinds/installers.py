"""Installer scripts for shells and PowerShell. They contain the checksums of the archives, so they install this version or nothing."""
from .checksums import sha256
from .release import TEMPLATES


def make(release, out):
    unix = [f"    '{' '.join(target.get('uname'))}') target={target.triple} sum={_sum(release, out, target)} ;;"
            for target in release.with_target("uname")]
    windows = [f"    '{target.get('processor-architecture')}' = @('{target.triple}', '{_sum(release, out, target)}')"
               for target in release.with_target("processor-architecture")]
    for name, lines, newline in (("install.sh", unix, "\n"), ("install.ps1", windows, "\r\n")):
        if not lines:
            continue
        path = out.release / name
        path.write_text(_filled(release, (TEMPLATES / name).read_text(encoding="utf-8"), lines), encoding="utf-8", newline=newline)
        path.chmod(0o755)


def _filled(release, template, lines):
    values = {
        "@program@": release.program,
        "@version@": release.version,
        "@download@": release.download("").rstrip("/"),
        "@targets@": "\n".join(lines),
    }
    for mark, value in values.items():
        template = template.replace(mark, value)
    return template


def _sum(release, out, target):
    return sha256(out.release / release.archive(target))
