//! Machines that boot from the network or from their disk (QEMU without acceleration), and the web root that they boot from: this machine's own kernel and
//! programs, with stand-ins for what only Alpine has.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::super::process::{Process, wait_until};
use super::{needs, present, run};

/// Emulated machines are slow, and slower beside other tests.
const BOOT_WITHIN: Duration = Duration::from_secs(400);
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Fills a web root with kernel, initramfs, base system and packages; `None` when the test is to be skipped. The kernel is an installed one, or one that is
/// unpacked where `PMX_GUEST_KERNEL` says.
#[track_caller]
pub fn mirror(root: &Path) -> Option<()> {
    let programs = ["busybox", "dash", "sshd", "ssh-keygen", "cpio", "modprobe", "mke2fs", "extlinux", "qemu-ga"];
    needs(programs)?;
    let there = |path: &str| Path::new(path).exists().then_some(());
    present("syslinux-common", there("/usr/lib/syslinux/mbr/mbr.bin"))?;
    let kernels = std::env::var("PMX_GUEST_KERNEL").unwrap_or_default();
    let boot = std::fs::read_dir(format!("{kernels}/boot")).into_iter().flatten().flatten();
    let kernel = boot.into_iter().any(|entry| entry.file_name().to_string_lossy().ends_with("-cloud-amd64"));
    present("linux-image-cloud-amd64", kernel.then_some(()))?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/real/alpine/build.sh");
    run(Command::new("sh").arg(script).arg(root).env("KERNEL", kernels).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"));
    Some(())
}

/// Which machine.
pub struct Wanted<'a> {
    /// Its SMBIOS uuid.
    pub uuid: &'a str,
    /// Where this machine's side of its SSH port is.
    pub ssh: &'a (String, u16),
    /// The web server, which the machine finds at 10.0.0.191.
    pub web: &'a str,
    /// The image of its disk.
    pub disk: &'a Path,
    /// Whether the disk is there from the beginning, and booted from; otherwise the machine boots from the network and has none until it is plugged in.
    pub from_disk: bool,
}

/// A running machine, at 10.0.0.200 in a network of its own.
pub struct Guest {
    dir: tempfile::TempDir,
    ssh: (String, u16),
    process: Process,
}

/// What iPXE gets over TFTP.
const SCRIPT: &str = "#!ipxe
kernel http://10.0.0.191/boot/vmlinuz-virt ip=dhcp alpine_repo=http://10.0.0.191/alpine/v3.22/main \
                      apkovl=http://10.0.0.191/alpine/alpine.apkovl.tar.gz console=ttyS0 quiet no_timer_check
initrd http://10.0.0.191/boot/initramfs-virt
boot
";

impl Guest {
    /// Starts it; `None` when the test is to be skipped.
    #[track_caller]
    pub fn start(wanted: &Wanted<'_>) -> Option<Self> {
        let [qemu, busybox] = needs(["qemu-system-x86_64", "busybox"])?;
        present("ipxe-qemu", Path::new("/usr/lib/ipxe/qemu/efi-virtio.rom").exists().then_some(()))?;
        let dir = tempfile::Builder::new().prefix("pmx-guest-").tempdir().expect("a temporary directory can be made");
        let at = |name: &str| dir.path().join(name).display().to_string();
        std::fs::create_dir(at("tftp")).expect("a folder can be made");
        std::fs::write(at("tftp/boot.ipxe"), SCRIPT).expect("a boot script can be written");
        let net = format!(
            "user,id=net0,net=10.0.0.0/24,host=10.0.0.2,dhcpstart=10.0.0.200,tftp={},bootfile=boot.ipxe,hostfwd=tcp:{}:{}-10.0.0.200:22,\
             guestfwd=tcp:10.0.0.191:80-cmd:{} nc {} 80",
            at("tftp"),
            wanted.ssh.0,
            wanted.ssh.1,
            busybox.display(),
            wanted.web
        );
        let drive = format!("if=none,id=disk0,format=raw,file={}", wanted.disk.display());
        let (monitor, agent) = (at("monitor"), at("agent"));
        let mut command = Command::new(qemu);
        command.args(["-accel", "tcg", "-m", "512", "-display", "none", "-nodefaults", "-uuid", wanted.uuid]);
        command.args(["-serial", &format!("file:{}", at("console")), "-qmp", &format!("unix:{monitor},server=on,wait=off")]);
        command.args(["-netdev", &net, "-device", "virtio-net-pci,netdev=net0,bootindex=2"]);
        command.args(["-device", "virtio-scsi-pci,id=scsi0", "-drive", &drive]);
        command.args(["-chardev", &format!("socket,id=agent,path={agent},server=on,wait=off"), "-device", "virtio-serial-pci"]);
        command.args(["-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"]);
        if wanted.from_disk {
            command.args(["-device", "scsi-hd,bus=scsi0.0,drive=disk0,bootindex=1"]);
        }
        let log = std::fs::File::create(at("log")).expect("a log can be written");
        command.stdout(Stdio::null()).stderr(log);
        let process = Process::start(&mut command, Duration::from_secs(2));
        Some(Self { dir, ssh: wanted.ssh.clone(), process })
    }

    fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.dir.path().join(name)).unwrap_or_default()).into_owned()
    }

    /// Waits until its console says `text`.
    ///
    /// # Panics
    /// When it does not, with what the console said instead.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) {
        let began = std::time::Instant::now();
        while !self.read("console").contains(text) {
            let said = self.read("console");
            let lost = said.contains("init:") || said.contains("Kernel panic") || began.elapsed() > BOOT_WITHIN;
            assert!(!lost && self.process.runs(), "the machine has not come to say `{text}`:\n{said}\n{}", self.read("log"));
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Plugs its disk in while it runs.
    #[track_caller]
    pub fn plug(&self) {
        let plug = json!({"execute": "device_add", "arguments": {"driver": "scsi-hd", "bus": "scsi0.0", "drive": "disk0", "id": "late"}});
        let answers = self.ask("monitor", &[json!({"execute": "qmp_capabilities"}), plug]);
        assert!(answers.iter().all(|answer| answer.get("error").is_none()), "{answers:?}");
    }

    /// Asks the guest agent inside it.
    #[track_caller]
    pub fn agent(&self, command: &str) -> Value {
        self.ask("agent", &[json!({"execute": command})]).pop().unwrap_or_default()["return"].clone()
    }

    /// Requests over one of QEMU's sockets, each with its answer; greetings and events are passed over.
    #[track_caller]
    fn ask(&self, socket: &str, requests: &[Value]) -> Vec<Value> {
        let mut stream = UnixStream::connect(self.dir.path().join(socket)).expect("QEMU listens");
        stream.set_read_timeout(Some(ANSWER_WITHIN)).expect("a socket takes a deadline");
        let lines = BufReader::new(stream.try_clone().expect("a socket can be shared"));
        let mut answers = lines.lines().map(|line| line.expect("QEMU answers")).filter_map(|line| {
            let value: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("`{line}` is not JSON: {error}"));
            (value.get("return").is_some() || value.get("error").is_some()).then_some(value)
        });
        requests
            .iter()
            .map(|request| {
                writeln!(stream, "{request}").expect("QEMU takes requests");
                answers.next().unwrap_or_else(|| panic!("no answer to {request}"))
            })
            .collect()
    }

    /// Runs a command in it through the ordinary client, with that key.
    ///
    /// # Panics
    /// When it fails; with all that was said.
    #[track_caller]
    pub fn run(&self, key: &Path, command: &str) -> String {
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-o", "BatchMode=yes", "-o", "ConnectTimeout=30", "-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR"]);
        ssh.args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-p", &self.ssh.1.to_string()]);
        run(ssh.arg("-i").arg(key).arg(format!("root@{}", self.ssh.0)).arg(command))
    }
}

/// An image that takes no room until it is written to.
pub fn empty_disk(path: PathBuf) -> PathBuf {
    let file = std::fs::File::create(&path).expect("an image can be made");
    file.set_len(256 << 20).expect("an image can be long");
    path
}

/// Waits until nobody listens at an address: a machine of an earlier boot holds it until it has ended.
#[track_caller]
pub fn wait_free(at: &(String, u16)) {
    let free = || std::net::TcpListener::bind((at.0.as_str(), at.1)).is_ok();
    wait_until(&format!("{}:{} is free", at.0, at.1), Duration::from_secs(20), free);
}
