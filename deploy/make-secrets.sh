#!/bin/sh
# Make what compose.yaml mounts from secrets/: a password for each user, and mosquitto's password file
# and ACL. Run as root. Passwords that are there stay; the ACL is copied again.
set -eu
umask 077
cd "$(dirname "$0")"

bridge=10001
mosquitto=1883

mkdir -p secrets/mosquitto
chmod 711 secrets # each file has its own reader
passwd=secrets/mosquitto/passwd
: >"$passwd.new"
for user in bridge homeassistant dashboard; do
    if [ ! -s "secrets/$user" ]; then
        head -c 24 /dev/urandom | base64 | tr '+/' '-_' >"secrets/$user"
    fi
    echo "$user:$(cat "secrets/$user")" >>"$passwd.new"
done
mosquitto_passwd -U "$passwd.new" # writes hashes in place of passwords
mv "$passwd.new" "$passwd"
cp mosquitto/acl secrets/mosquitto/acl
chmod 600 "$passwd" secrets/mosquitto/acl
chown -R "$mosquitto:$mosquitto" secrets/mosquitto
chown "$bridge:$bridge" secrets/bridge
echo "Passwords: secrets/bridge, secrets/homeassistant, secrets/dashboard"
