//! The programs of a practice machine, written anew over its in-memory inside.
//!
//! Holds: the table of programs, and a function for each
//! Imports: none
//! Effects: waits
//! Never: runs a program of this machine or touches its files

mod args;
mod compose;
mod docker;
mod file;
mod image;
mod install;
mod lbu;
mod list;
mod nginx;
mod package;
mod pattern;
mod run;
mod show;
mod system;
mod tailnet;
mod template;
mod text;
mod tmux;
mod wget;

#[cfg(test)]
mod calamity_tests;
#[cfg(test)]
mod install_tests;
#[cfg(test)]
mod tmux_tests;

use args::{Args, Spec};

use super::host::docker::Starts;
use super::host::nginx::is_nginx;
use super::shell::{Program, World};

/// The program called `name`, if the machine (or the container that the world is in) has it.
#[must_use]
pub fn find(world: &World, name: &str) -> Option<Program> {
    everywhere(name).or_else(|| if world.container.is_some() { in_container(world, name) } else { on_host(world, name) })
}

/// What the game images bring.
fn in_container(world: &World, name: &str) -> Option<Program> {
    let container = world.container.clone()?;
    let terraria = world.host(|host| host.docker.containers.get(&container).is_some_and(|c| c.config.starts == Starts::Terraria));
    let nginx = world.host(|host| host.docker.containers.get(&container).is_some_and(|c| is_nginx(&c.image)));
    match name {
        "nginx" if nginx => Some(nginx::nginx),
        "tmux" if terraria => Some(tmux::tmux),
        "inject" if terraria => Some(tmux::inject),
        _ => None,
    }
}

/// What only a whole machine has, as far as its packages are installed.
fn on_host(world: &World, name: &str) -> Option<Program> {
    let has = |packages: &[&str]| world.host(|host| packages.iter().any(|p| host.packages.contains(*p)));
    let debian = world.host(|host| host.is_debian());
    match name {
        "docker" if has(&["docker", "docker-cli", "docker.io", "docker-ce"]) => Some(docker::docker),
        "tmux" if has(&["tmux"]) => Some(tmux::tmux),
        "java" if has(&["openjdk21-jre-headless", "openjdk17-jre-headless"]) => Some(tmux::java),
        "apk" if !debian => Some(package::apk),
        "rc-service" | "service" if !debian => Some(package::rc_service),
        "rc-update" if !debian => Some(package::rc_update),
        "rc-status" if !debian => Some(package::rc_status),
        "apt-get" | "apt" if debian => Some(package::apt),
        "systemctl" if debian => Some(package::systemctl),
        "setup-alpine" if !debian => Some(install::setup_alpine),
        "lbu" if !debian => Some(lbu::lbu),
        "wget" => Some(wget::wget),
        "modprobe" => Some(install::modprobe),
        "lsblk" => Some(install::lsblk),
        "mount" => Some(install::mount),
        "umount" => Some(install::umount),
        "chroot" => Some(install::chroot),
        "chpasswd" => Some(install::chpasswd),
        "passwd" => Some(install::passwd),
        "tailscale" if has(&["tailscale"]) => Some(tailnet::tailscale),
        "poweroff" | "halt" | "shutdown" => Some(package::power_off),
        "reboot" => Some(package::reboot),
        _ => None,
    }
}

fn everywhere(name: &str) -> Option<Program> {
    Some(match name {
        "cat" => text::cat,
        "tee" => text::tee,
        "head" => text::head,
        "tail" => text::tail,
        "wc" => text::wc,
        "grep" => text::grep,
        "sed" => text::sed,
        "sort" => text::sort,
        "tr" => text::tr,
        "cut" => text::cut,
        "sha256sum" => text::sha256sum,
        "base64" => text::base64,
        "ls" => list::ls,
        "stat" => list::stat,
        "find" => list::find,
        "df" => list::df,
        "mkdir" => file::mkdir,
        "rmdir" => file::rmdir,
        "rm" => file::rm,
        "mv" => file::mv,
        "cp" => file::cp,
        "chmod" => file::chmod,
        "chown" => file::chown,
        "touch" => file::touch,
        "ln" => file::ln,
        "readlink" | "realpath" => file::readlink,
        "mktemp" => file::mktemp,
        "basename" | "dirname" => file::name_part,
        "sync" => |_, _| 0,
        "sleep" => system::sleep,
        "id" => system::id,
        "whoami" => system::whoami,
        "uname" => system::uname,
        "date" => system::date,
        "env" => system::env,
        "which" => system::which,
        "nproc" => system::nproc,
        "sh" | "ash" | "dash" => system::sh,
        "timeout" => system::timeout,
        "nohup" | "setsid" => system::detach,
        "xargs" => system::xargs,
        "hostname" => system::hostname,
        _ => return None,
    })
}
