#!/bin/sh
# Stands in for a tModLoader server's console: commands on standard input, answers on standard output behind a prompt.
players=$PLAYERS

count() { echo $#; }

save() {
  echo "Saving world data: 1%"
  sleep "$SAVE_SECONDS"
  echo "Saving world data: 100%"
  echo "Backing up world file"
  date +%s >> /world/saves
}

list() {
  port=50001
  for name in $players; do
    echo "$name (10.0.0.9:$port)"
    port=$((port + 1))
  done
  case $(count $players) in
    0) echo "No players connected." ;;
    1) echo "1 player connected." ;;
    *) echo "$(count $players) players connected." ;;
  esac
}

kick() {
  if [ -z "$1" ]; then
    echo "Usage: kick <player>"
    return
  fi
  left=
  for name in $players; do
    [ "$name" = "$1" ] || left="$left $name"
  done
  players=$left
}

echo $$ > /tmp/server.pid
echo "Terraria Server v1.4.4.9 - tModLoader"
echo "Listening on port 7777"
echo "Type 'help' for a list of commands."
echo
printf ': '
while read -r word rest; do
  case $word in
    playing) list ;;
    maxplayers) echo "Player limit: 8" ;;
    version) echo "Terraria Server v1.4.4.9" ;;
    say) echo "<Server> $rest" ;;
    # No command of the real console: what the first player writes into the chat.
    chat) echo "<${players%% *}> $rest" ;;
    save) save ;;
    exit) save; exit 0 ;;
    exit-nosave) exit 0 ;;
    kick) kick "$rest" ;;
    '') ;;
    *) echo "Invalid command." ;;
  esac
  printf ': '
done
