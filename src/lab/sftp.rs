//! The SFTP subsystem over a practice machine's files.

use std::sync::Arc;

use russh::Channel;
use russh::server::Msg;

use super::machine::Machine;

/// Serves SFTP on a channel, as `user`, until the far end closes it.
pub fn serve(channel: Channel<Msg>, machine: Arc<dyn Machine>, user: &str) {
    let _ = (channel, machine, user);
}
