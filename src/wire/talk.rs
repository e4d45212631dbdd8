//! A conversation with one command on a host: lines to it and lines from it, until it ends or the connection does.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::sync::OwnedSemaphorePermit;

use crate::event::Stream;
use crate::wire::connection::{Connection, Fault};
use crate::wire::exec::{self, STDERR};
use crate::wire::russh_client::{Ask, SshClient};
use crate::wire::ssh::{SshError, Target};

/// Connecting, logging in and starting the command.
const BEGIN_WITHIN: Duration = Duration::from_secs(30);

/// A longer line is no line of a conversation.
const LONGEST_LINE: usize = 32 << 20;

/// What the command said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A line, without its end; bytes that are not UTF-8 are replaced.
    Line(Stream, String),
    /// It has ended, with this status if it left one. Without one the connection broke.
    Ended(Option<u32>),
}

/// The way to the command. Its input ends when this is dropped.
pub struct Mouth {
    write: ChannelWriteHalf<Msg>,
    _connection: Arc<Connection>,
    _permit: OwnedSemaphorePermit,
}

/// The way from the command.
pub struct Ear {
    read: ChannelReadHalf,
    out: Lines,
    err: Lines,
    heard: VecDeque<Heard>,
    status: Option<u32>,
}

impl SshClient {
    /// Runs `script` by the user's shell on `target` and talks with it. It is nobody's to end: it reads the end of its input.
    pub async fn talk(&self, target: &Target, script: &str) -> Result<(Mouth, Ear), SshError> {
        let begun = AtomicBool::new(false);
        let ask = Ask { what: "a conversation", deadline: BEGIN_WITHIN, begun: &begun };
        let started = &begun;
        self.on(target, ask, |connection| async move {
            let place = connection.channel().await?;
            let (read, write) = place.channel.split();
            let (mark, text) = exec::marked(script);
            started.store(true, Ordering::SeqCst);
            write.exec(true, text).await.map_err(|e| Fault::Gone(e.to_string()))?;
            let ear = Ear { read, out: Lines::after(mark), err: Lines::default(), heard: VecDeque::new(), status: None };
            Ok((Mouth { write, _connection: Arc::clone(&connection), _permit: place.permit }, ear))
        })
        .await
    }
}

impl Mouth {
    /// Sends one line; `false` when nobody takes it any more.
    pub async fn say(&self, line: &str) -> bool {
        self.write.data_bytes(format!("{line}\n").into_bytes()).await.is_ok()
    }
}

impl Ear {
    /// The next line, or the end. A caller that stops waiting loses nothing.
    pub async fn hear(&mut self) -> Heard {
        loop {
            if let Some(heard) = self.heard.pop_front() {
                return heard;
            }
            match self.read.wait().await {
                Some(ChannelMsg::Data { data }) => self.out.take(&data, Stream::Out, &mut self.heard),
                Some(ChannelMsg::ExtendedData { data, ext: STDERR }) => self.err.take(&data, Stream::Err, &mut self.heard),
                Some(ChannelMsg::ExitStatus { exit_status }) => self.status = Some(exit_status),
                Some(ChannelMsg::Close | ChannelMsg::Failure) | None => {
                    self.out.end(Stream::Out, &mut self.heard);
                    self.err.end(Stream::Err, &mut self.heard);
                    self.heard.push_back(Heard::Ended(self.status));
                }
                Some(_) => {}
            }
        }
    }
}

/// Lines that are being put together, behind the mark if one is awaited.
#[derive(Default)]
struct Lines {
    held: Vec<u8>,
    mark: Option<String>,
}

impl Lines {
    fn after(mark: String) -> Self {
        Self { held: Vec::new(), mark: Some(mark) }
    }

    fn take(&mut self, data: &[u8], stream: Stream, heard: &mut VecDeque<Heard>) {
        let fresh = self.held.len();
        self.held.extend_from_slice(data);
        if let Some(mark) = &self.mark {
            let Some(at) = exec::behind(&self.held, mark) else { return };
            self.held.drain(..at);
            self.mark = None;
            return self.split(0, stream, heard);
        }
        self.split(fresh, stream, heard);
    }

    /// Before `from` there is no end of a line.
    fn split(&mut self, from: usize, stream: Stream, heard: &mut VecDeque<Heard>) {
        let mut done = 0;
        let mut look = from;
        while let Some(end) = self.held[look..].iter().position(|byte| *byte == b'\n').map(|at| look + at) {
            heard.push_back(Heard::Line(stream, text(&self.held[done..end])));
            done = end + 1;
            look = done;
        }
        self.held.drain(..done);
        if self.held.len() > LONGEST_LINE {
            self.end(stream, heard);
        }
    }

    fn end(&mut self, stream: Stream, heard: &mut VecDeque<Heard>) {
        if !self.held.is_empty() {
            heard.push_back(Heard::Line(stream, text(&self.held)));
            self.held.clear();
        }
    }
}

fn text(line: &[u8]) -> String {
    let line = String::from_utf8_lossy(line);
    line.strip_suffix('\r').unwrap_or(&line).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(chunks: &[&[u8]]) -> Vec<String> {
        let (mut lines, mut heard) = (Lines::after("pmx-1\n".to_owned()), VecDeque::new());
        chunks.iter().for_each(|chunk| lines.take(chunk, Stream::Out, &mut heard));
        lines.end(Stream::Out, &mut heard);
        let text = |heard| if let Heard::Line(_, text) = heard { text } else { String::new() };
        heard.into_iter().map(text).collect()
    }

    #[test]
    fn lines_are_put_together_behind_the_mark_however_they_are_cut() {
        assert_eq!(told(&[b"Welcome\npm", b"x-1\none\r\ntw", b"o\n\nla", b"st"]), ["one", "two", "", "last"]);
        assert_eq!(told(&[b"pmx-1\n", b"a\nb\n"]), ["a", "b"]);
        // Whoever never says the mark is told at the end, as it is.
        assert_eq!(told(&[b"no such shell\n"]), ["no such shell\n"]);
    }
}
