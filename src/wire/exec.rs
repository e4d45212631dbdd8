//! One command on one channel: input pumped and outputs drained at once, lines as they come, the end kept, the process ended when nobody waits for it.

use std::sync::Arc;
use std::time::Duration;

use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::event::Stream;
use crate::wire::clock::{Clock as _, SystemClock};
use crate::wire::command;
use crate::wire::connection::{Connection, Fault};
use crate::wire::ssh::{Input, Output, Sink, SshError};

/// A longer line is told in pieces, so that a program that never ends its line cannot fill the memory.
const LONGEST_LINE: usize = 64 << 10;

/// Output that arrives later than this after the exit status belongs to something that the command left in the background.
const LINGER: Duration = Duration::from_secs(5);

/// For ending what a deadline left behind.
const END_WITHIN: Duration = Duration::from_secs(5);

/// Run by `sh` on the host. A session's shell leads its process group; TERM first, and KILL for those who ignore it. No `--` before the group: dash and
/// busybox take it for a process.
const END_SIBLING: &str = r#"
for status in $(grep -l "^PPid:[[:space:]]*$PPID\$" /proc/[0-9]*/status 2>/dev/null); do
  pid=${status#/proc/}; pid=${pid%/status}
  [ "$pid" = "$$" ] && continue
  shown=$(tr '\0' '\n' <"/proc/$pid/cmdline" 2>/dev/null)
  case $shown in
    "$words"|*/"$words"|*"
$words"|*"$text")
      kill -TERM "-$pid"
      for look in 1 2 3 4 5 6 7 8 9 10; do
        kill -0 "-$pid" 2>/dev/null || exit
        sleep 0.1 2>/dev/null || sleep 1
      done
      kill -KILL "-$pid" 2>/dev/null
      exit ;;
  esac
done"#;

/// More than this before the mark is no noise of a shell that starts: whoever answers does not run our text, and all that it says counts.
const LONGEST_NOISE: usize = 64 << 10;

/// SSH's number for standard error among the extended data of a channel.
pub(super) const STDERR: u32 = 1;

/// A command in the form that goes over the wire.
pub(super) struct Job<'a> {
    /// The text for the remote shell.
    pub(super) text: &'a str,
    /// The arguments that the remote process will show; none for a script.
    pub(super) words: &'a [String],
    pub(super) input: &'a Input,
    pub(super) keep: usize,
    /// The command as errors show it.
    pub(super) what: &'a str,
    /// Told once the command may have begun.
    pub(super) begun: &'a (dyn Fn() + Send + Sync),
}

