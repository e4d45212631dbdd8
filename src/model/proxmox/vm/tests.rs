//! What the methods of `proxmox/vm` do: wire script → outcome.
