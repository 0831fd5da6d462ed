#!/bin/sh
# Starts the job store with the password of the secret `redis_url`, which appears on no command line.
set -eu
umask 077
password=$(sed -n 's|^rediss\{0,1\}://[^:/@]*:\([^/@]*\)@.*|\1|p' /run/secrets/redis_url)
if [ -z "$password" ]; then
  echo "the secret redis_url has no password; wanted redis://:PASSWORD@redis:6379/0 (docker/setup.sh writes one)" >&2
  exit 1
fi
# Clients may do everything with their data, but neither administer the server nor empty it.
{
  cat /etc/valkey/valkey.conf
  printf 'user default on >%s ~* &* +@all -@admin -flushall -flushdb\n' "$password"
} > /tmp/valkey.conf
exec valkey-server /tmp/valkey.conf
