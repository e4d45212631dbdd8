#!/bin/sh
# Types a line into the server's console, by the image's own means: no -l and no target, with all that follows from it.
tmux send-keys "$1" Enter
