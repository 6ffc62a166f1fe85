"""The tests, and their report."""
from __future__ import annotations

import argparse
import http.client
import itertools
import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Callable, Iterator

from driver.bridge import Bridge, Installation

from .container import Container
from .image import Layout, is_static

CONTAINER = Path(__file__).resolve().parents[1]
ROOT = CONTAINER.parents[1]
TOOLS = {
    "buildah": "buildah", "skopeo": "skopeo", "umoci": "umoci", "bwrap": "bubblewrap", "setpriv": "util-linux",
    "redis-server": "redis-server",
}
TARGETS = {"amd64": "x86_64-unknown-linux-musl", "arm64": "aarch64-unknown-linux-musl"}
START_LIMIT = 30  # seconds until a server listens
SIGN_IN_LIMIT = 60  # seconds until a sign-in is over
VALIDATOR = "kubernetes-validate==1.37.0"
WHO = {"name": "get-user-data", "arguments": {}}
PASSWORD = "of-the-test"
SOURCE = "https://git.example/mcp-bridge"

# All that is in an image beside the program and the licences.
FILES = {"etc/passwd", "etc/group", "etc/ssl/certs/ca-certificates.crt"}


class Stage:
    """The images, unpacked."""

    def __init__(self, out: Path, work: Path) -> None:
        self.out = out
        self.work = work
        self.layouts = {name: Layout(out / name) for name in ("bridge", "example-server")}
        self.machine = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
        self.roots = {name: it.unpack(self.machine, work) for name, it in self.layouts.items()}

    def container(self, name: str, **options) -> Container:
        return Container(self.roots[name], self.layouts[name].configuration(self.machine), **options)

    def files(self, name: str) -> Iterator[Path]:
        root = self.roots[name]
        return (path for path in root.rglob("*") if not path.is_dir())


def images_are_described(stage: Stage) -> None:
    for name, layout in stage.layouts.items():
        for architecture in layout.architectures():
            known = layout.configuration(architecture)
            assert known["architecture"] == architecture, known
            assert known["config"]["User"] == "65532:65532", known
            assert len(known["config"]["Entrypoint"]) == 1, known
            labels = known["config"]["Labels"]
            assert labels["org.opencontainers.image.version"], known
            assert re.fullmatch("[0-9a-f]{40}", labels["org.opencontainers.image.revision"]), known
            assert labels["org.opencontainers.image.source"] == SOURCE, known


def an_image_has_the_licences_of_what_is_in_it(stage: Stage) -> None:
    for name, part in (("bridge", "redis"), ("example-server", "rmcp"), ("example-server", "axum")):
        documents = list((stage.roots[name] / "usr/share/doc").rglob("THIRD_PARTY_LICENSES"))
        assert len(documents) == 1, documents
        assert re.search(rf"^  {part} [0-9]", documents[0].read_text(), re.MULTILINE), (name, part)


def an_image_has_its_program_and_no_shell(stage: Stage) -> None:
    for name, root in stage.roots.items():
        program = stage.layouts[name].configuration(stage.machine)["config"]["Entrypoint"][0]
        assert is_static(root / program.lstrip("/")), f"{program} is not static"
        found = {str(path.relative_to(root)) for path in stage.files(name)}
        documents = {path for path in found if path.startswith("usr/share/doc/")}
        assert found - documents == FILES | {program.lstrip("/")}, found
        for path in root.rglob("*"):
            mode = path.stat().st_mode
            assert not mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IWOTH), path
        authorities = (root / "etc/ssl/certs/ca-certificates.crt").read_text()
        assert authorities.count("BEGIN CERTIFICATE") > 50


def programs_start_alone_in_their_images(stage: Stage) -> None:
    for name in stage.roots:
        container = stage.container(name)
        done = container.run("--version")
        assert done.returncode == 0 and done.stdout.split()[-1].count(".") == 2, done
        shell = container.run("-c", "true", entrypoint=["/bin/sh"])
        assert shell.returncode != 0, "there is a shell"


