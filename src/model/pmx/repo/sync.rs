//! One sync: look, decide, send what differs into a stage, switch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::model::contract::Failure;
use crate::model::pmx::repo::place::{Place, Seen, named};
use crate::model::pmx::repo::switch::{Steps, ready, split, switch};
use crate::model::pmx::repo::tree::{Entry, Tree, What};
use crate::model::remote::{Remote, tail};
use crate::model::wait::undeterred;
use crate::wire::command::{BadWord, Command};
use crate::wire::ssh::{Content, Exec, SshError, Upload};

/// The wait for the transfer.
pub const TRANSFER: &str = "the transfer";
/// Its deadline.
pub const TRANSFER_DEADLINE: Duration = Duration::from_secs(3600);
/// The wait for the switch.
pub const SWITCH: &str = "the switch";
/// Its deadline: it only renames, but a host may be slow.
pub const SWITCH_DEADLINE: Duration = Duration::from_secs(900);
/// 200,000 paths of the usual length.
const LONGEST_LIST: u64 = 32 << 20;

/// `.pmx` belongs to somebody else: what lies in it is run, so it must be ours.
const STRANGE: i32 = 97;
/// Another sync of the same kind is in its switch.
const BUSY: i32 = 98;
/// The preparation failed; the old tree stands.
const UNREADY: i32 = 99;

/// What a sync did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Synced {
    /// Files and links that were put in place.
    pub moved: u64,
    /// Bytes that travelled.
    pub bytes: u64,
    /// Files that were removed.
    pub deleted: u64,
}

/// A tree, the directory that is to hold it, and the name under which that remembers what is pmx's.
pub struct Sync<'a> {
    /// Where it goes.
    pub place: Place<'a>,
    /// `code` or `secrets`.
    pub kind: &'static str,
    /// What goes there.
    pub tree: &'a Tree,
}

/// What differs.
#[derive(Default)]
struct Differs<'t> {
    steps: Steps,
    travel: Vec<&'t Entry>,
}

