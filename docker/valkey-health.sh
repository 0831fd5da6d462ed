#!/bin/sh
# Healthy: the job store answers a client that has the password.
set -eu
REDISCLI_AUTH=$(sed -n 's|^rediss\{0,1\}://[^:/@]*:\([^/@]*\)@.*|\1|p' /run/secrets/redis_url)
export REDISCLI_AUTH
valkey-cli ping | grep -q PONG