def the_other_architecture_starts(stage: Stage) -> None:
    others = [it for it in stage.layouts["bridge"].architectures() if it != stage.machine]
    emulator = shutil.which("qemu-aarch64-static")
    if others != ["arm64"] or emulator is None:
        raise Skipped("there is no program for arm64, or no qemu-user-static")
    for layout in stage.layouts.values():
        root = layout.unpack("arm64", stage.work)
        program = layout.configuration("arm64")["config"]["Entrypoint"][0]
        done = subprocess.run([emulator, str(root) + program, "--version"], capture_output=True, text=True, check=True)
        assert done.stdout.split()[-1].count(".") == 2, done


class Servers:
    """Redis, and the image of the example server, with its secret in a file."""

    def __init__(self, stage: Stage) -> None:
        self.work = Path(tempfile.mkdtemp(dir=stage.work))
        self.work.chmod(0o755)
        sockets = self.work / "redis"
        sockets.mkdir()
        command = ["redis-server", "--port", "0", "--unixsocket", "redis.sock", "--unixsocketperm", "777", "--save", "", "--requirepass", PASSWORD]
        self.redis = subprocess.Popen(command, cwd=sockets, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        secret = self.work / "redis-url"
        secret.write_text(f"redis+unix:///run/redis/redis.sock?pass={PASSWORD}\n")
        secret.chmod(0o400)
        os.chown(secret, 65532, 65532)
        wait_for("Redis", (sockets / "redis.sock").exists)
        self.port = free_port()
        self.url = f"http://localhost:{self.port}/mcp"
        container = stage.container(
            "example-server", mounts={"/run/secrets/redis-url": secret, "/run/redis": sockets},
            environment={"EXAMPLE_REDIS_URL_FILE": "/run/secrets/redis-url"},
        )
        self.server = container.start(
            "--bind", f"127.0.0.1:{self.port}", "--public-url", f"http://localhost:{self.port}", "--drain", "1",
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )
        wait_for("the example server", lambda: answers(self.port, "/readyz"))

    def __enter__(self) -> Servers:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.kill()
        self.redis.kill()
        self.redis.wait()


def a_server_is_confined_and_ends_when_it_is_told(stage: Stage) -> None:
    with Servers(stage) as servers:
        server = servers.server
        assert server.status("Uid") == ["65532"] * 4, server.status("Uid")
        assert server.status("NSpid")[-1] == "1", server.status("NSpid")
        assert int(server.status("CapEff")[0], 16) == 0
        assert "ro" in server.root_options(), server.root_options()
        assert server.terminate() == 0


def the_bridge_calls_a_tool_of_the_server(stage: Stage) -> None:
    """A person signs in once; containers that come after that find the sign-in in a volume."""
    with Servers(stage) as servers:
        volume = servers.work / "volume"
        volume.mkdir(mode=0o700)
        os.chown(volume, 65532, 65532)
        container = stage.container("bridge", writable={"/data": volume})
        sign_in(container, servers)
        for _ in range(2):
            program = container.program(servers.work / "mcp-bridge")
            person = Installation(program, servers.url, ["--no-browser"], {}, servers.work / "person")
            with Bridge(person, "session") as bridge:
                bridge.open_session()
                assert "Ada Lovelace" in bridge.call(WHO)


def tokens_are_in_redis_and_nothing_is_written(stage: Stage) -> None:
    """The bridge with a read-only root file system, without a volume, and its secrets in files."""
    made = stage.container("bridge").run("store", "key")
    if made.returncode != 0:
        raise Skipped("this bridge has no --store in Redis")
    with Servers(stage) as servers:
        secrets = {"store": f"redis+unix:///run/redis/redis.sock?pass={PASSWORD}&db=1\n", "store-key": made.stdout}
        mounts = {"/run/redis": servers.work / "redis"}
        for name, text in secrets.items():
            secret = servers.work / name
            secret.write_text(text)
            secret.chmod(0o400)
            os.chown(secret, 65532, 65532)
            mounts[f"/run/secrets/{name}"] = secret
        environment = {"MCP_BRIDGE_STORE": "@/run/secrets/store", "MCP_BRIDGE_STORE_KEY_FILE": "/run/secrets/store-key"}
        container = stage.container("bridge", mounts=mounts, environment=environment)
        sign_in(container, servers)
        done = container.run("call", servers.url, "get-user-data")
        assert done.returncode == 0 and "Ada Lovelace" in done.stdout, done


def the_bridge_ends_when_it_is_told(stage: Stage) -> None:
    with Servers(stage) as servers:
        container = stage.container("bridge", environment={"MCP_BRIDGE_DIR": "/nowhere"})
        running = container.start("--no-browser", servers.url, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        running.process.stdin.write(
            b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25",'
            b'"capabilities":{},"clientInfo":{"name":"test","version":"0"}}}\n'
        )
        running.process.stdin.flush()
        assert b'"id":1' in running.process.stdout.readline()
        assert running.status("NSpid")[-1] == "1"
        # As a process that nothing else has ended: a signal, or a status of its own.
        assert running.terminate() in (0, 143), running.process.returncode


def sign_in(container: Container, servers: Servers) -> None:
    """The command prints the address of the page; the browser is outside."""
    login = subprocess.Popen(
        container.command("login", "--no-browser", servers.url), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )
    limit = threading.Timer(SIGN_IN_LIMIT, login.kill)
    limit.start()
    said = ""
    browser = [sys.executable, str(ROOT / "tests/foreign/driver/browser.py"), str(servers.work / "browser.log")]
    for line in login.stdout:
        said += line
        if "response_type=code" in line:
            subprocess.run([*browser, line.split()[-1]], check=True, timeout=SIGN_IN_LIMIT)
    limit.cancel()
    assert login.wait() == 0, said


def the_manifests_are_valid(stage: Stage) -> None:
    """By the rules of the tools that read them; and the servers know the options that are in them."""
    made = stage.work / "secrets.d"
    subprocess.run([str(CONTAINER / "secrets"), str(made)], check=True)
    assert made.stat().st_mode & 0o777 == 0o700
    named = {line.split("secrets.d/")[1] for line in (CONTAINER / "compose.yaml").read_text().splitlines() if "secrets.d/" in line}
    assert {path.name for path in made.iterdir()} == named
    tools = {"docker-compose": ["-f", "compose.yaml", "config", "-q"], "haproxy": ["-c", "-q", "-f", "haproxy.cfg"]}
    for program, arguments in tools.items():
        if shutil.which(program) is None:
            raise Skipped(f"{program} is not installed")
        subprocess.run([program, *arguments], cwd=CONTAINER, check=True, capture_output=True)
    python = virtual_environment()
    validate = [str(python.parent / "kubernetes-validate"), "--strict", "--quiet", "kubernetes.yaml"]
    subprocess.run(validate, cwd=CONTAINER, check=True, capture_output=True)
    script = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))"
    documents = [
        json.loads(subprocess.run([str(python), "-c", script, str(CONTAINER / name)], check=True, capture_output=True).stdout)
        for name in ("compose.yaml", "kubernetes.yaml")
    ]
    compose, kubernetes = documents
    arguments = [compose[0]["services"]["example-server"]["command"]]
    deployment = next(it for it in kubernetes if it["kind"] == "Deployment")
    arguments.append(deployment["spec"]["template"]["spec"]["containers"][0]["args"])
    for each in arguments:
        known = [word.replace("${PUBLIC_URL:-http://localhost:8080}", "http://localhost:8080") for word in each]
        done = stage.container("example-server").run(*known, "--version")
        assert done.returncode == 0, done


