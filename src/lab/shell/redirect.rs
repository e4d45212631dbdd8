//! Redirections: what the standard streams of a command become.

use super::io::{Input, Sink, Source};
use super::run::Shell;
use super::tree::{Redirect, Target};
use crate::lab::host::files::FileError;

impl Shell {
    /// Opens redirections in order; false and a message when one cannot be.
    pub(super) fn redirect(&mut self, redirects: &[Redirect]) -> bool {
        redirects.iter().all(|redirect| self.redirect_one(redirect))
    }

    fn redirect_one(&mut self, redirect: &Redirect) -> bool {
        let (Target::Read(word) | Target::Write(word) | Target::Append(word) | Target::Dup(word) | Target::Here(word)) = &redirect.to;
        let Some(name) = self.expand_one(word) else { return false };
        let opened = match &redirect.to {
            Target::Here(_) => Some((Some(Input::bytes(name.into_bytes())), None)),
            Target::Dup(_) => self.dup(&name),
            Target::Read(_) => self.open_read(&name).map(|input| (Some(input), None)),
            to => self.open_write(&name, matches!(to, Target::Append(_))).map(|sink| (None, Some(sink))),
        };
        match (redirect.fd, opened) {
            (0, Some((Some(input), _))) => self.io.stdin = input,
            (1, Some((_, Some(sink)))) => self.io.stdout = sink,
            (2, Some((_, Some(sink)))) => self.io.stderr = sink,
            (_, None) => return false,
            _ => {
                self.fault(&format!("{}: Bad file descriptor", redirect.fd));
                return false;
            }
        }
        true
    }

    fn dup(&self, name: &str) -> Option<(Option<Input>, Option<Sink>)> {
        match name {
            "0" => Some((Some(self.io.stdin.clone()), None)),
            "1" => Some((None, Some(self.io.stdout.clone()))),
            "2" => Some((None, Some(self.io.stderr.clone()))),
            "-" => Some((Some(Input::new(Source::Empty)), Some(Sink::Null))),
            _ => {
                self.fault(&format!("{name}: Bad file descriptor"));
                None
            }
        }
    }

    fn open_read(&self, name: &str) -> Option<Input> {
        match self.world.read(&self.path(name)) {
            Ok(bytes) => Some(Input::bytes(bytes)),
            Err(error) => {
                let why = if error == FileError::NotFound { "No such file".to_owned() } else { error.to_string() };
                self.fault(&format!("cannot open {name}: {why}"));
                None
            }
        }
    }

    fn open_write(&self, name: &str, append: bool) -> Option<Sink> {
        let path = self.path(name);
        match path.as_str() {
            "/dev/null" => return Some(Sink::Null),
            "/dev/stdout" | "/dev/fd/1" => return Some(self.io.stdout.clone()),
            "/dev/stderr" | "/dev/fd/2" => return Some(self.io.stderr.clone()),
            _ => {}
        }
        let mode = self.new_mode(0o666);
        let opened = self.world.files(|files| {
            let there = files.stat(&path).is_ok();
            if append && there {
                files.append(&path, &[], mode)?
            } else {
                files.write(&path, Vec::new(), mode)?
            }
            files.resolve(&path, true)
        });
        match opened {
            Ok(real) => Some(Sink::File(self.world.clone(), real)),
            Err(error) => {
                let why = if error == FileError::NotFound { "Directory nonexistent".to_owned() } else { error.to_string() };
                self.fault(&format!("cannot create {name}: {why}"));
                None
            }
        }
    }
}
