#!/bin/sh
# Makes the certificates of the tests anew: an authority that only these tests trust, and what it
# signed for a server on this machine. Valid for a hundred years, but for the one that has expired.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

key() { openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt; }
key > "$work/authority.key"
key > server.key
touch "$work/index"
cat > "$work/config" <<CONFIG
[req]
distinguished_name = name
[name]
[ca]
default_ca = authority
[authority]
database = $work/index
new_certs_dir = $work
rand_serial = yes
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
[ca_extensions]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign
[good]
subjectAltName = DNS:localhost, IP:127.0.0.1
extendedKeyUsage = serverAuth
[own]
basicConstraints = critical, CA:true
subjectAltName = DNS:localhost, IP:127.0.0.1
[own_without_names]
basicConstraints = critical, CA:true
[own_wrong_name]
basicConstraints = critical, CA:true
subjectAltName = DNS:elsewhere.example
[wrong_name]
subjectAltName = DNS:elsewhere.example
extendedKeyUsage = serverAuth
CONFIG

# sign EXTENSIONS LAST-YEAR KEY SIGNER...
sign() {
    extensions=$1 last=$2 key=$3
    shift 3
    openssl req -new -config "$work/config" -key "$key" -subj "/CN=${name:-mcp-bridge test $extensions}" -out "$work/request"
    openssl ca -batch -config "$work/config" -extensions "$extensions" -notext -in "$work/request" \
        -startdate 20200101000000Z -enddate "${last}0101000000Z" "$@"
}
sign ca_extensions 2120 "$work/authority.key" -selfsign -keyfile "$work/authority.key" -out authority.pem
by_authority="-cert authority.pem -keyfile $work/authority.key"
sign good 2120 server.key $by_authority -out good.pem
sign good 2021 server.key $by_authority -out expired.pem
sign wrong_name 2120 server.key $by_authority -out wrong_name.pem
by_itself="-selfsign -keyfile server.key"
sign good 2120 server.key $by_itself -out self_signed.pem
# As `openssl req -x509` makes them: a server's own certificate that is an authority, too.
sign own 2120 server.key $by_itself -out own.pem
sign own 2120 server.key $by_itself -out own_other.pem
sign own 2021 server.key $by_itself -out own_expired.pem
sign own_wrong_name 2120 server.key $by_itself -out own_wrong_name.pem
name=localhost
sign own_without_names 2120 server.key $by_itself -out own_common_name.pem
