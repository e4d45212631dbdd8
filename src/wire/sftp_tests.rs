//! Files on the machine's own sshd.
#![expect(clippy::disallowed_methods, reason = "tests look at files")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;
use crate::secret::{Origin, Secret};
use crate::wire::hostkey::MemoryPins;
use crate::wire::russh_client::SshClient;
use crate::wire::ssh::{Content, Pinning, Ssh as _, Target};
use crate::wire::sshd::{Sshd, me};

const SOON: Duration = Duration::from_secs(30);

fn game() -> Target {
    Target { host: "game".into(), port: None, user: Some(me()), identity: "host:game".into(), pinning: Pinning::Pinned }
}

fn bytes(dest: String, mode: u32, bytes: impl Into<Vec<u8>>) -> Upload {
    Upload { content: Content::Bytes(bytes.into()), dest, mode }
}

fn mode_of(path: &str) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn names(dir: &str) -> Vec<PathBuf> {
    std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[tokio::test]
async fn two_hundred_files_and_a_secret_arrive_whole() {
    let Some(sshd) = Sshd::start("") else { return };
    let client = sshd.client();
    let local = sshd.path("local");
    std::fs::write(&local, vec![7; 300_000]).unwrap();
    let root = sshd.path("srv/deep");
    std::fs::create_dir_all(sshd.path("srv/deep/d1")).unwrap();
    std::fs::write(format!("{root}/d1/f1"), "old and longer than what comes").unwrap();
    let mut files: Vec<Upload> = (0..200).map(|n| bytes(format!("{root}/d{}/f{n}", n % 7), 0o644, format!("file {n}"))).collect();
    let secret = Content::Secret(Secret::new("hush", Origin::Computed));
    files.push(Upload { content: secret, dest: format!("{root}/env/.env"), mode: 0o600 });
    files.push(Upload { content: Content::File(local.clone().into()), dest: format!("{root}/big"), mode: 0o755 });
    files.push(bytes(format!("{root}/empty"), 0o640, ""));
    // The home of the user, up to the root, and down again: `~` is tried without leaving anything there.
    let climb = "../".repeat(8);
    files.push(bytes(format!("~/{climb}{}", &sshd.path("srv/home")[1..]), 0o600, "home"));
    let most = AtomicU64::new(0);
    let progress = |sent: u64| {
        most.fetch_max(sent, Ordering::SeqCst);
    };
    let digests = client.upload(&game(), files, SOON, &progress).await.unwrap();
    let digest = |bytes: &[u8]| ring::digest::digest(&ring::digest::SHA256, bytes).as_ref().iter().map(|b| format!("{b:02x}")).collect();
    let sent: Vec<String> = (0..200).map(|n| digest(format!("file {n}").as_bytes())).collect();
    assert_eq!(digests[..200], sent);
    assert_eq!(digests[200..], [b"hush".to_vec(), vec![7; 300_000], Vec::new(), b"home".to_vec()].map(|bytes| digest(&bytes)));
    for n in 0..200 {
        assert_eq!(std::fs::read_to_string(format!("{root}/d{}/f{n}", n % 7)).unwrap(), format!("file {n}"));
    }
    assert_eq!(std::fs::read(format!("{root}/big")).unwrap(), std::fs::read(&local).unwrap());
    assert_eq!(std::fs::read_to_string(sshd.path("srv/home")).unwrap(), "home");
    let modes = ["env/.env", "big", "empty", "d1/f1"].map(|name| mode_of(&format!("{root}/{name}")));
    assert_eq!(modes, [0o600, 0o755, 0o640, 0o644]);
    let texts: usize = (0..200).map(|n| format!("file {n}").len()).sum();
    assert_eq!(most.load(Ordering::SeqCst), (texts + 4 + 300_000 + 4) as u64);
    assert_eq!(names(&format!("{root}/env")).len(), 1, "no temporary file is left");
}

#[tokio::test]
async fn an_interrupted_upload_leaves_the_old_file() {
    let Some(sshd) = Sshd::start("") else { return };
    let client = sshd.client();
    let (dir, local) = (sshd.path("srv"), sshd.path("local"));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::File::create(&local).unwrap().set_len(1 << 40).unwrap();
    std::fs::write(format!("{dir}/world"), "old").unwrap();
    let upload = Upload { content: Content::File(local.into()), dest: format!("{dir}/world"), mode: 0o600 };
    let error = client.upload(&game(), vec![upload], Duration::from_millis(700), &|_| ()).await.unwrap_err();
    assert!(matches!(&error, SshError::Deadline { what, .. } if what == "upload of 1 files"), "{error:?}");
    assert_eq!(std::fs::read_to_string(format!("{dir}/world")).unwrap(), "old");
    assert_eq!(names(&dir), [PathBuf::from(format!("{dir}/world"))], "the temporary file is removed");
}

#[tokio::test]
async fn refusals_name_the_path_and_the_local_file() {
    let Some(sshd) = Sshd::start("") else { return };
    let client = sshd.client();
    std::fs::write(sshd.path("plain"), "x").unwrap();
    let below_a_file = vec![bytes(sshd.path("plain/below"), 0o600, "y")];
    let error = client.upload(&game(), below_a_file, SOON, &|_| ()).await.unwrap_err();
    assert!(matches!(&error, SshError::File { path, .. } if path.contains("plain")), "{error:?}");
    std::fs::create_dir_all(sshd.path("dir")).unwrap();
    let error = client.upload(&game(), vec![bytes(sshd.path("dir"), 0o600, "y")], SOON, &|_| ()).await.unwrap_err();
    assert!(matches!(error, SshError::File { .. }), "{error:?}");
    let missing = Upload { content: Content::File("/no/such/file".into()), dest: sshd.path("x"), mode: 0o600 };
    let error = client.upload(&game(), vec![missing], SOON, &|_| ()).await.unwrap_err();
    assert!(matches!(&error, SshError::Local(text) if text.contains("/no/such/file")), "{error:?}");
    let left: Vec<PathBuf> = names(&sshd.path("")).into_iter().filter(|path| path.to_string_lossy().contains(".pmx-")).collect();
    assert_eq!(left, Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_server_without_extensions_is_served_too() {
    let options = "Subsystem sftp /usr/lib/openssh/sftp-server -P posix-rename,fsync";
    let Some(sshd) = Sshd::start_with(options, "") else { return };
    if !Path::new("/usr/lib/openssh/sftp-server").exists() {
        return;
    }
    let client = SshClient::new(sshd.settings(), Arc::new(MemoryPins::new()));
    std::fs::write(sshd.path("there"), "old").unwrap();
    let files = vec![bytes(sshd.path("there"), 0o600, "new"), bytes(sshd.path("absent"), 0o600, "new")];
    client.upload(&game(), files, SOON, &|_| ()).await.unwrap();
    assert_eq!(std::fs::read_to_string(sshd.path("there")).unwrap(), "new");
    assert_eq!(std::fs::read_to_string(sshd.path("absent")).unwrap(), "new");
}

#[tokio::test]
async fn many_files_are_synced_one_by_one_when_they_cannot_be_together() {
    // The only channel is SFTP's, so there is none for the command that would sync all at once.
    let Some(sshd) = Sshd::start("MaxSessions 1") else { return };
    let files = (0..TOGETHER + 4).map(|n| bytes(sshd.path(&format!("srv/{n}")), 0o400, format!("{n}"))).collect();
    sshd.client().upload(&game(), files, SOON, &|_| ()).await.unwrap();
    assert_eq!(names(&sshd.path("srv")).len(), TOGETHER + 4);
    assert_eq!((std::fs::read_to_string(sshd.path("srv/7")).unwrap(), mode_of(&sshd.path("srv/7"))), ("7".into(), 0o400));
}

#[tokio::test]
async fn a_server_without_sftp_says_so() {
    let Some(sshd) = Sshd::start_with("", "") else { return };
    let error = sshd.client().list(&game(), "/", false, SOON).await.unwrap_err();
    assert!(error.to_string().contains("offers no SFTP"), "{error}");
}

#[tokio::test]
async fn directories_are_listed_with_digests() {
    let Some(sshd) = Sshd::start("") else { return };
    let client = sshd.client();
    let root = sshd.path("repo dir");
    for name in ["a", "sub/deeper/b c", "-n", "it's\nodd\\", "$(id)", ".hidden"] {
        let path = PathBuf::from(format!("{root}/{name}"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, name).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o750)).unwrap();
    }
    std::os::unix::fs::symlink("/etc/passwd", format!("{root}/link")).unwrap();
    std::os::unix::fs::symlink("/", format!("{root}/loop")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(format!("{root}/socket")).unwrap();
    let files = client.list(&game(), &root, true, SOON).await.unwrap();
    let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["$(id)", "-n", ".hidden", "a", "it's\nodd\\", "sub/deeper/b c"]);
    for file in &files {
        let digest = ring::digest::digest(&ring::digest::SHA256, file.path.as_bytes());
        let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!((file.sha256.as_deref(), file.size, file.mode), (Some(hex.as_str()), file.path.len() as u64, 0o750));
    }
    let plain = client.list(&game(), &format!("{root}/"), false, SOON).await.unwrap();
    assert!(plain.len() == 6 && plain.iter().all(|file| file.sha256.is_none()));
    assert_eq!(client.list(&game(), "/no/such/dir", true, SOON).await.unwrap(), []);
}

#[tokio::test]
async fn files_are_read_up_to_their_limit() {
    let Some(sshd) = Sshd::start("") else { return };
    let client = sshd.client();
    let path = sshd.path("file");
    std::fs::write(&path, vec![b'x'; 100_000]).unwrap();
    assert_eq!(client.read(&game(), &path, 100_000).await.unwrap().unwrap().len(), 100_000);
    let error = client.read(&game(), &path, 99_999).await.unwrap_err();
    assert!(matches!(&error, SshError::File { cause, .. } if cause.contains("99999")), "{error:?}");
    assert_eq!(client.read(&game(), &sshd.path("none"), 9).await.unwrap(), None);
    assert!(!client.read(&game(), "/proc/version", 10_000).await.unwrap().unwrap().is_empty());
    let error = client.read(&game(), &sshd.path("home"), 9).await.unwrap_err();
    assert!(matches!(error, SshError::File { .. }), "{error:?}");
}

#[test]
fn digest_lines_are_read_with_their_escapes() {
    let hash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(digest_line(&format!("{hash}  ./a b")), Some(("a b".into(), hash)));
    assert_eq!(digest_line(&format!("\\{hash}  ./a\\nb\\\\c")), Some(("a\nb\\c".into(), hash)));
    assert_eq!(digest_line(&format!("{hash}  ./-n")), Some(("-n".into(), hash)));
    assert_eq!(digest_line("sha256sum: ./x: No such file"), None);
    assert_eq!([parent("/srv/a"), parent("/a"), parent("a")], ["/srv", "/", "."]);
}

#[test]
fn digest_lines_are_read_or_passed_over_however_spoiled() {
    let digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let seeds = [format!("{digest}  ./a b.txt"), format!("\\{digest} *./a\\nb\\\\c")];
    crate::walks::feed(&seeds, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let (path, digest) = digest_line(&text).ok_or("no digest")?;
        assert!(digest.len() == 64 && path.len() <= text.len());
        Ok(())
    });
}
