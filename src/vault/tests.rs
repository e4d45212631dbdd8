//! Tests of the vaults and of the store's key, over real files and real programs.
#![expect(clippy::disallowed_methods, reason = "looks at the files that vaults write")]

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;

use super::command::CommandVault;
use super::env::EnvVault;
use super::file::FileVault;
use super::key::StoreKey;
use super::{Vault, VaultError, Vaults};
use crate::digest::Digest;
use crate::files::faulty::{FAULTS, Faulty};
use crate::secret::{Origin, Sealer, Secret};
use crate::walks::{feed, swift};

const ID: &str = "0123456789abcdef0123456789abcdef";

fn plain(text: &str) -> Secret {
    Secret::new(text, Origin::Computed)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

#[test]
fn a_store_key_is_made_once_and_read_by_its_owner_only() {
    let config = tempfile::tempdir().unwrap();
    assert!(StoreKey::load(config.path(), ID, None).unwrap().is_none());
    assert_eq!(fs::read_dir(config.path()).unwrap().count(), 0, "looking makes nothing");
    let keys: Vec<StoreKey> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| StoreKey::load_or_make(config.path(), ID, None).unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let sealed = keys[0].seal(b"ticket");
    for key in &keys {
        assert_eq!(key.open(&sealed).unwrap().as_slice(), b"ticket");
        assert_eq!(key.keyed_digest(b"ticket"), keys[0].keyed_digest(b"ticket"));
    }
    let directory = config.path().join("pmx/keys");
    assert_eq!((mode(&directory), mode(&directory.join(ID))), (0o700, 0o600));
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "no temporary file is left");

    let other = StoreKey::load_or_make(config.path(), &ID.replace('0', "f"), None).unwrap();
    assert!(other.open(&sealed).is_none());
    assert_eq!(other.refusal(&sealed).unwrap(), "it is sealed with another store's key");
    assert_eq!(keys[0].refusal(&sealed), None);
    assert_ne!(other.keyed_digest(b"ticket"), keys[0].keyed_digest(b"ticket"));
    assert_ne!(keys[0].keyed_digest(b"ticket"), Digest::of(b"ticket"));
}

#[test]
fn a_store_key_that_others_read_or_that_is_cut_is_refused() {
    let config = tempfile::tempdir().unwrap();
    StoreKey::load_or_make(config.path(), ID, None).unwrap();
    let file = config.path().join("pmx/keys").join(ID);
    let good = fs::read_to_string(&file).unwrap();
    for open in [0o640, 0o604, 0o666] {
        fs::set_permissions(&file, Permissions::from_mode(open)).unwrap();
        let error = StoreKey::load_or_make(config.path(), ID, None).unwrap_err().to_string();
        assert!(error.contains(&format!("chmod 600 {}", file.display())) && error.contains(&format!("{open:04o}")), "{error}");
    }
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    for bad in ["", "abc", &good[..40], &format!("{}zz", &good[..62])] {
        fs::write(&file, bad).unwrap();
        let error = StoreKey::load_or_make(config.path(), ID, None).unwrap_err();
        assert!(matches!(error, VaultError::StoreKey { .. }), "{bad:?}: {error}");
        assert_eq!(fs::read_to_string(&file).unwrap(), bad, "a bad key is never replaced");
    }
    for id in ["", "../../etc/passwd", "a/b"] {
        assert!(StoreKey::load_or_make(config.path(), id, None).is_err(), "{id}");
    }
}

#[test]
fn a_given_key_goes_first_and_touches_no_file() {
    let config = tempfile::tempdir().unwrap();
    let given = "11".repeat(32);
    let key = StoreKey::load_or_make(config.path(), ID, Some(&given)).unwrap();
    assert_eq!(fs::read_dir(config.path()).unwrap().count(), 0);
    assert!(StoreKey::from_bytes(&[0x11; 32]).open(&key.seal(b"x")).is_some());
    let error = StoreKey::load(config.path(), ID, Some("hunter2")).unwrap_err().to_string();
    assert!(error.contains("PMX_STORE_KEY") && !error.contains("hunter2"), "{error}");
}

fn file_vault(directory: &Path, key: u8) -> FileVault {
    FileVault::new("proxmox-vault", directory.join("vaults/proxmox-vault.toml"), &StoreKey::from_bytes(&[key; 32]))
}

