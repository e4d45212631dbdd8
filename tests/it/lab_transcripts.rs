//! The lab against what a genuine Proxmox VE answers.

mod cases;
mod wire;
