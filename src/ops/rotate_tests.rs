//! Rotations that die after each of their steps, and those that are refused.
#![expect(clippy::disallowed_methods, reason = "writes and reads the files of its sandbox")]

use std::path::Path;

use super::*;
use crate::digest::Digest;
use crate::name::Actor;
use crate::ops::secrets;
use crate::secret::{Origin, Sealer, Secret};
use crate::source::Fault;
use crate::store::words::Commit;

const SECRETS: [&str; 3] = ["ticket", "token", "a much longer one, of which there is more than a line\nand another"];

/// A project in a directory of its own, with secrets in its store and in two vaults.
struct Yard {
    dir: tempfile::TempDir,
    front: Front,
}

impl Yard {
    fn bare(store: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let vault = |name: &str| format!("[vault.{name}]\nkind = \"file\"\npath = \"{name}.toml\"\n");
        let lab = "[profile.lab]\nstore = \"lab\"\nvaults = \"lab/vaults\"\n[profile.near]\nvaults = \"near\"\n";
        let text = format!("[project]\nname = \"p\"\n[store]\n{store}\n{}{}{lab}", vault("a"), vault("b"));
        std::fs::write(dir.path().join("Pmxfile.toml"), text).unwrap();
        let front = Front {
            cwd: dir.path().to_path_buf(),
            home: None,
            config: Some(dir.path().join("config")),
            env: BTreeMap::new(),
            profile: None,
            actor: Actor::new("cli", "tester@here"),
            program: "pmx".into(),
        };
        Self { dir, front }
    }

    async fn new() -> Self {
        let yard = Self::bare("");
        yard.fill().await;
        yard
    }

    fn at(&self, profile: Option<&str>) -> (Site, Front) {
        let front = Front { profile: profile.map(str::to_owned), ..self.front.clone() };
        (Site::find(&front).unwrap(), front)
    }

    async fn fill(&self) {
        for profile in [None, Some("near")] {
            let (site, front) = self.at(profile);
            let mut opened = world::open_or_create(&site, &front).unwrap();
            let sealed = SECRETS.iter().map(|text| (Digest::of(text.as_bytes()), opened.key.seal(text.as_bytes()))).collect();
            opened.store.commit(Commit { sealed, ..Commit::default() }).unwrap();
            let vaults = secrets::vaults(&site, &front, &opened.key).unwrap();
            for (vault, text) in [("a", "1"), ("b", "2")] {
                vaults.vault(vault).unwrap().set("k", &Secret::new(text, Origin::Computed)).await.unwrap();
            }
        }
    }

    /// Everything opens, and is what it was.
    async fn whole(&self) {
        for profile in [None, Some("near")] {
            let (site, front) = self.at(profile);
            let mut opened = world::open_or_create(&site, &front).unwrap();
            for text in SECRETS {
                let sealed = opened.store.sealed(&Digest::of(text.as_bytes())).unwrap().unwrap();
                assert_eq!(opened.key.open(&sealed).unwrap().as_slice(), text.as_bytes());
            }
            assert_eq!(opened.store.damaged_rows().unwrap(), []);
            let vaults = secrets::vaults(&site, &front, &opened.key).unwrap();
            assert_eq!(vaults.get("a", "k").await.unwrap().expose(), "1");
            assert_eq!(vaults.get("b", "k").await.unwrap().expose(), "2");
        }
    }

    fn key_file(&self) -> std::path::PathBuf {
        let entries = std::fs::read_dir(self.dir.path().join("config/pmx/keys")).unwrap();
        let files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), 1, "no other file is left: {files:?}");
        files[0].clone()
    }

    fn store_files(&self) -> Vec<u8> {
        ["index.db", "index.db-wal"]
            .iter()
            .flat_map(|name| std::fs::read(self.dir.path().join("store").join(name)).unwrap_or_default())
            .collect()
    }
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[tokio::test]
async fn wherever_a_rotation_dies_everything_opens_and_the_next_one_ends_it() {
    for died in 0..=STEPS.len() {
        let yard = Yard::new().await;
        let old = std::fs::read_to_string(yard.key_file()).unwrap();
        walk(&yard.front, &STEPS[..died]).await.unwrap();
        yard.whole().await;
        let done = rotate(&yard.front).await.unwrap();
        assert_eq!(done.resumed, (2..6).contains(&died), "after {died} steps");
        yard.whole().await;
        let new = std::fs::read_to_string(yard.key_file()).unwrap();
        assert!(new.len() == 65 && new != old, "one key, and another");
        let old = StoreKey::from_text("the test", &old).unwrap();
        let (site, _) = yard.at(None);
        let mut store = world::open(&site).unwrap().unwrap();
        let left = store.reseal(&mut |sealed| if old.refusal(sealed).is_none() { Err("the old key opens it".into()) } else { Ok(None) });
        assert_eq!(left.unwrap(), 0);
        for file in ["a.toml", "b.toml", "near/a.toml", "near/b.toml"] {
            assert!(FileVault::new("v", yard.dir.path().join(file), &old).stale().is_err(), "{file}");
        }
        assert!(!yard.dir.path().join("lab").exists(), "another store's files are not its business");
    }
}

