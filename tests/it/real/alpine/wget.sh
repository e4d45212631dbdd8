#!/bin/sh
# busybox's wget, as Alpine has it. Debian's busybox dies of -T, which Alpine's takes.
for word; do
  shift
  if [ -n "$seconds" ]; then seconds=; continue; fi
  if [ "$word" = -T ]; then seconds=yes; continue; fi
  set -- "$@" "$word"
done
exec busybox wget "$@"
