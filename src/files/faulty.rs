//! A file system that fails and forgets: it works on the real one, keeps what each operation left unsynced, and lays out all that a power cut may leave.
#![expect(clippy::disallowed_methods, reason = "stands between the tests and the disk")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::{Disk, Files};

const NO_SPACE: i32 = 28;
const BROKEN: i32 = 5;

/// Up to so many unsynced names every choice of those that are lost is tried; of more none, all, and each alone.
const EVERY_CHOICE: usize = 10;

/// What becomes of one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// ENOSPC, nothing is done.
    Full,
    /// EIO, nothing is done.
    Broken,
    /// EIO for this operation and all after it, until [`Faulty::heal`].
    BrokenOn,
    /// It is done, and answered with EIO.
    Late,
    /// Half is written, and that is said.
    Short,
    /// Half is written and that is said; what comes next finds no space, until [`Faulty::heal`].
    ShortThenFull,
}

/// All of them.
pub const FAULTS: [Fault; 6] = [Fault::Full, Fault::Broken, Fault::BrokenOn, Fault::Late, Fault::Short, Fault::ShortThenFull];

/// A sync that is answered and not done.
pub type Lie = fn(&Path) -> bool;

/// A file or a directory, with what of it would be lost.
#[derive(Clone)]
enum Node {
    File { bytes: Arc<Vec<u8>>, synced: bool },
    Directory { durable: BTreeMap<String, usize>, pending: Vec<Change> },
}

/// A change of the names in a directory.
#[derive(Clone)]
enum Change {
    Link(String, usize),
    Unlink(String),
    Rename(String, String, usize),
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Link(name, node) => drop(names.insert(name.clone(), *node)),
            Self::Unlink(name) => drop(names.remove(name)),
            Self::Rename(from, to, node) => {
                names.remove(from);
                names.insert(to.clone(), *node);
            }
        }
    }
}

/// A moment at which the power may go.
#[derive(Clone)]
pub struct Cut {
    /// The last operation before it, in words.
    pub after: String,
    /// How many promises had been made, see [`Faulty::promised`].
    pub promised: usize,
    nodes: Vec<Node>,
    watched: Vec<(String, Arc<Vec<u8>>)>,
}

/// What is left after a power cut: directories, and files with their bytes, by their paths below the base.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Left {
    directories: BTreeSet<PathBuf>,
    files: BTreeMap<PathBuf, Arc<Vec<u8>>>,
}

impl Left {
    /// Puts it into an empty directory.
    pub fn lay(&self, at: &Path) {
        self.directories.iter().for_each(|path| fs::create_dir_all(at.join(path)).unwrap());
        self.files.iter().for_each(|(path, bytes)| fs::write(at.join(path), bytes.as_slice()).unwrap());
    }
}

struct State {
    nodes: Vec<Node>,
    cuts: Vec<Cut>,
    promised: usize,
    count: usize,
    fault: Option<(usize, Fault)>,
    /// How many cuts there were when the fault met an operation that it is for.
    struck: Option<usize>,
    /// What every operation is answered with.
    all: Option<i32>,
}

/// The file system below one directory.
pub struct Faulty {
    base: PathBuf,
    /// A file that somebody else writes, SQLite say, and syncs well; what is beside it with `-wal` belongs to it.
    watched: Option<PathBuf>,
    lie: Lie,
    state: Mutex<State>,
}

impl Faulty {
    /// One that does not fail yet.
    pub fn new(base: &Path, watched: Option<PathBuf>) -> Self {
        let root = Node::Directory { durable: BTreeMap::new(), pending: Vec::new() };
        let state = State { nodes: vec![root], cuts: Vec::new(), promised: 0, count: 0, fault: None, struck: None, all: None };
        Self { base: base.to_path_buf(), watched, lie: |_| false, state: Mutex::new(state) }
    }

    /// One that does not do the syncs that `lie` picks.
    pub fn lying(base: &Path, watched: Option<PathBuf>, lie: Lie) -> Self {
        Self { lie, ..Self::new(base, watched) }
    }

    /// The operation number `at` (0-based) will meet this fault.
    pub fn strike(&self, at: usize, fault: Fault) {
        self.state.lock().unwrap().fault = Some((at, fault));
    }

    /// From now on all goes well. How many cuts there were when the fault met something; `None` when it never did.
    pub fn heal(&self) -> Option<usize> {
        let mut state = self.state.lock().unwrap();
        (state.all, state.fault) = (None, None);
        state.struck
    }

    /// How many operations there were.
    pub fn operations(&self) -> usize {
        self.state.lock().unwrap().count
    }

    /// From now on so many promises must outlive a power cut.
    pub fn promised(&self, promises: usize) {
        let mut state = self.state.lock().unwrap();
        state.promised = promises;
        self.note(&mut state, format!("promise {promises}"));
    }

    /// Every moment at which the power could have gone.
    pub fn cuts(&self) -> Vec<Cut> {
        self.state.lock().unwrap().cuts.clone()
    }

