//! A stretch of network that breaks: a TCP relay that cuts its connections after so many bytes, and on demand lets nobody through any more.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// A relay to one server.
pub struct Cut {
    /// Its port, at the server's own address.
    pub port: u16,
    rules: Arc<Rules>,
}

struct Rules {
    to: (String, u16),
    /// Bytes that a connection may bring to the server.
    limit: AtomicU64,
    /// Connections that are let through before the line is dead.
    connections: AtomicUsize,
    ended: AtomicBool,
}

impl Cut {
    /// A relay to `address:port` that lets everything through.
    pub fn start(address: &str, port: u16) -> Self {
        let listener = TcpListener::bind((address, 0)).expect("a loopback address has a free port");
        let own = listener.local_addr().expect("a listener has an address").port();
        let rules = Arc::new(Rules {
            to: (address.to_owned(), port),
            limit: AtomicU64::new(u64::MAX),
            connections: AtomicUsize::new(usize::MAX),
            ended: AtomicBool::new(false),
        });
        let shared = Arc::clone(&rules);
        std::thread::spawn(move || serve(&listener, &shared));
        Self { port: own, rules }
    }

    /// From now on the next `connections` connections are cut once they have brought `bytes` to the server; all later ones at once.
    pub fn after(&self, bytes: u64, connections: usize) {
        self.rules.limit.store(bytes, Ordering::SeqCst);
        self.rules.connections.store(connections, Ordering::SeqCst);
    }

    /// Whole again.
    pub fn mend(&self) {
        self.after(u64::MAX, usize::MAX);
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        self.rules.ended.store(true, Ordering::SeqCst);
        // The listener waits for somebody to come.
        let _ = TcpStream::connect((self.rules.to.0.as_str(), self.port));
    }
}

fn serve(listener: &TcpListener, rules: &Arc<Rules>) {
    for client in listener.incoming().flatten() {
        if rules.ended.load(Ordering::SeqCst) {
            return;
        }
        let left = rules.connections.load(Ordering::SeqCst);
        if left == 0 {
            continue;
        }
        rules.connections.store(left.saturating_sub(usize::from(left != usize::MAX)), Ordering::SeqCst);
        let rules = Arc::clone(rules);
        std::thread::spawn(move || drop(relay(&client, &rules)));
    }
}

fn relay(client: &TcpStream, rules: &Rules) -> std::io::Result<()> {
    let server = TcpStream::connect((rules.to.0.as_str(), rules.to.1))?;
    let (mut from, mut back) = (server.try_clone()?, client.try_clone()?);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut back);
        let _ = back.shutdown(Shutdown::Both);
    });
    let (mut limit, mut buffer) = (rules.limit.load(Ordering::SeqCst), vec![0; 16 << 10]);
    while limit > 0 {
        let most = usize::try_from(limit).unwrap_or(usize::MAX).min(buffer.len());
        let count = (&mut &*client).read(&mut buffer[..most])?;
        if count == 0 {
            break;
        }
        (&mut &server).write_all(&buffer[..count])?;
        limit -= count as u64;
    }
    client.shutdown(Shutdown::Both)?;
    server.shutdown(Shutdown::Both)
}
