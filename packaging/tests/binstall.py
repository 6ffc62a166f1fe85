"""Metadata for cargo binstall in Cargo.toml."""


def test_cargo_binstall_finds_the_archives(machine, _server):
    release = machine.release
    metadata = release.cargo["package"]["metadata"]["binstall"]
    for target in release.targets:
        row = metadata | metadata.get("overrides", {}).get(target.triple, {})
        values = {
            "repo": release.repository,
            "name": release.cargo["package"]["name"],
            "version": release.version,
            "target": target.triple,
            "archive-suffix": {"tgz": ".tar.gz", "zip": ".zip"}[row["pkg-fmt"]],
            "bin": release.program,
            "binary-ext": target.suffix,
        }
        address, program = fill(row["pkg-url"], values), fill(row["bin-dir"], values)
        # cargo binstall knows both suffixes of the format.
        assert address == release.download(release.archive(target)), address
        assert program == f"{release.archive_stem(target)}/{release.program}{target.suffix}", program


def fill(template, values):
    for key, value in values.items():
        template = template.replace(f"{{ {key} }}", value)
    assert "{" not in template, template
    return template
