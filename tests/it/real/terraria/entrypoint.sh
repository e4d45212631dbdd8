#!/bin/sh
# Stands in for the image's first process: the server in an unnamed tmux session, its output in the container's log, a warning and a
# save when the container is told to stop.
pipe=/tmp/server.out
mkfifo "$pipe"

finish() {
  inject "say The server is going down."
  sleep "$SHUTDOWN_PAUSE"
  inject "exit"
  while [ -e /tmp/running ]; do sleep 0.1; done
  exit 0
}
trap finish TERM INT

touch /tmp/running
tmux new-session -d "server | tee $pipe; rm /tmp/running"
cat "$pipe" &
# A server that was told to exit ends its container.
while [ -e /tmp/running ]; do
  sleep 0.1 &
  wait $!
done
