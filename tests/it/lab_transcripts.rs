//! The lab against what a genuine Proxmox VE answers.
#![expect(clippy::unwrap_used, reason = "a test ends at its first surprise")]

mod cases;
mod faults;
mod machines;
mod normal;
mod proxmoxer;
mod replay;
mod transcript;
mod wire;
