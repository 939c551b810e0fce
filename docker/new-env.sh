#!/bin/sh
# Write docker/.env, readable only by you: random passwords, and the group of Docker's socket on this machine.
set -eu
cd "$(dirname "$0")"
if [ -e .env ]; then
    echo "docker/.env exists and is left as it is" >&2
    exit 1
fi
secret() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
socket=${DOCKER_SOCKET:-/var/run/docker.sock}
umask 077
sed -e "s/^LDTM_SUPERUSER_PASSWORD=.*/LDTM_SUPERUSER_PASSWORD=$(secret)/" \
    -e "s/^LDTM_OWNER_PASSWORD=.*/LDTM_OWNER_PASSWORD=$(secret)/" \
    -e "s/^LDTM_WRITER_PASSWORD=.*/LDTM_WRITER_PASSWORD=$(secret)/" \
    -e "s/^LDTM_READER_PASSWORD=.*/LDTM_READER_PASSWORD=$(secret)/" \
    -e "s|^DOCKER_SOCKET=.*|DOCKER_SOCKET=$socket|" \
    -e "s/^DOCKER_GID=.*/DOCKER_GID=$(stat -c %g "$socket")/" example.env > .env.part
mv .env.part .env
echo "wrote docker/.env"
