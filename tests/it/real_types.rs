//! The types that work over SSH, as `pmx` runs them, against the real things: sshd, Docker with compose, tmux in containers. What they did is
//! asked of ordinary clients, never of `pmx`.

mod compose;
mod console;
mod engine;
mod exec;
mod files;
mod images;
mod install;
mod login;
mod minecraft;
mod minecraft_power;
mod minecraft_rcon;
mod netboot;
mod order;
mod overlay;
mod refused;
mod repo;
mod repo_cut;
mod secrets;
mod site;
mod stream;
mod tailnet;
mod uploads;
