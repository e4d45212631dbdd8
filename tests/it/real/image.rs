//! Images for a test's engine, built from nothing but this machine's busybox and tmux: there is no registry to pull from.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::docker::Docker;
use super::{needs, present, run};

/// The stand-in for a tModLoader server, as the facts of its console and its image tell it.
const TERRARIA: [(&str, &str); 3] = [
    ("server", include_str!("terraria/server.sh")),
    ("entrypoint", include_str!("terraria/entrypoint.sh")),
    ("inject", include_str!("terraria/inject.sh")),
];

/// nginx's module for TCP and UDP, where Debian's package puts it.
pub const STREAM_MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// Builds the image `tag`: a shell with busybox's commands, which waits until it is told to end. `None` when the test is to be skipped.
#[track_caller]
pub fn busybox(docker: &Docker, tag: &str) -> Option<()> {
    let context = Context::new()?;
    // A shell that waits in the background hears the signal at once.
    context.build(docker, tag, "CMD [\"sh\", \"-c\", \"trap 'exit 0' TERM; while :; do sleep 3600 & wait; done\"]\n");
    Some(())
}

/// Builds the image `tag`: a Terraria console inside tmux, as the public tModLoader image runs it. `None` when the test is to be skipped.
///
/// Environment of a container: `PLAYERS` (names online), `SAVE_SECONDS` (how long a save takes, 1), `SHUTDOWN_PAUSE` (between the
/// announcement and `exit` on TERM, 3). Each finished save adds a line to `/world/saves`.
#[track_caller]
pub fn terraria(docker: &Docker, tag: &str) -> Option<()> {
    let [tmux] = needs(["tmux"])?;
    let context = Context::new()?;
    context.add(&tmux, "usr/bin/tmux");
    for library in libraries(&tmux) {
        context.add(&library, library.display().to_string().trim_start_matches('/'));
    }
    for (path, text) in TERRARIA {
        context.write(&format!("usr/bin/{path}"), text);
    }
    let terminfo = ["/lib/terminfo/x/xterm", "/usr/share/terminfo/x/xterm", "/etc/terminfo/x/xterm"].map(PathBuf::from);
    if let Some(xterm) = terminfo.into_iter().find(|path| path.is_file()) {
        context.add(&xterm, "usr/share/terminfo/x/xterm");
    }
    // tmux refuses to start where no locale knows UTF-8.
    context.add(Path::new("/usr/lib/locale/C.utf8/LC_CTYPE"), "usr/lib/locale/C.utf8/LC_CTYPE");
    let lines = "ENV TERM=xterm LANG=C.UTF-8 PLAYERS= SAVE_SECONDS=1 SHUTDOWN_PAUSE=3\nENTRYPOINT [\"/usr/bin/entrypoint\"]\n";
    context.build(docker, tag, lines);
    Some(())
}

/// Builds the image `tag`: this machine's nginx with its stream module, in the foreground, as the public image runs it. `None` when the test is to be
/// skipped.
#[track_caller]
pub fn nginx(docker: &Docker, tag: &str) -> Option<()> {
    let [nginx] = needs(["nginx"])?;
    let module = present("libnginx-mod-stream", Some(PathBuf::from(STREAM_MODULE)).filter(|path| path.is_file()))?;
    let context = Context::new()?;
    for file in [&nginx, &module] {
        context.add(file, file.display().to_string().trim_start_matches('/'));
    }
    for library in libraries(&nginx).into_iter().chain(libraries(&module)) {
        context.add(&library, library.display().to_string().trim_start_matches('/'));
    }
    for folder in ["var/lib/nginx", "var/log/nginx", "run", "etc/nginx"] {
        std::fs::create_dir_all(context.place(folder)).expect("a folder can be made");
    }
    context.write("etc/group", "root:x:0:\n");
    context.build(docker, tag, "ENV PATH=/usr/sbin:/usr/bin:/bin\nSTOPSIGNAL SIGQUIT\nCMD [\"nginx\", \"-g\", \"daemon off;\"]\n");
    Some(())
}

/// The folder that becomes an image.
struct Context {
    dir: tempfile::TempDir,
}

impl Context {
    #[track_caller]
    fn new() -> Option<Self> {
        let [busybox] = needs(["busybox"])?;
        present("busybox-static", libraries(&busybox).is_empty().then_some(()))?;
        let context = Self { dir: tempfile::Builder::new().prefix("pmx-image-").tempdir().expect("a temporary directory can be made") };
        context.add(&busybox, "root/bin/busybox");
        for folder in ["tmp", "etc", "usr/bin", "world", "root"] {
            std::fs::create_dir_all(context.dir.path().join("root").join(folder)).expect("a folder can be made");
        }
        context.write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");
        Some(context)
    }

    fn place(&self, path: &str) -> PathBuf {
        let place = self.dir.path().join("root").join(path.trim_start_matches("root/"));
        std::fs::create_dir_all(place.parent().unwrap_or(&place)).expect("a folder can be made");
        place
    }

    fn add(&self, from: &Path, path: &str) {
        run(Command::new("cp").arg("-L").arg(from).arg(self.place(path)));
    }

    fn write(&self, path: &str, text: &str) {
        let place = self.place(path);
        std::fs::write(&place, text).expect("a file can be written");
        run(Command::new("chmod").arg("755").arg(&place));
    }

    #[track_caller]
    fn build(&self, docker: &Docker, tag: &str, lines: &str) {
        let install = "FROM scratch\nCOPY root /\nRUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\nENV PATH=/usr/bin:/bin\n";
        std::fs::write(self.dir.path().join("Dockerfile"), format!("{install}{lines}")).expect("a Dockerfile can be written");
        docker.run(&["build", "-q", "-t", tag, &self.dir.path().display().to_string()]);
    }
}

/// The shared libraries of a program, its loader included; none for a static one.
fn libraries(program: &Path) -> BTreeSet<PathBuf> {
    let out = Command::new("ldd").arg(program).output().map(|out| String::from_utf8_lossy(&out.stdout).into_owned()).unwrap_or_default();
    out.split_whitespace().filter(|word| word.starts_with('/') && word.contains(".so")).map(PathBuf::from).collect()
}
