#!/bin/sh
# Starts the server by itself, for the integration tests: installs its packages on the first run, outside the
# repository. Prints the server's URL on stdout; ends when stdin is closed. Status 75: npm can't be reached.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cache=${OIDC_PROVIDER_CACHE:-${TMPDIR:-/tmp}/mcp-bridge-oidc-provider}
command -v node >/dev/null && command -v npm >/dev/null || { echo 'node and npm are not installed' >&2; exit 75; }
mkdir -p "$cache/oidc-provider" "$cache/shared"
# Tests start it at the same time: each file is replaced as a whole.
put() { cp "$1" "$2.$$" && mv "$2.$$" "$2"; }
put "$here/package.json" "$cache/package.json"
put "$here/package-lock.json" "$cache/package-lock.json"
put "$here/server.mjs" "$cache/oidc-provider/server.mjs"
put "$here/../shared/mcp.mjs" "$cache/shared/mcp.mjs"
put "$here/../shared/resource-server.mjs" "$cache/shared/resource-server.mjs"
cd "$cache"
[ -d node_modules/@modelcontextprotocol ] || npm ci --no-audit --no-fund --loglevel=error >&2 ||
  { echo 'npm could not install oidc-provider' >&2; exit 75; }
exec node oidc-provider/server.mjs