def virtual_environment() -> Path:
    """Python with the validator of Kubernetes' schemas, from PyPI."""
    directory = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target") / "container"
    python = directory / "bin" / "python"
    if not (directory / "installed").exists():
        try:
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(directory)], check=True, capture_output=True)
            subprocess.run([str(python), "-m", "pip", "install", "--quiet", VALIDATOR], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            raise Skipped(f"{VALIDATOR} cannot be had from PyPI") from None
        (directory / "installed").touch()
    return python


def the_same_programs_give_the_same_images(stage: Stage) -> None:
    again = stage.work / "again"
    build(stage.out.parent / "programs", again)
    for name, layout in stage.layouts.items():
        assert layout.entry["digest"] == Layout(again / name).entry["digest"], name


class Skipped(Exception):
    """Reason why something is not tried."""


TESTS: list[Callable[[Stage], None]] = [
    images_are_described, an_image_has_the_licences_of_what_is_in_it, an_image_has_its_program_and_no_shell, programs_start_alone_in_their_images,
    the_other_architecture_starts, a_server_is_confined_and_ends_when_it_is_told, the_bridge_calls_a_tool_of_the_server,
    tokens_are_in_redis_and_nothing_is_written, the_bridge_ends_when_it_is_told, the_manifests_are_valid,
    the_same_programs_give_the_same_images,
]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="packaging/container/test", description=__doc__)
    parser.add_argument(
        "--programs", type=Path, default=Path(os.environ.get("CROSS_DIR") or ROOT / "target/cross") / "target",
        help="DIR/TARGET/{release,debug}/{mcp-bridge,examples/server}, as .ci/cross linux leaves them",
    )
    options = parser.parse_args(arguments)
    missing = [package for program, package in TOOLS.items() if shutil.which(program) is None]
    if missing or os.getuid() != 0:
        return skip(f"these are not installed: {', '.join(missing)}" if missing else "buildah and umoci need root here")
    with tempfile.TemporaryDirectory(prefix="container-") as directory:
        work = Path(directory)
        work.chmod(0o755)
        if not gather(options.programs, work / "programs"):
            return skip("there are no static programs for this machine: .ci/cross linux makes them")
        build(work / "programs", work / "images")
        return run_all(Stage(work / "images", work))