impl Job<'_> {
    /// Runs the command. When the future is dropped, the remote process group is asked to end, then ended.
    pub(super) async fn run(&self, connection: &Arc<Connection>, sink: Sink<'_>) -> Result<Output, Fault> {
        // A command that is being ended is looked for by its words; one of ours with the same words would be taken for it.
        connection.endings.settle().await;
        let place = connection.channel().await?;
        let (mut read, write) = place.channel.split();
        let (mark, text) = marked(self.text);
        let mut running = Running { left: Some((write, place.permit)), connection: Arc::clone(connection), ender: self.ender(&text) };
        let Some((write, _)) = &running.left else { return Err(Fault::Gone("the channel is gone".to_owned())) };
        (self.begun)();
        write.exec(true, text).await.map_err(|e| Fault::Gone(e.to_string()))?;
        let output = self.pump(&mut read, write, (mark, sink)).await.map_err(|cause| SshError::Broken {
            host: connection.name.clone(),
            what: self.what.to_owned(),
            cause: cause.to_owned(),
        })?;
        running.ended().await;
        Ok(output)
    }

    /// The script that ends this command's process group: sshd takes no signals over the channel when the user is root. It looks among its own siblings,
    /// the sessions of this connection, for one that shows our words or runs our text.
    fn ender(&self, text: &str) -> Option<String> {
        let shown = if self.words.is_empty() { text.to_owned() } else { self.words.join("\n") };
        let (words, text) = (command::quote(&shown).ok()?, command::quote(text).ok()?);
        Some(format!("words={words}\ntext={text}\n{END_SIBLING}"))
    }

    async fn pump(
        &self,
        read: &mut ChannelReadHalf,
        write: &ChannelWriteHalf<Msg>,
        (mark, sink): (String, Sink<'_>),
    ) -> Result<Output, &'static str> {
        let mut feed = std::pin::pin!(feed(write, self.input));
        let mut fed = false;
        let (mut out, mut err) = (Tail::new(Stream::Out, self.keep).after(mark), Tail::new(Stream::Err, self.keep));
        let mut status = None;
        loop {
            let linger = async {
                match status {
                    Some(_) => SystemClock::new().sleep(LINGER).await,
                    None => std::future::pending().await,
                }
            };
            let message = tokio::select! {
                message = read.wait() => message,
                () = &mut feed, if !fed => { fed = true; continue }
                () = linger => break,
            };
            match message {
                Some(ChannelMsg::Data { data }) => out.take(&data, sink),
                Some(ChannelMsg::ExtendedData { data, ext: STDERR }) => err.take(&data, sink),
                Some(ChannelMsg::ExitStatus { exit_status }) => status = Some(i32::try_from(exit_status).unwrap_or(i32::MAX)),
                Some(ChannelMsg::ExitSignal { signal_name, .. }) => status = Some(128 + number(&signal_name)),
                Some(ChannelMsg::Failure) => return Err("the host refused to start it"),
                Some(ChannelMsg::Close) | None => break,
                Some(_) => {}
            }
        }
        match status {
            Some(status) => Ok(Output { status, stdout: out.end(sink), stderr: err.end(sink) }),
            None => Err("it ended without an exit status"),
        }
    }
}

/// `text` behind a command that prints a mark, and the mark with its newline. Shells print what their startup files say to standard output, where it
/// would pass for output of the command; and a text that no other command has is found again when it must be ended.
pub(super) fn marked(text: &str) -> (String, String) {
    let once = uuid::Uuid::new_v4().simple();
    // In two pieces, so that a shell that shows what it runs does not show the mark.
    (format!("pmx-{once}\n"), format!("printf '%s%s\\n' pmx- {once}\n{text}"))
}

/// Where `bytes` go on behind `mark`.
pub(super) fn behind(bytes: &[u8], mark: &str) -> Option<usize> {
    bytes.windows(mark.len()).position(|window| window == mark.as_bytes()).map(|at| at + mark.len())
}

/// Sends the input and closes it. A command that ends without reading it is no failure: what it says counts.
async fn feed(write: &ChannelWriteHalf<Msg>, input: &Input) {
    let bytes = match input {
        Input::Empty => Vec::new(),
        Input::Bytes(bytes) => bytes.clone(),
        Input::Secret(secret) => secret.expose().as_bytes().to_vec(),
    };
    if bytes.is_empty() || write.data_bytes(bytes).await.is_ok() {
        let _ = write.eof().await;
    }
}

/// Ends the remote process when it is dropped before the command has ended, and keeps its place until then.
struct Running {
    left: Option<(ChannelWriteHalf<Msg>, OwnedSemaphorePermit)>,
    connection: Arc<Connection>,
    ender: Option<String>,
}