    fn note(&self, state: &mut State, after: String) {
        let watched = self.watched.iter().flat_map(|path| ["", "-wal"].map(|end| (end, PathBuf::from(format!("{}{end}", path.display())))));
        let watched = watched.filter_map(|(end, path)| Some((end.to_owned(), Arc::new(fs::read(path).ok()?)))).collect();
        let cut = Cut { after, promised: state.promised, nodes: state.nodes.clone(), watched };
        state.cuts.push(cut);
    }

    /// Does `act` with whatever fault is due, and `keep` with its result when it was done.
    fn perform<T>(
        &self,
        what: &str,
        path: &Path,
        act: impl FnOnce(Option<Fault>) -> io::Result<T>,
        keep: impl FnOnce(&mut State, &T),
    ) -> io::Result<T> {
        let mut state = self.state.lock().unwrap();
        let number = state.count;
        state.count += 1;
        let due = state.fault.filter(|(at, _)| *at == number).map(|(_, fault)| fault);
        let write = what == "write";
        let due = due.filter(|fault| write || !matches!(fault, Fault::Short | Fault::ShortThenFull));
        if due.is_some() {
            state.struck = Some(state.cuts.len());
        }
        if let Some(code) = state.all {
            return Err(io::Error::from_raw_os_error(code));
        }
        match due {
            Some(Fault::Full) => return Err(io::Error::from_raw_os_error(NO_SPACE)),
            Some(Fault::Broken) => return Err(io::Error::from_raw_os_error(BROKEN)),
            Some(Fault::BrokenOn) => {
                state.all = Some(BROKEN);
                return Err(io::Error::from_raw_os_error(BROKEN));
            }
            Some(Fault::ShortThenFull) => state.all = Some(NO_SPACE),
            Some(Fault::Late | Fault::Short) | None => {}
        }
        let done = act(due)?;
        keep(&mut state, &done);
        let short = path.strip_prefix(&self.base).unwrap_or(path);
        self.note(&mut state, format!("{what} {}", short.display()));
        if due == Some(Fault::Late) { Err(io::Error::from_raw_os_error(BROKEN)) } else { Ok(done) }
    }

    /// The directory that holds the name of `path`, and the name; `None` outside the base and for what is not followed.
    fn place(&self, state: &State, path: &Path) -> Option<(usize, String)> {
        let name = path.file_name()?.to_str()?.to_owned();
        let node = self.find(state, path.parent()?)?;
        Some((node, name))
    }

    fn find(&self, state: &State, path: &Path) -> Option<usize> {
        let inside = path.strip_prefix(&self.base).ok()?;
        inside.iter().try_fold(0, |node, name| live(&state.nodes[node])?.get(name.to_str()?).copied())
    }

    fn change(&self, state: &mut State, path: &Path, change: impl FnOnce(&mut State, String) -> Option<Change>) {
        let Some((at, name)) = self.place(state, path) else { return };
        let Some(change) = change(state, name) else { return };
        if let Node::Directory { pending, .. } = &mut state.nodes[at] {
            pending.push(change);
        }
    }

    fn renamed(&self, state: &mut State, from: &Path, to: &Path) {
        let Some(node) = self.find(state, from) else { return };
        let old = self.place(state, from).map(|(_, name)| name).unwrap_or_default();
        self.change(state, to, |_, new| Some(Change::Rename(old, new, node)));
    }
}

/// The names that a directory shows while the power is on.
fn live(node: &Node) -> Option<BTreeMap<String, usize>> {
    let Node::Directory { durable, pending } = node else { return None };
    let mut names = durable.clone();
    pending.iter().for_each(|change| change.apply(&mut names));
    Some(names)
}

fn linked(state: &mut State, node: Node, name: String) -> Option<Change> {
    state.nodes.push(node);
    Some(Change::Link(name, state.nodes.len() - 1))
}

impl Files for Faulty {
    fn make_directory(&self, path: &Path, mode: u32) -> io::Result<()> {
        let node = Node::Directory { durable: BTreeMap::new(), pending: Vec::new() };
        let keep = |state: &mut State, _: &()| self.change(state, path, |state, name| linked(state, node, name));
        self.perform("make the directory", path, |_| Disk.make_directory(path, mode), keep)
    }

    fn create(&self, path: &Path, mode: u32) -> io::Result<File> {
        let node = Node::File { bytes: Arc::default(), synced: false };
        let keep = |state: &mut State, _: &File| self.change(state, path, |state, name| linked(state, node, name));
        self.perform("create", path, |_| Disk.create(path, mode), keep)
    }

    // Lock files hold nothing, and a power cut frees every lock: what becomes of their names does not matter.
    fn open_lock(&self, path: &Path) -> io::Result<File> {
        self.perform("open the lock", path, |_| Disk.open_lock(path), |_, _| ())
    }

