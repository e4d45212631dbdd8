//! Faults: the misbehaviours that the lab can be told, each with a text form, for one VM or for all.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What goes wrong. Text form in quotes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum FaultKind {
    /// `slow:MS`: every answer comes that many milliseconds later.
    Slow(u32),
    /// `http-596:N`: the next N writes are answered 596 and did not happen.
    LostBefore(u32),
    /// `http-596-after:N`: the next N writes happen and are answered 596.
    LostAfter(u32),
    /// `locked`: the VM carries the configuration lock `backup`.
    Locked,
    /// `agent-absent`: the guest agent never answers.
    AgentAbsent,
    /// `agent-late`: the guest agent answers 60 s later than usual.
    AgentLate,
    /// `ticket-expired`: all tickets given out so far are invalid (happens once, when set).
    TicketExpired,
    /// `task-warnings`: tasks end with `WARNINGS: 1`.
    TaskWarnings,
    /// `task-fails` or `task-fails:TEXT`: tasks fail with that text.
    TaskFails(String),
    /// `host-key-changed`: the SSH host shows another key than before.
    HostKeyChanged,
    /// `no-rights`: accounts and tokens have no permission on anything, so lists are empty.
    NoRights,
    /// `drop-connection:N`: the next N requests are read and never answered.
    DropConnection(u32),
    /// `tfa-required`: a login with a password asks for a second factor.
    TfaRequired,
    /// `sshd-late`: sshd answers 60 s later than usual.
    SshdLate,
    /// `sshd-absent`: nobody listens for SSH.
    SshdAbsent,
    /// `disk-late`: a netbooted kernel finds its disks 60 s later than usual.
    DiskLate,
    /// `disk-full`: writing files in the guest fails.
    DiskFull,
    /// `refuse-login`: no SSH key is let in.
    RefuseLogin,
    /// `hang`: commands over SSH begin and never end.
    Hang,
    /// `slow-shell:MS`: every command over SSH begins that many milliseconds later.
    SlowShell(u32),
    /// `save-takes:SECONDS`: saving a game's world takes that long; past the stop's grace the world is lost.
    SaveTakes(u32),
    /// `cut-upload:BYTES`: the SFTP connection breaks after that many bytes.
    CutUpload(u64),
}

/// One fault in force: the kind, and the vmid when it holds for one VM only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// The VM; none means everywhere.
    pub vmid: Option<u32>,
}

/// The text named no fault, or its number was none.
#[derive(Debug, thiserror::Error)]
#[error(
    "fault {0:?} is not one of slow:MS, http-596:N, http-596-after:N, locked, agent-absent, agent-late, ticket-expired, task-warnings, task-fails[:TEXT], host-key-changed, no-rights, drop-connection:N, tfa-required, sshd-late, sshd-absent, disk-late, disk-full, refuse-login, hang, slow-shell:MS, save-takes:SECONDS, cut-upload:BYTES"
)]
pub struct UnknownFault(String);

impl FaultKind {
    /// Whether two faults are the same sort, whatever their numbers: setting replaces, clearing matches by this.
    pub fn same_sort(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// Takes one from a counted fault; false when the count is used up or the kind has none.
    pub const fn spend(&mut self) -> bool {
        match self {
            Self::LostBefore(left) | Self::LostAfter(left) | Self::DropConnection(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        }
    }

    /// Whether nothing is left of a counted fault.
    pub const fn is_spent(&self) -> bool {
        matches!(self, Self::LostBefore(0) | Self::LostAfter(0) | Self::DropConnection(0))
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slow(ms) => write!(f, "slow:{ms}"),
            Self::LostBefore(n) => write!(f, "http-596:{n}"),
            Self::LostAfter(n) => write!(f, "http-596-after:{n}"),
            Self::Locked => f.write_str("locked"),
            Self::AgentAbsent => f.write_str("agent-absent"),
            Self::AgentLate => f.write_str("agent-late"),
            Self::TicketExpired => f.write_str("ticket-expired"),
            Self::TaskWarnings => f.write_str("task-warnings"),
            Self::TaskFails(text) => write!(f, "task-fails:{text}"),
            Self::HostKeyChanged => f.write_str("host-key-changed"),
            Self::NoRights => f.write_str("no-rights"),
            Self::DropConnection(n) => write!(f, "drop-connection:{n}"),
            Self::TfaRequired => f.write_str("tfa-required"),
            Self::SshdLate => f.write_str("sshd-late"),
            Self::SshdAbsent => f.write_str("sshd-absent"),
            Self::DiskLate => f.write_str("disk-late"),
            Self::DiskFull => f.write_str("disk-full"),
            Self::RefuseLogin => f.write_str("refuse-login"),
            Self::Hang => f.write_str("hang"),
            Self::SlowShell(ms) => write!(f, "slow-shell:{ms}"),
            Self::SaveTakes(seconds) => write!(f, "save-takes:{seconds}"),
            Self::CutUpload(bytes) => write!(f, "cut-upload:{bytes}"),
        }
    }
}

impl FromStr for FaultKind {
    type Err = UnknownFault;

