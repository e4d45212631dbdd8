//! Game consoles behind tmux: what may be typed, how it is typed, and the countdown before a server goes down.

use std::time::Duration;

use crate::model::contract::{Context, Failure};
use crate::model::wait::pause;

/// The wait of a countdown, as the plan names it.
pub const LEAVE: &str = "the players to leave";
/// Seconds before the end at which the players are told again.
const MARKS: [u64; 8] = [600, 300, 120, 60, 30, 15, 10, 5];
/// How often a countdown looks whether everybody has left.
const LOOK: Duration = Duration::from_secs(5);

/// The longest message in bytes. A terminal takes lines of 4 KiB, RCON of 1.4; players see far less of either.
const LONGEST: usize = 1000;

/// Refuses what is no message: keys or several lines instead of text, or more than a console takes.
pub fn check(text: &str) -> Result<(), Failure> {
    if text.len() > LONGEST {
        return Err(Failure::yours(format!("the message is {} bytes long; a console takes up to {LONGEST}", text.len())));
    }
    one_line(text)
}

/// Refuses what would be keys or several lines instead of text.
pub fn one_line(text: &str) -> Result<(), Failure> {
    if text.trim().is_empty() {
        return Err(Failure::yours("the message is empty"));
    }
    match text.chars().find(|c| c.is_control()) {
        Some(bad) => Err(Failure::yours(format!("the message holds the control character {bad:?}: it must be one line of text"))),
        None => Ok(()),
    }
}

/// The words after `tmux` that type lines into a pane and submit each, in one go; without a target it is the only session's. The text goes as it is (`-l`),
/// with a separate Enter; tmux would take a `;` at its end for its own.
pub fn keystrokes(target: Option<&str>, lines: &[&str]) -> Result<Vec<String>, Failure> {
    let mut words: Vec<String> = Vec::new();
    let mut send = |rest: &[&str], first: bool| {
        if !first {
            words.push(";".to_owned());
        }
        words.push("send-keys".to_owned());
        words.extend(target.iter().flat_map(|target| ["-t", *target]).map(str::to_owned));
        words.extend(rest.iter().map(|word| (*word).to_owned()));
    };
    for (at, line) in lines.iter().enumerate() {
        one_line(line)?;
        let escaped = line.strip_suffix(';').map_or_else(|| (*line).to_owned(), |rest| format!("{rest}\\;"));
        send(&["-l", "--", &escaped], at == 0);
        send(&["Enter"], false);
    }
    Ok(words)
}

/// Those who play on a server that goes down.
pub trait Audience: Sync {
    /// What is known of those who play.
    type Present: Send;
    /// The call's context.
    fn ctx(&self) -> &Context;
    /// Says something to all of them.
    fn tell(&self, text: &str) -> impl Future<Output = Result<(), Failure>> + Send;
    /// Who plays; `None` when nobody can tell.
    fn present(&self) -> impl Future<Output = Result<Option<Self::Present>, Failure>> + Send;
    /// Whether nobody does.
    fn nobody(present: &Self::Present) -> bool;
}

/// Tells the players at each mark. Returns early, with the seconds that were left, when nobody plays any more.
pub async fn count_down<A: Audience>(audience: &A, seconds: u64) -> Result<Option<(u64, A::Present)>, Failure> {
    let ctx = audience.ctx();
    let clock = &ctx.wire.clock;
    ctx.reporter.phase(LEAVE, Some(Duration::from_secs(seconds)));
    let end = clock.elapsed() + Duration::from_secs(seconds);
    let mut marks = MARKS.into_iter().filter(|mark| *mark < seconds).peekable();
    let mut told = seconds;
    audience.tell(&announcement(told)).await?;
    loop {
        let left = end.saturating_sub(clock.elapsed());
        if left.is_zero() {
            return Ok(None);
        }
        let until_mark = left.saturating_sub(Duration::from_secs(marks.peek().copied().unwrap_or(0)));
        pause(ctx, until_mark.min(LOOK).min(left)).await?;
        let left = end.saturating_sub(clock.elapsed()).as_secs();
        // One look may have taken longer than from one mark to the next: only the last of those passed is told.
        while let Some(mark) = marks.next_if(|mark| left <= *mark) {
            told = mark;
        }
        if left == 0 {
            return Ok(None);
        }
        if let Some(present) = audience.present().await?.filter(|present| A::nobody(present)) {
            return Ok(Some((left, present)));
        }
        if told < seconds && told >= left {
            audience.tell(&announcement(left)).await?;
            told = 0;
        }
    }
}

fn announcement(seconds: u64) -> String {
    format!("The server shuts down in {seconds} second{}", if seconds == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_refused() {
        for bad in ["a\nexit", "a\rb", "\u{1b}[2J", "x\u{3}", "  "] {
            assert!(check(bad).is_err() && keystrokes(None, &["fine", bad]).is_err(), "{bad:?}");
        }
        assert!(check("Héllo; wörld $(x)").is_ok() && check(&"x".repeat(1000)).is_ok() && check(&"é".repeat(501)).is_err());
    }

    #[test]
    fn every_stroke_names_its_target_and_no_text_ends_a_command() {
        let words = keystrokes(Some("=mons:"), &["say hi;", "list"]).unwrap().join(" ");
        let expected =
            "send-keys -t =mons: -l -- say hi\\; ; send-keys -t =mons: Enter ; send-keys -t =mons: -l -- list ; send-keys -t =mons: Enter";
        assert_eq!(words, expected);
        assert_eq!(keystrokes(None, &["x"]).unwrap().join(" "), "send-keys -l -- x ; send-keys Enter");
    }
}
