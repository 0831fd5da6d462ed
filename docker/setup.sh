#!/bin/sh
# Prepares a composed system: a random password for the job store and the profile that starts by default.
#
#   docker/setup.sh [cpu|gpu]
#
# Files that are there already are kept, so that it can be run again. EQUIMOL_SECRETS names another folder for
# the secrets.
set -eu
umask 077

device=${1:-cpu}
case $device in
  cpu | gpu) ;;
  *) echo "setup.sh: $device was given; wanted cpu or gpu" >&2; exit 2 ;;
esac
root=$(cd "$(dirname "$0")/.." && pwd)
secrets=${EQUIMOL_SECRETS:-$root/docker/secrets}

mkdir -p "$secrets"
if [ ! -e "$secrets/redis_url" ]; then
  password=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
  printf 'redis://:%s@redis:6379/0\n' "$password" > "$secrets/redis_url"
  # Containers see the file itself and run as other users; the folder keeps this machine's users out.
  chmod 444 "$secrets/redis_url"
  echo "made $secrets/redis_url"
fi
if [ ! -e "$root/.env" ]; then
  printf '# Read by docker compose; see docs/deployment.md.\nCOMPOSE_PROFILES=%s\n' "$device" > "$root/.env"
  echo "made $root/.env (profile $device)"
fi
