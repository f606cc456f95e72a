#!/bin/sh
# The secrets of docker-compose.yml, each in a volume that only its reader mounts:
#
#   /keys/keys                   hashes, for the gateway
#   /metrics-key/metrics_key     the key with which Prometheus reads the gateway's metrics
#   /grafana-password/password   of Grafana's user `admin`
#
# keys                             makes what is missing, at every start
# keys NAME [--admin] [--rate N]   makes a key for NAME and prints it, this once
# keys --revoke NAME               NAME's keys are refused from now on
# keys --list                      whose keys are in force
# keys --password                  Grafana's
set -eu
umask 077
file=/keys/keys metrics=/metrics-key/metrics_key password=/grafana-password/password
exec 9> /keys/.lock
flock 9

# A new file is renamed into the place of the old one: nobody reads half of it. Readers have uids of
# their own; who can enter the volume at all is decided by docker-compose.yml.
replace() {
  cat > "$1.new"
  chmod 444 "$1.new"
  mv "$1.new" "$1"
}

add() {
  said=$(mktemp)
  made=$(attnvgg-serve key "$@" 2> "$said") || { cat "$said" >&2; exit 2; }
  { cat "$file"; echo "$made" | sed -n 2p; } | replace "$file"
  echo "$made" | sed -n 1p
}

revoke() {
  if ! names | grep -qxF -- "$1"; then
    echo "keys: there is no key of '$1'; there are: $(names | tr '\n' ' ')" >&2
    exit 2
  fi
  awk -v name="$1" '$1 != name' "$file" | replace "$file"
}

names() { awk 'NF && $1 !~ /^#/ { print $1 }' "$file" | sort -u; }

[ -e "$file" ] || replace "$file" < /dev/null
case ${1-} in
  "")
    if [ ! -s "$metrics" ]; then
      awk '$1 != "prometheus"' "$file" | replace "$file"
      add prometheus | replace "$metrics"
    fi
    [ -s "$password" ] || python -c 'import secrets; print(secrets.token_urlsafe(18), end="")' |
      replace "$password"
    ;;
  --list) names ;;
  --password) cat "$password"; echo ;;
  --revoke)
    revoke "${2:?whose? keys --revoke NAME}"
    # The next start makes another for Prometheus.
    if [ "$2" = prometheus ]; then rm -f "$metrics"; fi
    ;;
  -*) echo "keys: there is no option $1; there are --list, --password and --revoke NAME" >&2; exit 2 ;;
  *) add "$@" ;;
esac