def skip(reason: str) -> int:
    print(f"skipped: packaging/container/test, because {reason}", file=sys.stderr)
    print(f"0 passed, 0 failed, {len(TESTS)} skipped")
    return 0


def gather(built: Path, programs: Path) -> bool:
    """The programs without debug information, as far as `strip` of this machine knows them."""
    for target, profile in itertools.product(TARGETS.values(), ("debug", "release")):
        found = {name: built / target / profile / name for name in ("mcp-bridge", "examples/server")}
        if not all(path.is_file() for path in found.values()):
            continue
        for name, path in found.items():
            copy = programs / target / "release" / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            stripped = subprocess.run(["strip", "-o", str(copy), str(path)], stderr=subprocess.DEVNULL, check=False)
            if stripped.returncode != 0:
                shutil.copy(path, copy)
    return (programs / TARGETS.get({"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, ""), "none")).is_dir()


def build(programs: Path, out: Path) -> None:
    command = [str(CONTAINER / "build"), "--programs", str(programs), "--out", str(out), "--source", SOURCE]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000"})


def run_all(stage: Stage) -> int:
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for test in TESTS:
        try:
            test(stage)
        except Skipped as reason:
            counts["skipped"] += 1
            print(f"skipped: {test.__name__}, because {reason}", flush=True)
        except Exception as failure:  # noqa: BLE001 - what goes wrong is this test's result
            counts["failed"] += 1
            print(f"FAIL {test.__name__}: {type(failure).__name__}: {failure}", flush=True)
        else:
            counts["passed"] += 1
            print(f"ok   {test.__name__}", flush=True)
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return 1 if counts["failed"] else 0


def wait_for(what: str, condition: Callable[[], bool]) -> None:
    until = time.monotonic() + START_LIMIT
    while not condition():
        if time.monotonic() > until:
            raise RuntimeError(f"not after {START_LIMIT} s: {what}")
        time.sleep(0.02)


def answers(port: int, path: str) -> bool:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
