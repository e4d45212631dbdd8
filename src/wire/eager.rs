//! A TCP connection that acknowledges at once what comes while it begins.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Reads of a handshake, a login, and the first answer.
const READS: u32 = 64;

/// A connection to a server that may hold a small packet back until the one before is acknowledged, which the system does after 40 ms. sshd lays Nagle's
/// algorithm aside only when a session begins (`ssh_packet_set_interactive` in its source), and sends its host keys and the confirmation of the first channel
/// one after the other before.
pub(super) struct Eager {
    stream: TcpStream,
    left: u32,
}

impl Eager {
    pub(super) const fn new(stream: TcpStream) -> Self {
        Self { stream, left: READS }
    }
}

impl AsyncRead for Eager {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if self.left > 0 && matches!(read, Poll::Ready(Ok(()))) {
            self.left -= 1;
            // The system forgets it with each packet that is sent (tcp(7)). Where it refuses, the answer comes later.
            let _ = self.stream.set_quickack(true);
        }
        read
    }
}

impl AsyncWrite for Eager {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
