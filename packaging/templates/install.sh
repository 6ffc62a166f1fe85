#!/bin/sh
# Installs @program@ @version@ for the current user:
#
#     curl -fsSL @download@/install.sh | sh
#
# MCP_BRIDGE_INSTALL_DIR is where the program goes, ~/.local/bin by default. MCP_BRIDGE_DOWNLOAD is where the archive comes from, for
# mirrors. The archive has to have the checksum that is written below.
set -eu

main() {
  directory=${MCP_BRIDGE_INSTALL_DIR:-$HOME/.local/bin}
  download=${MCP_BRIDGE_DOWNLOAD:-@download@}

  machine="$(uname -s) $(uname -m)"
  case "$machine" in
    # A shell under Rosetta sees an Intel processor.
    "Darwin x86_64") [ "$(sysctl -n sysctl.proc_translated 2>/dev/null)" = 1 ] && machine="Darwin arm64" ;;
    "Linux arm64") machine="Linux aarch64" ;;
    "Linux amd64") machine="Linux x86_64" ;;
  esac
  case "$machine" in
@targets@
    *) fail "there is no program for $machine" "build it from source: cargo install --locked --git REPOSITORY" ;;
  esac

  name=@program@-@version@-$target
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  trap 'exit 1' HUP INT TERM

  fetch "$download/$name.tar.gz" "$scratch/archive" || fail "$download/$name.tar.gz cannot be downloaded"
  found=$(checksum "$scratch/archive")
  [ "$found" = "$sum" ] || fail "$name.tar.gz has the wrong checksum: $found instead of $sum" "nothing was installed"

  tar -xzf "$scratch/archive" -C "$scratch"
  mkdir -p "$directory"
  # Beside its place and then renamed, so that a program that is running is replaced without harm.
  cp "$scratch/$name/@program@" "$directory/.@program@.$$"
  chmod 755 "$directory/.@program@.$$"
  mv -f "$directory/.@program@.$$" "$directory/@program@"

  echo "$directory/@program@ is installed ($("$directory/@program@" --version))"
  case ":$PATH:" in
    *":$directory:"*) ;;
    *) printf '\nhint: add %s to PATH in the configuration of your shell\n' "$directory" ;;
  esac
}

fetch() {
  if command -v curl >/dev/null; then
    curl --fail --silent --show-error --location --output "$2" "$1"
  elif command -v wget >/dev/null; then
    wget --quiet --output-document="$2" "$1"
  else
    fail "neither curl nor wget is installed"
  fi
}

checksum() {
  if command -v sha256sum >/dev/null; then
    sha256sum <"$1" | cut -d ' ' -f 1
  elif command -v shasum >/dev/null; then
    shasum -a 256 <"$1" | cut -d ' ' -f 1
  elif command -v openssl >/dev/null; then
    openssl dgst -sha256 -r <"$1" | cut -d ' ' -f 1
  else
    fail "none of sha256sum, shasum and openssl is installed, so the archive cannot be verified"
  fi
}

fail() {
  echo "error: $1" >&2
  [ -z "${2-}" ] || printf '\nhint: %s\n' "$2" >&2
  exit 1
}

# At the end, so that a script of which only a part was downloaded does nothing.
main
