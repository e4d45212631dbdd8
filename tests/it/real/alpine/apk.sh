#!/bin/sh
# `apk add [-U] NAME…`: fetches NAME.tar.gz from the first repository that has it, and unpacks it over the system.
[ "$1" = add ] || { echo "apk: only add is known here" >&2; exit 1; }
shift
[ "$1" != -U ] || shift
for name; do
  found=
  while read -r repository; do
    case $repository in http://*) ;; *) continue ;; esac
    if wget -q -O /tmp/package.tar.gz "$repository/$name.tar.gz" 2>/dev/null; then found=$repository; break; fi
  done </etc/apk/repositories
  if [ -z "$found" ]; then
    printf 'ERROR: unable to select packages:\n  %s (no such package):\n    required by: world[%s]\n' "$name" "$name"
    exit 1
  fi
  echo "(1/1) Installing $name"
  tar -xzf /tmp/package.tar.gz -C / && rm /tmp/package.tar.gz || exit 1
done
