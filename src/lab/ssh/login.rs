//! One SSH connection: who may in, its channels, and what runs in them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use russh::server::{Auth, ChannelOpenHandle, Handle, Handler, Msg, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelOpenFailure, Pty, Sig};
use tokio::sync::{mpsc, watch};

use crate::lab::commands;
use crate::lab::machine::Machine;
use crate::lab::sftp;
use crate::lab::shell::io::{Input, Io, Sent, Sink, Source};
use crate::lab::shell::{STACK, Shell, World};

/// Channels that one connection may have open; OpenSSH's `MaxSessions`.
const MAX_SESSIONS: usize = 10;
/// Bytes of standard input that wait for a command which does not read; more breaks the connection, as a bound.
const MAX_INPUT: u64 = 256 << 20;

/// One connection.
pub struct Login {
    machine: Arc<dyn Machine>,
    user: String,
    channels: HashMap<ChannelId, Open>,
    uploaded: u64,
    cut: watch::Sender<bool>,
}

/// One channel.
struct Open {
    /// Until something runs in it.
    channel: Option<Channel<Msg>>,
    env: Vec<(String, String)>,
    stdin: Option<mpsc::UnboundedSender<Vec<u8>>>,
    cancel: Arc<AtomicBool>,
    /// This side has closed it. russh forgets such a channel at once and calls no `channel_close` when the far end answers.
    closed: Arc<AtomicBool>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.cancel.store(true, Ordering::Relaxed);
    }
}

/// What a channel runs.
enum Task {
    Command(String),
    Shell,
}

impl Login {
    /// A connection to `machine`, broken by sending true on `cut`.
    pub fn new(machine: Arc<dyn Machine>, cut: watch::Sender<bool>) -> Self {
        Self { machine, user: String::new(), channels: HashMap::new(), uploaded: 0, cut }
    }

    fn start(&mut self, id: ChannelId, task: Task, session: &mut Session) -> Result<(), russh::Error> {
        let Some(open) = self.channels.get_mut(&id).filter(|open| open.channel.is_some()) else {
            return session.channel_failure(id);
        };
        open.channel = None;
        let (stdin, input) = mpsc::unbounded_channel();
        let (far, output) = mpsc::channel(16);
        open.stdin = Some(stdin);
        let mut world = World::new(Arc::clone(&self.machine), &self.user, commands::find);
        world.cancel = Arc::clone(&open.cancel);
        let env = std::mem::take(&mut open.env);
        let io = Io {
            stdin: Input::new(Source::Remote(input, Vec::new())),
            stdout: Sink::RemoteOut(far.clone()),
            stderr: Sink::RemoteErr(far.clone()),
        };
        std::thread::Builder::new()
            .name("lab-ssh".to_owned())
            .stack_size(STACK)
            .spawn(move || run(world, io, &task, (&env, &far)))
            .map_err(russh::Error::IO)?;
        tokio::spawn(forward(session.handle(), id, output, Arc::clone(&open.closed)));
        session.channel_success(id)
    }
}

/// The life of the far end's shell, on a thread of its own.
fn run(world: World, io: Io, task: &Task, with: (&[(String, String)], &mpsc::Sender<Sent>)) {
    let (env, far) = with;
    let faults = world.machine.faults();
    let pace = faults.pace.max(0.001);
    let begins = world.wait(faults.slow.as_secs_f64() / pace);
    while faults.hang && world.wait(1.0 / pace) {}
    let mut shell = Shell::new(world, io);
    for (name, value) in env {
        shell.export(name, value);
    }
    let status = match task {
        _ if !begins => 143,
        Task::Command(text) => shell.script(text),
        Task::Shell => shell.interact(),
    };
    let end = if shell.world.cancelled() { Sent::Killed } else { Sent::Exit(status) };
    // The far end may be gone; then nobody waits for the status.
    far.blocking_send(end).ok();
}

/// Carries output to the far end until every writer is gone, those in the background too.
async fn forward(handle: Handle, id: ChannelId, mut output: mpsc::Receiver<Sent>, closed: Arc<AtomicBool>) {
    while let Some(sent) = output.recv().await {
        let gone = match sent {
            Sent::Out(bytes) => handle.data(id, bytes).await.is_err(),
            Sent::Err(bytes) => handle.extended_data(id, 1, bytes).await.is_err(),
            Sent::Exit(status) => handle.exit_status_request(id, u32::try_from(status & 0xff).unwrap_or(255)).await.is_err(),
            Sent::Killed => handle.exit_signal_request(id, Sig::TERM, false, String::new(), String::new()).await.is_err(),
        };
        if gone {
            return;
        }
    }
    // Errors mean that the connection is gone, and the channel with it.
    handle.eof(id).await.ok();
    // Before the far end can hear of it: it may ask for the next channel at once.
    closed.store(true, Ordering::Relaxed);
    handle.close(id).await.ok();
}

