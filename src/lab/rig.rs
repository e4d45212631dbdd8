//! A practice machine for tests: its inside behind a mutex, faults that a test sets, and a count of what was asked of the power.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::commands;
use super::host::HostState;
use super::machine::{HostFaults, Machine};
use super::shell::io::{Input, Io, Sink, take};
use super::shell::{STACK, Shell, World};

/// A machine that nobody else knows.
pub struct Rig {
    state: Mutex<HostState>,
    faults: Mutex<HostFaults>,
    /// `power_off` calls.
    pub offs: AtomicU32,
    /// `reboot` calls.
    pub reboots: AtomicU32,
}

impl Machine for Rig {
    fn with(&self, change: &mut dyn FnMut(&mut HostState)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn fetch(&self, host: &str, path: &str) -> Option<(u16, Vec<u8>)> {
        if host == "127.0.0.1" { self.look(|state| state.serves(path)) } else { None }
    }

    fn power_off(&self) {
        self.offs.fetch_add(1, Ordering::SeqCst);
    }

    fn reboot(&self) {
        self.reboots.fetch_add(1, Ordering::SeqCst);
    }

    fn faults(&self) -> HostFaults {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What a command printed and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
    /// Exit status.
    pub status: i32,
}

/// What a stream has taken so far.
pub type Printed = Arc<Mutex<Vec<u8>>>;

impl Rig {
    /// The machine of this name, a hundred times as fast as the clock.
    pub fn new(name: &str) -> Arc<Self> {
        let state = HostState::for_vm(name, "6f0c1e0e-8c3b-4a58-9d0e-2a3f6b7c8d90");
        let faults = HostFaults { pace: 0.01, ..HostFaults::default() };
        Arc::new(Self { state: Mutex::new(state), faults: Mutex::new(faults), offs: AtomicU32::new(0), reboots: AtomicU32::new(0) })
    }

    /// Changes how the machine misbehaves.
    pub fn set(&self, change: impl FnOnce(&mut HostFaults)) {
        change(&mut self.faults.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Looks at (or changes) the machine's inside.
    pub fn look<R>(&self, look: impl FnOnce(&mut HostState) -> R) -> R {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A shell on the machine, and what it will print.
    pub fn shell(self: &Arc<Self>, stdin: &str) -> (Shell, Printed, Printed) {
        let ((out, out_bytes), (err, err_bytes)) = (Sink::buffer(), Sink::buffer());
        let world = World::new(Arc::clone(self) as Arc<dyn Machine>, "root", commands::find);
        let shell = Shell::new(world, Io { stdin: Input::bytes(stdin.as_bytes().to_vec()), stdout: out, stderr: err });
        (shell, out_bytes, err_bytes)
    }

    /// Runs a script with this standard input, as the SSH server would.
    pub fn run_with(self: &Arc<Self>, script: &str, stdin: &str) -> Ran {
        let (mut shell, out, err) = self.shell(stdin);
        let script = script.to_owned();
        let thread = std::thread::Builder::new().stack_size(STACK).spawn(move || shell.script(&script)).expect("a thread");
        let status = thread.join().expect("the shell does not panic");
        let text = |bytes: &Mutex<Vec<u8>>| String::from_utf8_lossy(&take(bytes)).into_owned();
        Ran { out: text(&out), err: text(&err), status }
    }

    /// Runs a script without standard input.
    pub fn run(self: &Arc<Self>, script: &str) -> Ran {
        self.run_with(script, "")
    }

    /// Runs a script that must succeed, and gives what it printed.
    pub fn ok(self: &Arc<Self>, script: &str) -> String {
        let ran = self.run(script);
        assert_eq!(ran.status, 0, "`{script}` failed: {ran:?}");
        ran.out
    }
}
