#!/bin/sh
# Stands in for what installs packages and runs services: apk, rc-update and rc-service on Alpine, apt-get and systemctl on Debian.
state=$HOME/tailnet
name=${0##*/}
echo "$name $*" >>"$state/system"
case "$name $*" in
  'apk add --no-cache tailscale' | 'apt-get install -y tailscale')
    if [ -e "$state/nopackage" ]; then
      printf 'ERROR: unable to select packages:\n  tailscale (no such package):\n    required by: world[tailscale]\n' >&2
      exit 1
    fi
    ln -s ../tailscale "$STAND_IN_BIN/tailscale"
    ;;
  'rc-update add tailscale default') ;;
  'rc-service tailscale start' | 'systemctl enable --now tailscaled') touch "$state/daemon" ;;
  *) echo "$name: what is $*?" >&2; exit 1 ;;
esac