impl Sync<'_> {
    /// Makes the directory hold the tree.
    pub async fn run(&self) -> Result<Synced, Failure> {
        self.recover().await?;
        let (remote, path) = (&self.place.remote, self.list_path());
        let list = remote.files(remote.ctx.wire.ssh.read(&remote.target, &path, LONGEST_LIST), false).await?;
        let known: Vec<String> = paths(&list.clone().unwrap_or_default());
        let seen = self.place.look(&self.names(&known)).await?;
        let differs = self.differs(&known, &seen)?;
        let steps = &differs.steps;
        let wanted = self.listed();
        if steps.moves.is_empty() && steps.gone.is_empty() && steps.first.is_empty() && list.as_ref() == Some(&wanted) {
            return Ok(Synced::default());
        }
        let bytes = self.stage(&differs, wanted).await?;
        self.switch().await?;
        Ok(Synced { moved: steps.moves.len() as u64, bytes, deleted: (steps.gone.len() + steps.first.len()) as u64 })
    }

    fn base(&self) -> String {
        format!(".pmx/{}", self.kind)
    }

    fn list_path(&self) -> String {
        format!("{}/{}/list", self.place.dir, self.base())
    }

    fn stage_name(&self) -> String {
        format!("{}/next-{}", self.base(), self.tree.digest().short())
    }

    /// Every path, NUL behind each.
    fn listed(&self) -> Vec<u8> {
        self.tree.entries.iter().flat_map(|entry| entry.path.bytes().chain([0])).collect()
    }

    /// Ends a switch that the host did not live to end, and clears away stages of other trees.
    async fn recover(&self) -> Result<(), Failure> {
        let (base, stage) = (self.base(), self.stage_name());
        let text = format!(
            "[ -e .pmx ] || [ -L .pmx ] || exit 0\n\
             [ -d .pmx ] && [ ! -L .pmx ] && [ -O .pmx ] || exit {STRANGE}\n\
             for old in {base}/next-*; do [ \"$old\" = {stage} ] || rm -rf \"$old\"; done\n\
             [ -d {base}/switching ] || exit 0\n\
             [ -f {base}/switching/switch ] || exec rm -rf {base}/switching\n\
             trap '' HUP INT PIPE TERM\n\
             exec sh {base}/switching/switch {base}/switching {base}/list"
        );
        self.run_through(self.place.script(&text)?).await
    }

    /// Paths whose state decides: those of the tree, those that pmx put there before, and the directories above both.
    fn names(&self, known: &[String]) -> Vec<String> {
        let files = self.tree.entries.iter().map(|entry| entry.path.as_str()).chain(known.iter().map(String::as_str));
        let mut all = BTreeSet::new();
        for path in files {
            all.insert(path.to_owned());
            all.extend(parents(path).map(str::to_owned));
        }
        all.into_iter().collect()
    }

    fn differs(&self, known: &[String], seen: &BTreeMap<String, Seen>) -> Result<Differs<'_>, Failure> {
        let wanted: BTreeMap<&str, &Entry> = self.tree.entries.iter().map(|entry| (entry.path.as_str(), entry)).collect();
        let dirs: BTreeSet<&str> = wanted.keys().flat_map(|path| parents(path)).collect();
        let is = |path: &str| seen.get(path).unwrap_or(&Seen::Absent);
        let ours = |path: &str| known.iter().any(|one| one == path);
        let mut differs = Differs::default();
        let steps = &mut differs.steps;
        for dir in dirs {
            match is(dir) {
                Seen::Dir => {}
                Seen::Absent => steps.dirs.push(dir.to_owned()),
                Seen::File { .. } | Seen::Link(_) if ours(dir) => {
                    steps.first.push(dir.to_owned());
                    steps.dirs.push(dir.to_owned());
                }
                _ => return Err(self.in_the_way(dir, "something else where a directory is to be")),
            }
        }
        let contents: BTreeMap<&str, &str> = seen.iter().filter_map(|(path, seen)| content(seen).map(|sum| (sum, path.as_str()))).collect();
        for entry in wanted.values() {
            let there = is(&entry.path);
            if fits(entry, there) {
                continue;
            }
            if matches!(there, Seen::Dir | Seen::Other) {
                return Err(self.in_the_way(&entry.path, "something else where a file is to be"));
            }
            steps.moves.push(entry.path.clone());
            match &entry.what {
                What::Link(target) => steps.links.push((entry.path.clone(), target.clone())),
                What::File { sha256, .. } => match contents.get(sha256.as_str()) {
                    Some(from) => steps.copies.push((entry.path.clone(), (*from).to_owned(), entry.mode)),
                    None => differs.travel.push(entry),
                },
            }
        }
        self.removals(known, seen, steps);
        // Moves are made directory by directory.
        steps.moves.sort_by(|a, b| split(a).cmp(&split(b)));
        Ok(differs)
    }

    /// What pmx put there before and is no longer in the tree; what somebody else has made of it since stays.
    fn removals(&self, known: &[String], seen: &BTreeMap<String, Seen>, steps: &mut Steps) {
        let wanted: BTreeSet<&str> = self.tree.entries.iter().map(|entry| entry.path.as_str()).collect();
        let is = |path: &str| seen.get(path).unwrap_or(&Seen::Absent);
        let mut empty = BTreeSet::new();
        for path in known.iter().filter(|path| !wanted.contains(path.as_str()) && !steps.first.contains(path)) {
            let reached = parents(path).all(|dir| *is(dir) == Seen::Dir);
            if reached && matches!(is(path), Seen::File { .. } | Seen::Link(_)) {
                steps.gone.push(path.clone());
                empty.extend(parents(path).map(str::to_owned));
            }
        }
        // In the order of their names a directory stands before what is in it.
        steps.empty = empty.into_iter().rev().collect();
    }

    fn in_the_way(&self, path: &str, what: &str) -> Failure {
        let failure = Failure::theirs(format!("{}: `{}` is {what}; nothing was changed", self.place.label(), path.escape_debug()));
        failure.help("look at it there, and move it out of the way by hand")
    }

    /// Sends what travels and the scripts into the stage; how many bytes that were. The tree is as it was, whatever happens.
    async fn stage(&self, differs: &Differs<'_>, list: Vec<u8>) -> Result<u64, Failure> {
        let dir = self.place.quoted()?;
        let make = format!("mkdir -p {dir}/{base} && chmod 700 {dir}/.pmx", base = self.base());
        self.run_through(Command::script(make)).await?;
        let travel = self.not_staged(&differs.travel).await?;
        let stage = format!("{}/{}", self.place.dir, self.stage_name());
        let script =
            |text: Result<String, BadWord>| text.map_err(|e| Failure::yours(e.to_string())).map(|text| Content::Bytes(text.into_bytes()));
        let plain = |name: &str, content| Upload { content, dest: format!("{stage}/{name}"), mode: 0o600 };
        let mut uploads = Vec::new();
        let mut bytes = 0;
        for entry in &travel {
            let What::File { full, size, sha256 } = &entry.what else { continue };
            bytes += size;
            let content = Content::Known(full.clone(), sha256.clone());
            uploads.push(Upload { content, dest: format!("{stage}/tree/{}", entry.path), mode: entry.mode });
        }
        uploads.push(plain("list", Content::Bytes(list)));
        uploads.push(plain("ready", script(ready(&differs.steps))?));
        uploads.push(plain("switch", script(switch(&differs.steps))?));
        self.send(uploads).await.map(|()| bytes)
    }

    /// Those of the files whose content is not in the stage: an earlier sync of the same tree may have been cut between transfer and switch.
    async fn not_staged<'t>(&self, files: &[&'t Entry]) -> Result<Vec<&'t Entry>, Failure> {
        let tree = format!("{}/tree", self.stage_name());
        if files.is_empty() || self.place.look(std::slice::from_ref(&tree)).await?.get(&tree) != Some(&Seen::Dir) {
            return Ok(files.to_vec());
        }
        let names: Vec<String> = files.iter().map(|entry| format!("{tree}/{}", entry.path)).collect();
        let seen = self.place.look(&names).await?;
        let missing = files.iter().zip(&names).filter(|(entry, name)| !seen.get(*name).is_some_and(|there| fits(entry, there)));
        Ok(missing.map(|(entry, _)| *entry).collect())
    }

    async fn send(&self, uploads: Vec<Upload>) -> Result<(), Failure> {
        let remote = &self.place.remote;
        remote.ctx.reporter.phase(TRANSFER, Some(TRANSFER_DEADLINE));
        let refused = AtomicBool::new(false);
        let sending = async {
            let sent = remote.upload(uploads, TRANSFER_DEADLINE).await;
            refused.store(matches!(sent, Err(SshError::File { .. })), Ordering::SeqCst);
            sent
        };
        let Err(failure) = remote.files(Box::pin(sending), false).await else { return Ok(()) };
        if !refused.load(Ordering::SeqCst) {
            // The host does not answer, or a file here changed: nothing is there that needs to go.
            return Err(failure);
        }
        let clear = format!("df -Pk .; rm -rf {}", self.stage_name());
        let disk = remote.fetch(Exec::new(self.place.script(&clear)?, SWITCH_DEADLINE)).await;
        let shown = disk.map(|output| output.stdout.lines().map(str::to_owned).collect()).unwrap_or_default();
        let failure = failure.tail(shown);
        Err(failure.help(format!("{} is as it was; is its disk full, or closed to this user?", self.place.label())))
    }

    /// From here on nothing stops it: half a switch is worse than a late answer to ctrl-c.
    async fn switch(&self) -> Result<(), Failure> {
        let (base, stage, dir) = (self.base(), self.stage_name(), self.place.quoted()?);
        let text = format!(
            "cd {dir} || exit {UNREADY}\n\
             [ ! -e {base}/switching ] || exit {BUSY}\n\
             sh {stage}/ready {stage} || exit {UNREADY}\n\
             trap '' HUP INT PIPE TERM\n\
             mv {stage} {base}/switching || exit {UNREADY}\n\
             exec sh {base}/switching/switch {base}/switching {base}/list"
        );
        self.place.remote.ctx.reporter.phase(SWITCH, Some(SWITCH_DEADLINE));
        self.run_through(Command::script(text)).await
    }

    async fn run_through(&self, command: Command) -> Result<(), Failure> {
        let ctx = undeterred(self.place.remote.ctx, SWITCH_DEADLINE);
        let remote = Remote { ctx: &ctx, target: self.place.remote.target.clone() };
        let label = self.place.label();
        let output = remote.act(Exec::new(command, SWITCH_DEADLINE)).await.map_err(|failure| named(failure, SWITCH))?;
        let failure = match output.status {
            0 => return Ok(()),
            STRANGE => {
                let failure = Failure::refused(format!("{label}/.pmx is not a directory of this user: pmx would run what lies in it"));
                return Err(failure.help("look at it there, and remove it if it is nobody's"));
            }
            BUSY => {
                return Err(
                    Failure::theirs(format!("{label}: another sync is just putting its tree in place; nothing was changed")).transient()
                );
            }
            UNREADY => Failure::theirs(format!("{label}: the new tree could not be prepared; nothing was changed")),
            status => {
                let failure = Failure::theirs(format!("{label}: the switch ended with exit code {status}")).maybe_acted();
                failure.help("run the same sync again: it ends this switch first")
            }
        };
        Err(failure.tail(tail(&output)))
    }
}

