//! `pmx/repo` on a connection that is cut: after however many bytes, the old tree or the new one stands, never a mixture.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::super::process::wait_until;
use super::super::real::sshd::Sshd;
use super::repo::{Tree, code, local, repo, tree};

/// A way to a server that lets a number of bytes through to it and then breaks, and stays broken.
struct Way {
    port: u16,
    left: Arc<AtomicI64>,
}

impl Way {
    fn to(sshd: &Sshd) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it has an address").port();
        let left = Arc::new(AtomicI64::new(i64::MAX));
        let (server, budget) = ((sshd.address.clone(), sshd.port), Arc::clone(&left));
        // Ends with the test's process; each connection ends with its client.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect((server.0.as_str(), server.1)) else { continue };
                let (mut back_from, mut back_to) = (server.try_clone().expect("a socket"), client.try_clone().expect("a socket"));
                std::thread::spawn(move || std::io::copy(&mut back_from, &mut back_to));
                let budget = Arc::clone(&budget);
                std::thread::spawn(move || forward(client, server, &budget));
            }
        });
        Self { port, left }
    }

    /// Breaks after so many bytes from now on.
    fn cut_after(&self, bytes: i64) {
        self.left.store(bytes, Ordering::SeqCst);
    }

    /// Bytes that went through since there was no limit.
    fn passed(&self) -> i64 {
        i64::MAX - self.left.load(Ordering::SeqCst)
    }
}

fn forward(mut client: TcpStream, mut server: TcpStream, budget: &AtomicI64) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(count) = client.read(&mut buffer) {
        let before = budget.fetch_sub(count as i64, Ordering::SeqCst);
        let through = count.min(usize::try_from(before).unwrap_or(0));
        if count == 0 || server.write_all(&buffer[..through]).is_err() || through < count {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}

#[test]
fn a_cut_connection_leaves_the_old_tree_or_the_new_one() {
    let Some(sshd) = Sshd::start() else { return };
    let way = Way::to(&sshd);
    let there = sshd.home().join("pm");
    let sandbox = repo(&sshd, ("127.0.0.1", way.port), "~/pm");
    // Each generation changes, adds, moves and removes.
    let generation = |number: usize| {
        let site = sandbox.path("site");
        let _ = std::fs::remove_dir_all(&site);
        for file in 0..60 {
            let folder = site.join(format!("{}", (file + number) % 4));
            std::fs::create_dir_all(&folder).expect("a folder can be made");
            let text = if file % 3 == 0 { format!("same {file}\n") } else { format!("{number} {file}\n").repeat(200 + 37 * file) };
            std::fs::write(folder.join(format!("{}.txt", (file + number * 5) % 90)), text).expect("a file can be written");
        }
    };
    generation(0);
    code(&sandbox).exits(0);
    generation(1);
    way.cut_after(i64::MAX);
    code(&sandbox).exits(0);
    let whole = way.passed();
    assert_eq!(tree(&there), local(&sandbox));
    std::fs::create_dir_all(there.join("store")).expect("a folder can be made");
    std::fs::write(there.join("store/index.db"), "theirs").expect("a file can be written");
    let (mut stood, mut failed) = (0, 0);
    let shares = [1, 8, 20, 35, 50, 65, 80, 90, 94, 96, 97, 98, 99];
    for (number, share) in shares.into_iter().enumerate() {
        generation(number + 2);
        let (old, new) = (tree(&there), with_store(local(&sandbox)));
        way.cut_after(whole * share / 100);
        let ran = code(&sandbox);
        failed += usize::from(!ran.status.success());
        // A switch that was decided goes on without the connection.
        wait_until(&format!("old or new after {share} % of {whole} bytes"), Duration::from_secs(30), || {
            let now = tree(&there);
            now == old || now == new
        });
        std::thread::sleep(Duration::from_millis(300));
        let now = tree(&there);
        assert!(now == old || now == new, "it stays so after {share} %: {ran}");
        stood += usize::from(now == old);
        way.cut_after(i64::MAX);
        code(&sandbox).exits(0);
        assert!(tree(&there) == new, "the next sync ends what the cut one began ({share} %)");
    }
    assert!(stood >= 5 && failed >= 5, "cuts must happen: {stood} times the old tree stood, {failed} runs failed");
    code(&sandbox).exits(0).says("1 unchanged");
}

fn with_store(mut tree: Tree) -> Tree {
    tree.insert("store/index.db".into(), (0o644, b"theirs".to_vec()));
    tree
}