impl Running {
    async fn ended(&mut self) {
        if let Some((write, _)) = self.left.take() {
            // Usually closed by the host already; not when its command left something in the background.
            let _ = write.close().await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let (Some((write, permit)), Ok(runtime)) = (self.left.take(), tokio::runtime::Handle::try_current()) else { return };
        let (connection, ender) = (Arc::clone(&self.connection), self.ender.take());
        let ending = connection.endings.begin();
        runtime.spawn(async move {
            // Best effort: the connection itself may be what broke.
            let _ = write.signal(Sig::TERM).await;
            if let Some(text) = ender {
                let _ = tokio::time::timeout(END_WITHIN, connection.aside(&text)).await;
            }
            let _ = write.close().await;
            drop(permit);
            drop(ending);
        });
    }
}

/// Counts the commands that are being ended because nobody waits for them any more.
#[derive(Default)]
pub(super) struct Endings(watch::Sender<usize>);

/// One command that is being ended.
struct Ending(watch::Sender<usize>);

impl Endings {
    fn begin(&self) -> Ending {
        self.0.send_modify(|count| *count += 1);
        Ending(self.0.clone())
    }

    /// Resolves when all have ended, or were given up: each has a deadline.
    pub(super) async fn settle(&self) {
        // The sender is ours, so the only way out is the count.
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// One output: its lines go to the sink, its end is kept.
struct Tail {
    stream: Stream,
    keep: usize,
    kept: Vec<u8>,
    line: Vec<u8>,
    /// What came before the mark, and the mark, until it has come.
    noise: Option<(Vec<u8>, String)>,
}

impl Tail {
    fn new(stream: Stream, keep: usize) -> Self {
        Self { stream, keep, kept: Vec::new(), line: Vec::new(), noise: None }
    }

    /// Forgets what comes before `mark`.
    fn after(self, mark: String) -> Self {
        Self { noise: Some((Vec::new(), mark)), ..self }
    }

    fn take(&mut self, data: &[u8], sink: Sink<'_>) {
        let Some((mut held, mark)) = self.noise.take() else { return self.put(data, sink) };
        held.extend_from_slice(data);
        match behind(&held, &mark) {
            Some(at) => self.put(&held[at..], sink),
            None if held.len() > LONGEST_NOISE => self.put(&held, sink),
            None => self.noise = Some((held, mark)),
        }
    }

    fn put(&mut self, data: &[u8], sink: Sink<'_>) {
        self.kept.extend_from_slice(data);
        // Twice as much is held before the front goes, so that each byte is moved once.
        if self.kept.len() > self.keep.saturating_mul(2) {
            self.kept.drain(..self.kept.len() - self.keep);
        }
        for piece in data.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                self.tell(sink);
            }
            while self.line.len() > LONGEST_LINE {
                let rest = self.line.split_off(whole_characters(&self.line[..LONGEST_LINE]));
                self.tell(sink);
                self.line = rest;
            }
        }
    }

    fn tell(&mut self, sink: Sink<'_>) {
        let text = String::from_utf8_lossy(&self.line);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        sink(self.stream, text.strip_suffix('\r').unwrap_or(text));
        self.line.clear();
    }

