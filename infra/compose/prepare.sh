#!/bin/sh
# Makes what infra/compose.yaml needs and nobody else may know, in infra/compose/secrets: passwords,
# the store's identities with their policies, certificates. What is there is left alone, so it may be
# run again; to have something anew, remove it first. Needs openssl 3.
#
#   infra/compose/prepare.sh [NAME...]
#
# NAME: names or IP addresses by which clients will call this machine, for the certificate that they
# are shown; always: localhost, 127.0.0.1 and gateway.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets/database secrets/s3 secrets/tls secrets/people
trap 'rm -f secrets/*/*.csr' EXIT

# Containers have users of their own, so files are readable; the folder lets nobody in but its owner.
chmod 700 secrets

password() { [ -s "secrets/$1" ] || openssl rand -hex 24 >"secrets/$1"; }

password postgres
password grafana
for context in registry recording evidence audit; do password "database/$context"; done
for name in administrator ingest recording evidence; do
    [ -s "secrets/s3/$name.access" ] || printf '%s\n' "$name" >"secrets/s3/$name.access"
    password "s3/$name.secret"
done

# The policies of infra/s3, as text in the store's file of identities.
policy() { sed -e 's/BUCKET/vigie/g' -e 's/PREFIX//g' -e 's/"/\\"/g' "../s3/$1.json" | tr -d '\n'; }
identity() {
    printf '    {"name": "%s", "credentials": [{"accessKey": "%s", "secretKey": "%s"}], %s}' \
        "$1" "$1" "$(cat "secrets/s3/$1.secret")" "$2"
}
{
    printf '{\n  "identities": [\n'
    identity administrator '"actions": ["Admin", "Read", "List", "Tagging", "Write"]'
    for name in ingest recording evidence; do
        printf ',\n'
        identity "$name" "\"actions\": [], \"policyNames\": [\"$name\"]"
    done
    printf '\n  ],\n  "policies": [\n'
    separator=''
    for name in ingest recording evidence; do
        printf '%s    {"name": "%s", "content": "%s"}' "$separator" "$name" "$(policy "$name")"
        separator=',
'
    done
    printf '\n  ]\n}\n'
} >secrets/s3/identities.json

# authority FOLDER NAME: who signs
authority() {
    [ -s "secrets/$1/ca.pem" ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
        -keyout "secrets/$1/ca.key" -out "secrets/$1/ca.pem" -days 3650 -subj "/CN=$2" 2>/dev/null
}
# certificate FOLDER FILE ALTERNATIVE-NAMES
certificate() {
    [ ! -s "secrets/$1/$2.pem" ] || return 0
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "secrets/$1/$2.key" \
        -out "secrets/$1/$2.csr" -subj "/CN=$2" -addext "subjectAltName=$3" 2>/dev/null
    openssl x509 -req -in "secrets/$1/$2.csr" -CA "secrets/$1/ca.pem" -CAkey "secrets/$1/ca.key" \
        -CAcreateserial -days 365 -copy_extensions copy -out "secrets/$1/$2.pem" 2>/dev/null
}

# Among services: each by its own name.
authority tls 'Vigie services'
for service in access audit registry ingest recording evidence gateway; do
    certificate tls "$service" \
        "URI:spiffe://vigie.internal/vigie/$service,DNS:$service.vigie.internal"
done

# For people and programs: another authority, for what is shown there proves no service.
names='DNS:localhost,DNS:gateway,IP:127.0.0.1'
for name in "$@"; do
    case $name in
        *[!0-9.]*) names="$names,DNS:$name" ;;
        *) names="$names,IP:$name" ;;
    esac
done
authority people 'Vigie at this machine'
certificate people server "$names"

find secrets -type d -mindepth 1 -exec chmod 755 {} +
find secrets -type f -exec chmod 644 {} +
chmod 600 secrets/tls/ca.key secrets/people/ca.key
echo "ready: infra/compose/secrets; clients trust infra/compose/secrets/people/ca.pem"