#[tokio::test]
async fn a_file_vault_keeps_secrets_sealed_and_comments_in_place() {
    let directory = tempfile::tempdir().unwrap();
    let vault = file_vault(directory.path(), 1);
    assert_eq!(vault.list().await.unwrap(), [""; 0]);
    vault.set("password", &plain("hunter2 'ü' \"")).await.unwrap();
    let path = directory.path().join("vaults/proxmox-vault.toml");
    assert_eq!(mode(&path), 0o600);
    let text = fs::read_to_string(&path).unwrap();
    assert!(!text.contains("hunter2") && text.starts_with("password = \"pmx1:"), "{text}");
    fs::write(&path, format!("# the root of keeb-dev-02\n{} # 2026\n\n# end\n", text.trim_end())).unwrap();
    vault.set("a key/with = [odd] letters", &plain("2")).await.unwrap();
    vault.set("password", &plain("hunter3")).await.unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(
        text.starts_with("# the root of keeb-dev-02\npassword = \"pmx1:") && text.contains(" # 2026\n") && text.ends_with("# end\n"),
        "{text}"
    );
    assert_eq!(vault.list().await.unwrap(), ["a key/with = [odd] letters", "password"]);

    let again = file_vault(directory.path(), 1);
    let secret = again.get("password").await.unwrap();
    assert_eq!(secret.expose(), "hunter3");
    assert_eq!(*secret.origin(), Origin::Vault { vault: "proxmox-vault".to_owned(), key: "password".to_owned() });
    again.remove("a key/with = [odd] letters").await.unwrap();
    assert_eq!(again.list().await.unwrap(), ["password"]);
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_file_vault_says_which_key_is_missing_and_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let vault = file_vault(directory.path(), 1);
    let missing = vault.get("password").await.unwrap_err().to_string();
    assert_eq!(missing, "vault proxmox-vault has no key `password`; `pmx vault set proxmox-vault password` adds it");
    vault.set("password", &plain("x")).await.unwrap();
    vault.set("tailscaleAuthKey", &plain("y")).await.unwrap();
    let slip = vault.get("pasword").await.unwrap_err().to_string();
    let expected = "vault proxmox-vault has no key `pasword`; did you mean `password`? (keys there: password, tailscaleAuthKey); \
                    `pmx vault set proxmox-vault pasword` adds it";
    assert_eq!(slip, expected);
    assert!(matches!(vault.remove("other").await, Err(VaultError::NoKey { .. })));
    for bad in ["", "a\nb", &"k".repeat(201)] {
        assert!(matches!(vault.set(bad, &plain("x")).await, Err(VaultError::BadKey { .. })), "{bad:?}");
    }
    assert!(matches!(vault.set("k", &plain("")).await, Err(VaultError::Cannot { .. })));
}