/// The directories above a path, outermost first.
fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

fn paths(list: &[u8]) -> Vec<String> {
    let harmless =
        |path: &String| !path.is_empty() && !path.starts_with('/') && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    // Whoever may write the list may write the tree; yet a broken one must not lead elsewhere.
    String::from_utf8_lossy(list).split('\0').map(str::to_owned).filter(harmless).collect()
}

fn content(seen: &Seen) -> Option<&str> {
    match seen {
        Seen::File { sha256, .. } => Some(sha256),
        _ => None,
    }
}

/// Whether what is there is the entry.
fn fits(entry: &Entry, there: &Seen) -> bool {
    match (&entry.what, there) {
        (What::File { sha256, .. }, Seen::File { mode, sha256: sum }) => sha256 == sum && entry.mode == *mode,
        (What::Link(target), there) => Seen::link(target) == *there,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_what_was_sent_lead_nowhere_else_however_spoiled() {
        crate::walks::feed(&["Pmxfile.toml\0definitions/fleet.toml\0", "a/../../etc/passwd\0/etc/passwd\0./x\0"], |bytes| {
            for path in paths(bytes) {
                assert!(!path.starts_with('/') && path.split('/').all(|part| !matches!(part, "" | "." | "..")), "{path}");
            }
            Ok(())
        });
    }
}
