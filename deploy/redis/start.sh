#!/bin/sh
# Start Redis with a user per service: passwords come from the environment and go into the ACL file as hashes.
set -eu

acl=/run/redis/users.acl
umask 077
cp /etc/fauxchange/users.acl.template "$acl"
for name in $(sed -n 's/.*#@\([A-Z_]*\)@.*/\1/p' "$acl"); do
    password=$(printenv "$name") || { echo "$name is not set: the Redis user has no password" >&2; exit 1; }
    hash=$(printf %s "$password" | sha256sum | cut -d' ' -f1)
    sed -i "s/@$name@/$hash/" "$acl"
    unset "$name"
done

exec redis-server /etc/fauxchange/redis.conf