#[tokio::test]
async fn what_the_old_key_sealed_is_not_left_in_the_files() {
    let yard = Yard::new().await;
    let (site, _) = yard.at(None);
    let mut store = world::open(&site).unwrap().unwrap();
    let before: Vec<Vec<u8>> = SECRETS.iter().map(|text| store.sealed(&Digest::of(text.as_bytes())).unwrap().unwrap()).collect();
    drop(store);
    assert!(before.iter().all(|sealed| holds(&yard.store_files(), &sealed[20..])));
    rotate(&yard.front).await.unwrap();
    assert!(!before.iter().any(|sealed| holds(&yard.store_files(), &sealed[20..])));
}

#[tokio::test]
async fn nothing_is_begun_that_could_not_end() {
    let yard = Yard::new().await;
    let key = std::fs::read(yard.key_file()).unwrap();
    let vault = yard.dir.path().join("b.toml");
    let text = std::fs::read_to_string(&vault).unwrap();
    std::fs::write(&vault, text.replace("pmx1:", "pmx1:AA")).unwrap();
    let error = rotate(&yard.front).await.unwrap_err();
    assert!(error[0].message.contains("key `k` of vault b cannot be read"), "{error:?}");
    assert_eq!(std::fs::read(yard.key_file()).unwrap(), key);
    std::fs::write(&vault, text).unwrap();
    yard.whole().await;
}

#[tokio::test]
async fn it_is_refused_while_somebody_uses_the_key() {
    let yard = Yard::new().await;
    let (site, front) = yard.at(None);
    let opened = world::open_or_create(&site, &front).unwrap();
    let error = rotate(&yard.front).await.unwrap_err();
    assert_eq!(error[0].fault, Fault::Refused);
    assert!(error[0].message.contains("is in use by another pmx"), "{error:?}");
    drop(opened);
    rotate(&yard.front).await.unwrap();
}

#[tokio::test]
async fn a_key_that_is_given_is_replaced_where_it_is_given() {
    let (old, new) = ("1".repeat(64), "2".repeat(64));
    let mut yard = Yard::bare("");
    let give = |yard: &mut Yard, text: &str| drop(yard.front.env.insert("PMX_STORE_KEY".to_owned(), text.to_owned()));
    give(&mut yard, &old);
    yard.fill().await;
    let error = rotate(&yard.front).await.unwrap_err();
    assert!(error[0].message.contains("comes from PMX_STORE_KEY"), "{error:?}");
    give(&mut yard, &format!("{new} {old}"));
    yard.whole().await;
    let done = rotate(&yard.front).await.unwrap();
    assert_eq!((done.store, done.vaults.len(), done.old_key_in.as_deref()), (3, 4, Some("PMX_STORE_KEY")));
    give(&mut yard, &new);
    yard.whole().await;
}

fn program(script: &Path) -> String {
    format!("key = [\"sh\", \"{}\", \"{{id}}\"]", script.display())
}

#[tokio::test]
async fn a_key_may_come_from_a_keyrings_program() {
    let dir = tempfile::tempdir().unwrap();
    let (script, kept) = (dir.path().join("keyring"), dir.path().join("kept"));
    std::fs::write(&script, format!("test -n \"$1\" && cat {}", kept.display())).unwrap();
    let yard = Yard::bare(&program(&script));
    let (site, front) = yard.at(None);
    let error = world::open_or_create(&site, &front).err().unwrap();
    assert!(error.message.contains("the store's key (sh) cannot be used: exit status: 1"), "{error:?}");
    let help = error.help.unwrap();
    assert!(help.contains("openssl rand -hex 32") && help.contains("take `key` out of [store]"), "{help}");
    std::fs::write(&kept, format!("{}\nmore\n", "a".repeat(64))).unwrap();
    yard.fill().await;
    yard.whole().await;
    assert!(!yard.dir.path().join("config").exists(), "no key file was made");
    let error = rotate(&yard.front).await.unwrap_err();
    assert!(error[0].message.contains("comes from `sh`"), "{error:?}");
    std::fs::write(&kept, format!("{} {}\n", "b".repeat(64), "a".repeat(64))).unwrap();
    assert_eq!(rotate(&yard.front).await.unwrap().store, 3);
    std::fs::write(&kept, "b".repeat(64)).unwrap();
    yard.whole().await;
    std::fs::write(&kept, "hunter2\n").unwrap();
    let error = world::open_or_create(&site, &front).err().unwrap();
    assert!(error.message.contains("64 hex digits") && !error.message.contains("hunter2"), "{error:?}");
}
