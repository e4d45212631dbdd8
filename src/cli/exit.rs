//! Exit codes: all of them, in one place.

use std::process::ExitCode;

use crate::event::RunState;
use crate::model::contract::FailureKind;
use crate::source::{Diagnostic, Fault, Severity};

/// How pmx ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Done,
    /// 1: an action failed, or another machine said no.
    Failed,
    /// 2: the user's files or arguments.
    Yours,
    /// 3: refused: protection, identity, lease.
    Refused,
    /// 70: a bug of pmx.
    Bug,
    /// 130: interrupted by the user.
    Interrupted,
    /// As the `pmx` of another machine ended, which may have been another program's end.
    As(u8),
}

impl Exit {
    /// The number.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Yours => 2,
            Self::Refused => 3,
            Self::Bug => 70,
            Self::Interrupted => 130,
            Self::As(code) => code,
        }
    }

    /// What complaints that ended a command mean.
    pub fn of_complaints(complaints: &[Diagnostic]) -> Self {
        let errors = complaints.iter().filter(|d| d.severity == Severity::Error);
        errors.map(|d| Self::of_fault(d.fault)).max_by_key(|exit| exit.code()).unwrap_or(Self::Done)
    }

    const fn of_fault(fault: Fault) -> Self {
        match fault {
            Fault::Yours => Self::Yours,
            Fault::Theirs => Self::Failed,
            Fault::Refused => Self::Refused,
            Fault::Ours => Self::Bug,
        }
    }

    /// What a run's end means. A failure that is a refusal, the user's file or a bug says so only when nothing else failed.
    pub fn of_run(state: RunState, failures: impl IntoIterator<Item = FailureKind>) -> Self {
        match state {
            RunState::Succeeded | RunState::Running => Self::Done,
            RunState::Cancelled | RunState::Interrupted => Self::Interrupted,
            RunState::Failed => {
                let exits = failures.into_iter().filter(|kind| *kind != FailureKind::Cancelled).map(|kind| match kind {
                    FailureKind::Ours => Self::Bug,
                    FailureKind::Refused => Self::Refused,
                    FailureKind::Yours => Self::Yours,
                    _ => Self::Failed,
                });
                let mut exits: Vec<Self> = exits.collect();
                exits.dedup();
                match exits[..] {
                    [only] => only,
                    _ if exits.contains(&Self::Bug) => Self::Bug,
                    _ => Self::Failed,
                }
            }
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_3_only_when_nothing_else_failed() {
        let failed = |kinds: &[FailureKind]| Exit::of_run(RunState::Failed, kinds.iter().copied()).code();
        assert_eq!(failed(&[FailureKind::Refused, FailureKind::Refused]), 3);
        assert_eq!(failed(&[FailureKind::Refused, FailureKind::Theirs]), 1);
        assert_eq!(failed(&[FailureKind::Theirs, FailureKind::Ours]), 70);
        assert_eq!(Exit::of_run(RunState::Cancelled, []).code(), 130);
    }
}