    fn end(mut self, sink: Sink<'_>) -> String {
        if let Some((held, _)) = self.noise.take() {
            self.put(&held, sink);
        }
        if !self.line.is_empty() {
            self.tell(sink);
        }
        let start = self.kept.len().saturating_sub(self.keep);
        String::from_utf8_lossy(&self.kept[start..]).into_owned()
    }
}

/// The length without a character that is cut at the end.
fn whole_characters(bytes: &[u8]) -> usize {
    let from = bytes.len().saturating_sub(3);
    let lead = (from..bytes.len()).rev().find(|&at| bytes[at] & 0b1100_0000 != 0b1000_0000);
    match lead {
        Some(at) => {
            let needed = match bytes[at] {
                0xC0..=0xDF => 2,
                0xE0..=0xEF => 3,
                0xF0..=0xF7 => 4,
                _ => 1,
            };
            if bytes.len() - at < needed { at } else { bytes.len() }
        }
        None => bytes.len(),
    }
}

fn number(signal: &Sig) -> i32 {
    match signal {
        Sig::HUP => 1,
        Sig::INT => 2,
        Sig::QUIT => 3,
        Sig::ILL => 4,
        Sig::ABRT => 6,
        Sig::FPE => 8,
        Sig::KILL => 9,
        Sig::USR1 => 10,
        Sig::SEGV => 11,
        Sig::PIPE => 13,
        Sig::ALRM => 14,
        Sig::TERM => 15,
        Sig::Custom(name) => match name.as_str() {
            "USR2" => 12,
            "BUS" => 7,
            "TRAP" => 5,
            "SYS" => 31,
            "XCPU" => 24,
            // Told as a signal at least.
            _ => 0,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn told(keep: usize, chunks: &[&[u8]]) -> (Vec<String>, String) {
        let lines = Mutex::new(Vec::new());
        let sink = |_: Stream, line: &str| lines.lock().unwrap().push(line.to_owned());
        let mut tail = Tail::new(Stream::Out, keep);
        chunks.iter().for_each(|chunk| tail.take(chunk, &sink));
        let kept = tail.end(&sink);
        (lines.into_inner().unwrap(), kept)
    }

    #[test]
    fn lines_are_put_together_over_chunks() {
        let (lines, kept) = told(100, &[b"on", b"e\r\ntw", b"o\n\nlast"]);
        assert_eq!(lines, ["one", "two", "", "last"]);
        assert_eq!(kept, "one\r\ntwo\n\nlast");
    }

    #[test]
    fn only_the_end_is_kept() {
        let (lines, kept) = told(4, &[b"0123456789\n", b"ab\xffcd"]);
        assert_eq!((lines.len(), kept.as_str()), (2, "b\u{fffd}cd"));
        assert_eq!(told(0, &[b"x"]).1, "");
    }

    #[test]
    fn what_comes_before_the_mark_is_forgotten_however_it_is_cut() {
        let hear = |chunks: &[&[u8]]| {
            let mut tail = Tail::new(Stream::Out, 100).after("pmx-1\n".to_owned());
            chunks.iter().for_each(|chunk| tail.take(chunk, &|_, _| ()));
            tail.end(&|_, _| ())
        };
        assert_eq!(hear(&[b"Welcome\nno newline", b"pm", b"x-1\nre", b"sult"]), "result");
        assert_eq!(hear(&[b"pmx-1\n"]), "");
        assert_eq!(hear(&[b"pmx-1\npmx-1\n"]), "pmx-1\n");
        // Whoever answers runs something else: that is what there is to tell.
        assert_eq!(hear(&[b"instead\n"]), "instead\n");
        let mut flood = Tail::new(Stream::Out, 10).after("pmx-1\n".to_owned());
        (0..100).for_each(|_| flood.take(&[b'x'; 1000], &|_, _| ()));
        assert_eq!(flood.end(&|_, _| ()), "xxxxxxxxxx");
    }

    #[test]
    fn an_endless_line_is_told_in_pieces_of_whole_characters() {
        let long = "aé".repeat(50_000);
        let (lines, _) = told(10, &[long.as_bytes()]);
        assert!(lines.len() == 3 && lines.iter().all(|line| line.len() <= LONGEST_LINE && !line.contains('\u{fffd}')));
        assert_eq!(lines.concat(), long);
    }

    #[test]
    fn noise_and_output_are_told_apart_however_spoiled() {
        crate::walks::feed(&["Welcome\nno newlinepmx-1\nresult\n", "pmx-1\none\r\ntwo\nla\u{e9}st"], |bytes| {
            let mut tail = Tail::new(Stream::Out, 1000).after("pmx-1\n".to_owned());
            let told = Mutex::new(0);
            for chunk in bytes.chunks(7) {
                tail.take(chunk, &|_, line| *told.lock().unwrap() += line.len());
            }
            let kept = tail.end(&|_, line| *told.lock().unwrap() += line.len());
            // Bytes that are no text are told as the replacement, which takes three.
            assert!(kept.len() <= 3000 && *told.lock().unwrap() <= 3 * bytes.len());
            Ok(())
        });
    }
}
