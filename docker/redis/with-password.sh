#!/bin/sh
# Starts Redis with the password in a file, or not at all: with-password.sh CONFIG PASSWORD_FILE
# Redis gets only its hash, so nothing must be escaped and no log can show it. fanout.environment reads the same files.
set -eu
config=$1 file=$2

fail() {
  echo "redis: the password in $file $*; Redis does not start without one" >&2
  exit 2
}

[ -r "$file" ] && [ ! -d "$file" ] || fail 'cannot be read'
password=$(tr -d '\000' <"$file") # a shell cannot hold NUL; the size check below finds it
password=${password%"$(printf '\r')"}
size=$(wc -c <"$file")
length=$(printf %s "$password" | wc -c)
[ -n "$(printf %s "$password" | tr -d '[:space:]')" ] || fail 'is empty'
# Only one line break at the end may have been removed.
end=$(tail -c $((size - length)) "$file" | od -An -tx1 | tr -d ' \n')
case $end in '' | 0a | 0d0a) ;; *) fail 'has several lines, or control characters' ;; esac
[ "$(printf %s "$password" | LC_ALL=C tr -d '\001-\037\177' | wc -c)" -eq "$length" ] ||
  fail 'has several lines, or control characters'

umask 077
{
  cat "$config"
  echo "user default reset on #$(printf %s "$password" | sha256sum | cut -d ' ' -f 1) ~* &* +@all"
} >/tmp/redis.conf
exec redis-server /tmp/redis.conf
