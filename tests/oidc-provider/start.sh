#!/bin/sh
# Starts npm's oidc-provider in front of a small MCP server. Installs it on the first run, outside the
# repository. Prints the server's URL on stdout; ends when stdin is closed. Status 75: npm can't be reached.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cache=${OIDC_PROVIDER_CACHE:-${TMPDIR:-/tmp}/mcp-bridge-oidc-provider}
command -v node >/dev/null && command -v npm >/dev/null || { echo 'node and npm are not installed' >&2; exit 75; }
mkdir -p "$cache"
cp "$here/package.json" "$here/server.mjs" "$cache/"
cd "$cache"
[ -d node_modules/oidc-provider ] || npm install --no-audit --no-fund --loglevel=error >&2 ||
  { echo 'npm could not install oidc-provider' >&2; exit 75; }
exec node server.mjs