    fn write(&self, path: &Path, file: &File, bytes: &[u8]) -> io::Result<usize> {
        let act = |due| {
            let some = if matches!(due, Some(Fault::Short | Fault::ShortThenFull)) { bytes.len().div_ceil(2) } else { bytes.len() };
            Disk.write(path, file, &bytes[..some])
        };
        let keep = |state: &mut State, _: &usize| {
            let Some(node) = self.find(state, path) else { return };
            state.nodes[node] = Node::File { bytes: Arc::new(fs::read(path).unwrap()), synced: false };
        };
        self.perform("write", path, act, keep)
    }

    fn sync(&self, path: &Path, file: &File) -> io::Result<()> {
        let keep = |state: &mut State, _: &()| {
            let Some(node) = self.find(state, path) else { return };
            // Read again: it may have been written by its path.
            state.nodes[node] = Node::File { bytes: Arc::new(fs::read(path).unwrap()), synced: !(self.lie)(path) };
        };
        self.perform("sync", path, |_| Disk.sync(path, file), keep)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.perform("rename to", to, |_| Disk.rename(from, to), |state, _| self.renamed(state, from, to))
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.perform("give the new name", to, |_| Disk.rename_new(from, to), |state, _| self.renamed(state, from, to))
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let keep = |state: &mut State, _: &()| {
            let Some(at) = self.find(state, path).filter(|_| !(self.lie)(path)) else { return };
            if let Some(durable) = live(&state.nodes[at]) {
                state.nodes[at] = Node::Directory { durable, pending: Vec::new() };
            }
        };
        self.perform("sync the directory", path, |_| Disk.sync_directory(path), keep)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let known = |state: &mut State, path: &Path| self.find(state, path).is_some();
        let keep = |state: &mut State, _: &()| {
            if known(state, path) {
                self.change(state, path, |_, name| Some(Change::Unlink(name)));
            }
        };
        self.perform("remove", path, |_| Disk.remove(path), keep)
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        self.perform("open", path, |_| Disk.open(path), |_, _| ())
    }
}

/// What becomes of the bytes of a file that was not synced.
type Fate = fn(&[u8]) -> Vec<u8>;

const FATES: [Fate; 4] = [|_| Vec::new(), |bytes| bytes[..bytes.len() / 2].to_vec(), |bytes| vec![0; bytes.len()], <[u8]>::to_vec];

impl Cut {
    /// Everything that may be left if the power goes now.
    pub fn left(&self) -> BTreeSet<Left> {
        let pending: Vec<(usize, usize)> = self
            .nodes
            .iter()
            .enumerate()
            .flat_map(|(at, node)| {
                let count = if let Node::Directory { pending, .. } = node { pending.len() } else { 0 };
                (0..count).map(move |change| (at, change))
            })
            .collect();
        let all: BTreeSet<(usize, usize)> = pending.iter().copied().collect();
        let mut kept: Vec<BTreeSet<(usize, usize)>> = Vec::new();
        if pending.len() <= EVERY_CHOICE {
            let chosen =
                |mask: usize| pending.iter().enumerate().filter(move |(bit, _)| mask >> bit & 1 == 1).map(|(_, one)| *one).collect();
            kept.extend((0..1_usize << pending.len()).map(chosen));
        } else {
            kept.extend([BTreeSet::new(), all.clone()]);
            for one in &pending {
                kept.push(BTreeSet::from([*one]));
                kept.push(all.iter().filter(|other| *other != one).copied().collect());
            }
        }
        kept.iter().flat_map(|kept| FATES.map(|fate| self.laid(kept, fate))).collect()
    }

    /// What is left when of all that is unsynced nothing is kept.
    pub fn least(&self) -> Left {
        self.laid(&BTreeSet::new(), FATES[0])
    }

    fn laid(&self, kept: &BTreeSet<(usize, usize)>, fate: Fate) -> Left {
        let mut left = Left::default();
        let mut open = vec![(PathBuf::new(), 0)];
        while let Some((path, at)) = open.pop() {
            match &self.nodes[at] {
                Node::Directory { durable, pending } => {
                    let mut names = durable.clone();
                    let survives = |(number, _): &(usize, &Change)| kept.contains(&(at, *number));
                    pending.iter().enumerate().filter(survives).for_each(|(_, change)| change.apply(&mut names));
                    open.extend(names.into_iter().map(|(name, node)| (path.join(name), node)));
                    left.directories.insert(path);
                }
                Node::File { bytes, synced: false } => drop(left.files.insert(path, Arc::new(fate(bytes)))),
                Node::File { bytes, .. } if path.file_name().is_none_or(|name| name != "index.db") => {
                    left.files.insert(path, Arc::clone(bytes));
                }
                Node::File { .. } => {
                    let parts =
                        self.watched.iter().map(|(end, bytes)| (PathBuf::from(format!("{}{end}", path.display())), Arc::clone(bytes)));
                    left.files.extend(parts);
                }
            }
        }
        left
    }
}
