//! The lab against what a genuine Proxmox VE answers.

mod cases;
mod normal;
mod proxmoxer;
mod replay;
mod transcript;
mod wire;
