#!/bin/sh
# `rc-update add NAME default` and `rc-update show default`, with links as OpenRC has them.
case $1 in
  add)
    [ -x "/etc/init.d/$2" ] || { echo " * rc-update: service \`$2' does not exist" >&2; exit 1; }
    [ ! -e "/etc/runlevels/$3/$2" ] || { echo " * rc-update: $2 already installed in runlevel \`$3'; skipping"; exit 0; }
    ln -s "/etc/init.d/$2" "/etc/runlevels/$3/$2" && echo " * service $2 added to runlevel $3"
    ;;
  show) for service in "/etc/runlevels/$2"/*; do [ ! -e "$service" ] || printf '%20s | %6s\n' "${service##*/}" "$2"; done ;;
  *) exit 1 ;;
esac
