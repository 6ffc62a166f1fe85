"""Python wheels, with pip, uvx and pipx."""
import sys


def test_pip_installs_a_program_that_serves_a_session(machine, server):
    environment = machine.scratch / "pip"
    machine.run(sys.executable, "-m", "venv", environment)
    python = environment / "bin/python"
    machine.run(python, "-m", "pip", "install", "--no-index", "--find-links", machine.out / "pypi", "mcp-bridge-cli")
    server.serves([environment / "bin/mcp-bridge", server.url])
    server.serves([environment / "bin/mcp-bridge-cli", server.url])
    server.serves([python, "-m", "mcp_bridge_cli", server.url])


def test_python_starts_the_program_of_a_target_directory(machine, server):
    directory = machine.folder("pip-target")
    machine.run(sys.executable, "-m", "pip", "install", "--no-index", "--find-links", machine.out / "pypi", "--target", directory, "mcp-bridge-cli")
    server.serves([sys.executable, "-m", "mcp_bridge_cli", server.url], env=machine.environment(PYTHONPATH=str(directory)))


def test_uvx_starts_a_session(machine, server):
    env = machine.environment(UV_CACHE_DIR=str(machine.scratch / "uv-cache"), UV_NO_PROGRESS="1", UV_PYTHON_DOWNLOADS="never")
    uvx = [machine.python_tool("uvx"), "--quiet", "--no-index", "--find-links", machine.out / "pypi"]
    server.serves([*uvx, "mcp-bridge-cli", server.url], env=env)
    server.serves([*uvx, "--from", "mcp-bridge-cli", "mcp-bridge", server.url], env=env)


def test_pipx_installs_a_program_that_serves_a_session(machine, server):
    home = machine.folder("pipx")
    env = machine.environment(PIPX_HOME=str(home), PIPX_BIN_DIR=str(home / "bin"), PIPX_MAN_DIR=str(home / "man"),
                              PIPX_SHARED_LIBS=str(home / "shared"), PIP_FIND_LINKS=str(machine.out / "pypi"))
    wheel = machine.package(f"pypi/*{machine.target.get('wheel')}.whl")
    machine.run(machine.python_tool("pipx"), "install", wheel, env=env)
    server.serves([home / "bin/mcp-bridge", server.url], env=env)


def test_each_wheel_is_whole_and_has_the_tags_of_its_name(machine, _server):
    for number, wheel in enumerate(sorted((machine.out / "pypi").iterdir())):
        # Checks RECORD, and then makes the name from the tags in WHEEL.
        unpacked = machine.folder(f"wheel-{number}")
        machine.run(machine.python_tool("wheel"), "unpack", "--dest", unpacked, wheel)
        machine.run(machine.python_tool("wheel"), "pack", "--dest-dir", unpacked, next(unpacked.iterdir()))
        assert tags(next(unpacked.glob("*.whl"))) == tags(wheel)
    machine.run(machine.python_tool("twine"), "check", "--strict", *(machine.out / "pypi").iterdir())


def tags(wheel):
    return set(wheel.stem.split("-")[-1].split("."))