impl Handler for Login {
    type Error = russh::Error;

    /// Practice needs no key: a fresh machine has none.
    async fn auth_none(&mut self, user: &str) -> Result<Auth, russh::Error> {
        user.clone_into(&mut self.user);
        Ok(if self.machine.faults().refuse_login { Auth::reject() } else { Auth::Accept })
    }

    async fn auth_publickey(&mut self, user: &str, _key: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        user.clone_into(&mut self.user);
        Ok(if self.machine.faults().refuse_login { Auth::reject() } else { Auth::Accept })
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.channels.retain(|_, open| !open.closed.load(Ordering::Relaxed));
        if self.channels.len() >= MAX_SESSIONS {
            reply.reject(ChannelOpenFailure::ConnectFailed).await;
            return Ok(());
        }
        let id = channel.id();
        self.channels
            .insert(id, Open { channel: Some(channel), env: Vec::new(), stdin: None, cancel: Arc::default(), closed: Arc::default() });
        reply.accept().await;
        Ok(())
    }

    async fn channel_close(&mut self, id: ChannelId, _session: &mut Session) -> Result<(), russh::Error> {
        self.channels.remove(&id);
        Ok(())
    }

    async fn channel_eof(&mut self, id: ChannelId, _session: &mut Session) -> Result<(), russh::Error> {
        if let Some(open) = self.channels.get_mut(&id) {
            open.stdin = None;
        }
        Ok(())
    }

    async fn data(&mut self, id: ChannelId, data: &[u8], _session: &mut Session) -> Result<(), russh::Error> {
        self.uploaded += data.len() as u64;
        let most = self.machine.faults().cut_upload_after.unwrap_or(u64::MAX);
        if self.uploaded > most || self.uploaded > MAX_INPUT * 16 {
            self.cut.send_replace(true);
            return Ok(());
        }
        if let Some(stdin) = self.channels.get(&id).and_then(|open| open.stdin.as_ref()) {
            // A command that has ended reads no more; what comes is dropped, as by a closed pipe.
            stdin.send(data.to_vec()).ok();
        }
        Ok(())
    }

    async fn pty_request(
        &mut self,
        id: ChannelId,
        term: &str,
        _columns: u32,
        _rows: u32,
        _width: u32,
        _height: u32,
        _modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        if let Some(open) = self.channels.get_mut(&id) {
            open.env.push(("TERM".to_owned(), term.to_owned()));
        }
        session.channel_success(id)
    }

    async fn env_request(&mut self, id: ChannelId, name: &str, value: &str, session: &mut Session) -> Result<(), russh::Error> {
        // sshd's AcceptEnv on Debian and Alpine lets these through and nothing else.
        let wanted = name == "LANG" || name.starts_with("LC_");
        match self.channels.get_mut(&id).filter(|_| wanted) {
            Some(open) => {
                open.env.push((name.to_owned(), value.to_owned()));
                session.channel_success(id)
            }
            None => session.channel_failure(id),
        }
    }

    async fn exec_request(&mut self, id: ChannelId, data: &[u8], session: &mut Session) -> Result<(), russh::Error> {
        let command = String::from_utf8_lossy(data).into_owned();
        // sshd hands it to the user's shell as one word.
        self.machine.started(std::slice::from_ref(&command));
        self.start(id, Task::Command(command), session)
    }

    async fn shell_request(&mut self, id: ChannelId, session: &mut Session) -> Result<(), russh::Error> {
        self.start(id, Task::Shell, session)
    }

    async fn subsystem_request(&mut self, id: ChannelId, name: &str, session: &mut Session) -> Result<(), russh::Error> {
        let channel = self.channels.get_mut(&id).filter(|_| name == "sftp").and_then(|open| open.channel.take());
        let Some(channel) = channel else { return session.channel_failure(id) };
        session.channel_success(id)?;
        sftp::serve(channel, Arc::clone(&self.machine), &self.user);
        Ok(())
    }

    async fn signal(&mut self, id: ChannelId, _signal: Sig, _session: &mut Session) -> Result<(), russh::Error> {
        if let Some(open) = self.channels.get_mut(&id) {
            open.cancel.store(true, Ordering::Relaxed);
            open.stdin = None;
        }
        Ok(())
    }
}