#[tokio::test]
async fn values_that_are_not_ours_are_refused_without_being_shown() {
    let directory = tempfile::tempdir().unwrap();
    let vault = file_vault(directory.path(), 1);
    vault.set("a", &plain("1")).await.unwrap();
    vault.set("b", &plain("2")).await.unwrap();
    let path = directory.path().join("vaults/proxmox-vault.toml");
    let good = fs::read_to_string(&path).unwrap();
    let value = |key: &str| good.lines().find(|line| line.starts_with(key)).unwrap()[4..].to_owned();
    let cases = [
        (format!("a = {}\n", value("b")), "belong to another name"),
        (format!("a = {}", value("a").replace("pmx1:A", "pmx1:B")), "format"),
        ("a = \"hunter2\"\n".to_owned(), "is not sealed"),
        ("a = { b = \"hunter2\" }\n".to_owned(), "is not sealed"),
        ("a = \"pmx1:!!\"\n".to_owned(), "cut or mistyped"),
        ("a = \"pmx1:\"\n".to_owned(), "changed"),
        ("\n\na = hunter2\n".to_owned(), "line 3 is not TOML"),
    ];
    for (text, why) in cases {
        fs::write(&path, &text).unwrap();
        let error = vault.get("a").await.unwrap_err();
        assert!(error.to_string().contains(why) && !format!("{error:?}").contains("hunter2"), "{text}: {error}");
    }
    fs::write(&path, &good).unwrap();
    let other = file_vault(directory.path(), 2).get("a").await.unwrap_err().to_string();
    assert!(other.contains("another store's key") && other.contains("`pmx vault set proxmox-vault a` replaces it"), "{other}");
    fs::write(&path, "# long\n".repeat(700_000)).unwrap();
    assert!(vault.set("a", &plain("1")).await.is_err(), "a file that is not read whole is not written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_at_the_same_time_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let writers: Vec<_> = (0..12)
        .map(|number| {
            let vault = file_vault(directory.path(), 1);
            tokio::spawn(async move { vault.set(&format!("key{number}"), &plain(&number.to_string())).await })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap().unwrap();
    }
    let vault = file_vault(directory.path(), 1);
    assert_eq!(vault.list().await.unwrap().len(), 12);
    assert_eq!(vault.get("key7").await.unwrap().expose(), "7");
}

#[tokio::test]
async fn a_linked_vault_stays_a_link() {
    let directory = tempfile::tempdir().unwrap();
    let real = directory.path().join("real.toml");
    fs::write(&real, "# real\n").unwrap();
    let link = directory.path().join("link.toml");
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let vault = FileVault::new("v", &link, &StoreKey::from_bytes(&[1; 32]));
    vault.set("a", &plain("1")).await.unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(fs::read_to_string(&real).unwrap().contains("a = "));
}

#[tokio::test]
async fn an_env_vault_finds_both_spellings_and_names_the_variable() {
    let variables = [("PMX_V_DISCORD_TOKEN", "t"), ("PMX_V_password", "p"), ("PMX_V_EMPTY", ""), ("OTHER", "o"), ("PMX_V_", "nothing")];
    let variables: BTreeMap<String, String> = variables.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
    let vault = EnvVault::new("ci", "PMX_V_", Arc::new(variables));
    assert_eq!(vault.get("password").await.unwrap().expose(), "p");
    assert_eq!(vault.get("discordToken").await.unwrap().expose(), "t");
    assert_eq!(vault.get("discord-token").await.unwrap().expose(), "t");
    assert_eq!(vault.list().await.unwrap(), ["DISCORD_TOKEN", "password"]);
    let missing = vault.get("empty").await.unwrap_err().to_string();
    assert_eq!(missing, "vault ci has no key `empty` (keys there: DISCORD_TOKEN, password); export PMX_V_EMPTY or PMX_V_empty");
    assert!(matches!(vault.set("a", &plain("x")).await, Err(VaultError::Cannot { .. })));
}

fn shell(script: &str, deadline: Duration) -> CommandVault {
    let argv = ["sh", "-c", script, "sh", "{key}", "x-{key}-y"].map(str::to_owned);
    CommandVault::new("pass", &argv, deadline).unwrap()
}

#[tokio::test]
async fn a_command_vault_takes_the_first_line() {
    let long = Duration::from_secs(20);
    let get = async |script: &str, key: &str| shell(script, long).get(key).await.map(|secret| secret.expose().to_owned());
    assert_eq!(get("printf 's3cret \\r\\nuser: root\\n'", "k").await.unwrap(), "s3cret ");
    assert_eq!(get("printf '%s' \"$1/$2\"", "a b;$(id)").await.unwrap(), "a b;$(id)/x-a b;$(id)-y", "no shell reads the key");
    assert_eq!(get("echo top; head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2", "k").await.unwrap(), "top");
    assert_eq!(get("cat; echo ${PMX_STORE_KEY-none}", "k").await.unwrap(), "none", "no input, no store key");
    let failed = get("echo secret; echo 'Error: k is not in the password store.' >&2; exit 3", "k").await.unwrap_err().to_string();
    let expected = "could not get key `k` of vault pass from sh: exit status: 3: Error: k is not in the password store.";
    assert_eq!(failed, expected);
    let talkative = get("echo hunter2; echo 'got hunter2, but: no' >&2; exit 1", "k").await.unwrap_err().to_string();
    assert!(talkative.ends_with("exit status: 1: got [secret], but: no"), "{talkative}");
    for (script, why) in [("true", "printed nothing"), ("echo; echo late", "printed nothing"), ("printf '\\377'", "not UTF-8")] {
        let error = get(script, "k").await.unwrap_err().to_string();
        assert!(error.contains(why), "{script}: {error}");
    }
    for key in ["", "-rf", "a\0b"] {
        assert!(matches!(get("echo x", key).await, Err(VaultError::BadKey { .. })), "{key:?}");
    }
}

#[tokio::test]
async fn a_command_vault_has_a_deadline_and_says_what_it_cannot() {
    let error = shell("echo early; exec sleep 600", Duration::from_millis(200)).get("k").await.unwrap_err().to_string();
    assert_eq!(error, "could not get key `k` of vault pass from sh: it did not end within 0.2 s and was stopped");
    let nowhere = CommandVault::new("pass", &["/nowhere/pass", "{key}"].map(str::to_owned), Duration::from_secs(5)).unwrap();
    assert!(nowhere.get("k").await.unwrap_err().to_string().contains("/nowhere/pass: it does not start"));
    assert!(matches!(nowhere.list().await, Err(VaultError::Cannot { .. })));
    for argv in [&[][..], &["pass".to_owned()], &["{key}".to_owned(), "x".to_owned()]] {
        assert!(CommandVault::new("pass", argv, Duration::from_secs(5)).is_err(), "{argv:?}");
    }
}

#[tokio::test]
async fn a_project_finds_its_vaults_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let file = file_vault(directory.path(), 1);
    file.set("password", &plain("p")).await.unwrap();
    let mut vaults = Vaults::new();
    vaults.add("proxmox-vault", Box::new(file));
    assert_eq!(vaults.get("proxmox-vault", "password").await.unwrap().expose(), "p");
    let error = vaults.get("proxmox-vualt", "password").await.unwrap_err().to_string();
    let expected = "there is no vault `proxmox-vualt`; did you mean `proxmox-vault`? (vaults there: proxmox-vault); \
                    add [vault.proxmox-vualt] to the Pmxfile";
    assert_eq!(error, expected);
}

#[test]
fn key_files_are_read_or_refused_however_spoiled() {
    let config = tempfile::tempdir().unwrap();
    let path = config.path().join("pmx/keys").join(ID);
    StoreKey::load_or_make(config.path(), ID, None).unwrap();
    let good = fs::read_to_string(&path).unwrap();
    feed(&[good.clone(), good.to_uppercase()], move |bytes| {
        fs::write(&path, bytes).unwrap();
        let told = StoreKey::load(config.path(), ID, None).map_err(|e| e.to_string());
        // Whatever stands there may be most of the key.
        assert!(told.as_ref().err().is_none_or(|why| !why.contains(&good[..20])), "{told:?}");
        told.map(|key| assert!(key.is_some()))
    });
}

#[test]
fn vault_files_are_read_or_refused_however_spoiled() {
    let directory = tempfile::tempdir().unwrap();
    let vault = file_vault(directory.path(), 1);
    for (key, value) in [("password", "hunter2 hunter2"), ("tailscaleAuthKey", "tskey-auth-1")] {
        vault.set(key, &plain(value)).now_or_never().unwrap().unwrap();
    }
    let path = directory.path().join("vaults/proxmox-vault.toml");
    let good = format!("# ours\n{}", fs::read_to_string(&path).unwrap());
    feed(&[good], move |bytes| {
        let _held = &directory;
        fs::write(&path, bytes).unwrap();
        let listed = vault.list().now_or_never().unwrap().map(drop);
        let got = vault.get("password").now_or_never().unwrap().map(|secret| assert_eq!(secret.expose(), "hunter2 hunter2"));
        listed.and(got).map_err(|e| e.to_string())
    });
}

/// Whether the key that sealed this is there; a file that is there and is no key is an error.
fn keeps(config: &Path, sealed: &[u8]) -> bool {
    let key = StoreKey::load(config, ID, None).unwrap();
    key.is_some_and(|key| key.open(sealed).is_some_and(|plain| plain.as_slice() == b"ticket"))
}

#[test]
fn a_store_key_that_was_given_outlives_every_fault_and_power_cut() {
    let (mut cuts, mut faults) = (0, 0);
    for fault in std::iter::once(None).chain(FAULTS.map(Some)) {
        for number in 0.. {
            let dir = swift();
            let config = dir.path().join("home/config");
            let files = Faulty::new(dir.path(), None);
            fault.into_iter().for_each(|fault| files.strike(number, fault));
            let make = || StoreKey::load_or_make_on(&files, &config, ID, None);
            let key = make().or_else(|error| {
                assert!(error.to_string().contains(&dir.path().display().to_string()), "{error}");
                files.heal();
                faults += 1;
                make()
            });
            let sealed = key.unwrap().seal(b"ticket");
            files.promised(1);
            for cut in files.cuts() {
                for left in cut.left() {
                    let dir = swift();
                    left.lay(dir.path());
                    // A file has the mode that it was made with, also after a power cut.
                    let path = dir.path().join("home/config/pmx/keys").join(ID);
                    let _ = fs::set_permissions(&path, Permissions::from_mode(0o600));
                    let there = keeps(&dir.path().join("home/config"), &sealed);
                    assert!(there || cut.promised == 0, "{fault:?} at operation {number}, the power went after {}", cut.after);
                    cuts += 1;
                }
            }
            if number >= files.operations() || fault.is_none() {
                break;
            }
        }
    }
    assert!(cuts > 300 && faults > 40, "{cuts} cuts, {faults} faults");
}