    fn from_str(text: &str) -> Result<Self, UnknownFault> {
        let unknown = || UnknownFault(text.to_owned());
        let (word, rest) = text.split_once(':').unwrap_or((text, ""));
        let count = |default: u32| if rest.is_empty() { Ok(default) } else { rest.parse::<u32>().map_err(|_| unknown()) };
        let plain = |kind: Self| if rest.is_empty() { Ok(kind) } else { Err(unknown()) };
        match word {
            "slow" => Ok(Self::Slow(count(1000)?)),
            "http-596" => Ok(Self::LostBefore(count(1)?)),
            "http-596-after" => Ok(Self::LostAfter(count(1)?)),
            "locked" => plain(Self::Locked),
            "agent-absent" => plain(Self::AgentAbsent),
            "agent-late" => plain(Self::AgentLate),
            "ticket-expired" => plain(Self::TicketExpired),
            "task-warnings" => plain(Self::TaskWarnings),
            "task-fails" => Ok(Self::TaskFails(if rest.is_empty() { "command failed: exit code 1".into() } else { rest.to_owned() })),
            "host-key-changed" => plain(Self::HostKeyChanged),
            "no-rights" => plain(Self::NoRights),
            "drop-connection" => Ok(Self::DropConnection(count(1)?)),
            "tfa-required" => plain(Self::TfaRequired),
            "sshd-late" => plain(Self::SshdLate),
            "sshd-absent" => plain(Self::SshdAbsent),
            "disk-late" => plain(Self::DiskLate),
            "disk-full" => plain(Self::DiskFull),
            "refuse-login" => plain(Self::RefuseLogin),
            "hang" => plain(Self::Hang),
            "slow-shell" => Ok(Self::SlowShell(count(1000)?)),
            "save-takes" => Ok(Self::SaveTakes(count(120)?)),
            "cut-upload" => rest.parse().map(Self::CutUpload).map_err(|_| unknown()),
            _ => Err(unknown()),
        }
    }
}

impl From<FaultKind> for String {
    fn from(kind: FaultKind) -> Self {
        kind.to_string()
    }
}

impl TryFrom<String> for FaultKind {
    type Error = UnknownFault;

    fn try_from(text: String) -> Result<Self, UnknownFault> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_form_reads_back_and_nonsense_is_refused() {
        for text in [
            "slow:250",
            "http-596:2",
            "http-596-after:1",
            "locked",
            "agent-absent",
            "agent-late",
            "ticket-expired",
            "task-warnings",
            "task-fails:no space: left",
            "host-key-changed",
            "no-rights",
            "drop-connection:3",
            "tfa-required",
            "sshd-late",
            "sshd-absent",
            "disk-late",
            "disk-full",
            "refuse-login",
            "hang",
            "slow-shell:10",
            "save-takes:90",
            "cut-upload:1000",
        ] {
            let kind: FaultKind = text.parse().unwrap();
            assert_eq!(kind.to_string(), text);
        }
        for text in ["", "slow:x", "locked:1", "cut-upload", "http-596:-1", "melted"] {
            assert!(text.parse::<FaultKind>().is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn a_counted_fault_is_spent_after_its_count() {
        let mut kind: FaultKind = "http-596:2".parse().unwrap();
        assert!(kind.spend() && kind.spend());
        assert!(!kind.spend() && kind.is_spent());
        assert!(!FaultKind::Locked.spend() && !FaultKind::Locked.is_spent());
    }
}
