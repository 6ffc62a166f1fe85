"""Homebrew formula, for a tap."""
from .checksums import sha256
from .release import TEMPLATES


def make(release, out):
    targets = release.with_target("homebrew")
    if not targets:
        return
    systems = {}
    for target in targets:
        system, processor = target.get("homebrew")
        systems.setdefault(system, []).append((processor, release.archive(target)))

    blocks = []
    for system, archives in systems.items():
        blocks += ["", f"  on_{system} do"]
        for processor, archive in archives:
            blocks += [
                f"    on_{processor} do",
                f'      url "{release.download(archive)}"',
                f'      sha256 "{sha256(out.release / archive)}"',
                "    end",
            ]
        blocks.append("  end")

    name = release.name("homebrew")
    values = {
        "@class@": "".join(part.capitalize() for part in name.split("-")),
        "@summary@": release.name("summary"),
        "@repository@": release.repository,
        "@version@": release.version,
        "@license@": release.license,
        "@program@": release.program,
        "@systems@": "\n".join(blocks).lstrip("\n"),
    }
    formula = (TEMPLATES / "formula.rb").read_text(encoding="utf-8")
    for mark, value in values.items():
        formula = formula.replace(mark, value)
    (out.folder("homebrew") / f"{name}.rb").write_text(formula, encoding="utf-8", newline="\n")
