//! The insides of the practice VMs: the ten of the fleet, the proxy host, and a netbooted Alpine for whatever else is made.

use super::console::{Minecraft, Program, Terraria};
use super::docker::{Image, Starts};
use super::files::Files;
use super::state::{Boot, Disk, Distro, Root, Service};
use super::tmux::Session;
use super::{HostState, time};

/// What calamity's project is made of.
const CALAMITY_COMPOSE: &str = "services:
  tmodloader:
    image: jacobsmile/tmodloader1.4:latest
    container_name: tmodloader
    restart: unless-stopped
    stop_grace_period: 60s
    ports:
      - \"7777:7777\"
    volumes:
      - ./data:/data
    environment:
      TMOD_WORLDNAME: calamity
      TMOD_AUTOSAVE_INTERVAL: 10
";

const PROXY_COMPOSE: &str = "services:
  stream:
    image: nginx:1.27
    container_name: stream
    restart: unless-stopped
    ports:
      - \"7777:7777\"
    volumes:
      - ./nginx.conf:/etc/nginx/nginx.conf:ro
      - ./conf.d:/etc/nginx/stream.d:ro
";

const PROXY_CONF: &str = "events {}\nstream {\n  include /etc/nginx/stream.d/*.conf;\n}\n";

impl HostState {
    /// The inside of the VM `name`; a name that the fleet does not have gets a netbooted Alpine with one empty disk. `uuid` is its smbios uuid.
    #[must_use]
    pub fn for_vm(name: &str, uuid: &str) -> Self {
        let mut host = match name {
            "slate" | "atm10" | "VM 102" | "satisfactory" | "meatballcraft" | "factorio" | "gold-image" | "tftp-server" | "calamity"
            | "allthemons" => Self::installed(name, uuid),
            "treehouse" => Self::proxy(uuid),
            _ => {
                let disk = Disk { name: "sda".to_owned(), bytes: 32 << 30, system: None };
                return Self { disks: vec![disk], ..Self::netbooted(uuid) };
            }
        };
        match name {
            "calamity" => host.make_calamity(),
            "allthemons" => host.make_allthemons(),
            "slate" => host.make_slate(),
            "tftp-server" => host.make_tftp(),
            _ => {}
        }
        host
    }

    /// An Alpine in memory, as the network boots it, without disks.
    #[must_use]
    pub fn netbooted(uuid: &str) -> Self {
        let mut host = Self::alpine("localhost", uuid);
        host.boot.root = Root::Memory;
        // A plain netboot lets root in without a password at the console.
        host.put("/etc/shadow", "root::20000:0:::::\n");
        host.packages.extend(["alpine-base".to_owned(), "openssh".to_owned()]);
        // As `ssh_key=` on the kernel's command line, or an overlay, brings it.
        host.put(
            "/root/.ssh/authorized_keys",
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ practice\n",
        );
        host
    }

    /// An Alpine installed on a disk of 32 GiB.
    fn installed(name: &str, uuid: &str) -> Self {
        let hostname = name.to_lowercase().replace(' ', "-");
        let mut host = Self::alpine(&hostname, uuid);
        host.packages.extend(["alpine-base", "openssh", "linux-virt", "qemu-guest-agent", "chrony"].map(str::to_owned));
        host.serve("qemu-guest-agent");
        host.serve("chronyd");
        host.disks.push(Disk { name: "sda".to_owned(), bytes: 32 << 30, system: None });
        host
    }

    /// An Alpine with what every Alpine has.
    pub(super) fn alpine(hostname: &str, uuid: &str) -> Self {
        let boot = Boot {
            id: uuid::Uuid::new_v4().to_string(),
            at: time::now() - 3600,
            root: Root::Disk,
            distro: Distro::Alpine,
            ..Boot::default()
        };
        let mut host = Self { hostname: hostname.to_owned(), uuid: uuid.to_lowercase(), boot, ..Self::default() };
        host.put("/etc/os-release", "NAME=\"Alpine Linux\"\nID=alpine\nVERSION_ID=3.22.1\nPRETTY_NAME=\"Alpine Linux v3.22\"\n");
        host.put("/etc/alpine-release", "3.22.1\n");
        host.put("/etc/apk/world", "alpine-base\nopenssh\n");
        host.put(
            "/etc/apk/repositories",
            "http://dl-cdn.alpinelinux.org/alpine/v3.22/main\nhttp://dl-cdn.alpinelinux.org/alpine/v3.22/community\n",
        );
        host.lay_out(hostname);
        host
    }

    /// The directories and files that every Linux has.
    fn lay_out(&mut self, hostname: &str) {
        for dir in [
            "/bin",
            "/dev",
            "/etc/init.d",
            "/home",
            "/mnt",
            "/opt",
            "/proc",
            "/run",
            "/sbin",
            "/srv",
            "/sys",
            "/usr/bin",
            "/usr/local/bin",
            "/var/lib",
            "/var/log",
        ] {
            self.dir(dir, 0o755);
        }
        self.dir("/tmp", 0o1777);
        self.dir("/root", 0o700);
        self.dir("/root/.ssh", 0o700);
        self.put("/etc/shadow", "root:*:20000:0:::::\nkeeb:!:20000:0:99999:7:::\n");
        self.files.change("/etc/shadow", true, |n| n.mode = 0o640).ok();
        self.put("/etc/hostname", &format!("{hostname}\n"));
        self.put("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nkeeb:x:1000:1000::/home/keeb:/bin/sh\n");
        self.put("/etc/resolv.conf", "nameserver 10.0.0.162\nnameserver 10.0.0.137\nnameserver 10.0.0.1\n");
        self.serve("sshd");
    }

    fn dir(&mut self, path: &str, mode: u32) {
        // Nothing here can fail: the file system is empty and these are directories.
        self.files.mkdir_all(path, 0o755).ok();
        self.files.change(path, true, |n| n.mode = mode).ok();
    }

    pub(super) fn put(&mut self, path: &str, text: &str) {
        self.files.mkdir_all(super::files::split(path).0, 0o755).ok();
        self.files.write(path, text.as_bytes().to_vec(), 0o644).ok();
    }

    pub(super) fn serve(&mut self, name: &str) {
        self.services.insert(name.to_owned(), Service { running: true, runlevels: ["default".to_owned()].into() });
    }

    fn add_docker(&mut self) {
        let names: &[&str] = if self.is_debian() { &["docker.io", "docker-compose-plugin"] } else { &["docker", "docker-cli-compose"] };
        self.packages.extend(names.iter().map(|&n| n.to_owned()));
        self.serve("docker");
    }

    fn make_calamity(&mut self) {
        self.add_docker();
        self.dir("/root/game/data", 0o755);
        self.put("/root/game/docker-compose.yml", CALAMITY_COMPOSE);
        let now = time::now();
        let image = "jacobsmile/tmodloader1.4:latest";
        let id = format!("sha256:{}", blake3::hash(image.as_bytes()).to_hex());
        self.docker.images.insert(
            image.to_owned(),
            Image { id: id.clone(), created: now - 900_000, size: 1 << 30, starts: Starts::Terraria, ..Image::default() },
        );
        // The same that `docker compose up -d` would make of the file, so that a later one finds nothing to do.
        if let Ok(project) = super::compose::Project::read(&self.files, "/root/game", None, None) {
            project.up(self, &[], now - 3600).ok();
        }
        if let Some(container) = self.docker.containers.get_mut("tmodloader")
            && let Some(Session { program: Program::Terraria(game), .. }) = container.tmux.sessions.get_mut("0")
        {
            let players = vec![("Keeb".to_owned(), "10.0.0.20:51234".to_owned()), ("Sable".to_owned(), "10.0.0.21:50417".to_owned())];
            *game = Terraria { players, save_seconds: 4, ..Terraria::default() };
        }
    }

    fn make_allthemons(&mut self) {
        self.packages.extend(["tmux", "openjdk21-jre-headless"].map(str::to_owned));
        self.dir("/root/mons/world", 0o755);
        self.put(
            "/root/mons/server.properties",
            "server-port=25565\nmax-players=20\nmotd=All the Mons\nenable-rcon=false\nenable-status=true\n",
        );
        self.put("/root/mons/eula.txt", "eula=true\n");
        self.put("/root/mons/startserver.sh", "#!/bin/sh\ncd \"${0%/*}\"\nexec java -Xmx8G -jar neoforge.jar nogui\n");
        self.files.change("/root/mons/startserver.sh", true, |n| n.mode = 0o755).ok();
        let game = Minecraft {
            players: vec!["Keeb".to_owned(), "Sable".to_owned()],
            max: 20,
            ops: vec!["Keeb".to_owned()],
            save_seconds: 2,
            dir: "/root/mons".to_owned(),
            ..Minecraft::default()
        };
        let now = time::now();
        let mut session = Session {
            created: now - 3600,
            program: Program::Minecraft(game),
            pid: 900,
            cwd: "/root/mons".to_owned(),
            ..Session::default()
        };
        let line = "[12:00:31] [Server thread/INFO] [minecraft/DedicatedServer]: Done (31.402s)! For help, type \"help\"";
        session.print([line.to_owned()]);
        self.put("/root/mons/logs/latest.log", &format!("{line}\n"));
        self.tmux.sessions.insert("mons".to_owned(), session);
    }

    fn make_slate(&mut self) {
        self.add_docker();
        self.dir("/opt/proxmox-manager", 0o755);
    }

    fn make_tftp(&mut self) {
        self.packages.insert("lighttpd".to_owned());
        self.serve("lighttpd");
        self.serve("in.tftpd");
        self.put("/tftp/vmlinuz-virt", "practice kernel\n");
        self.put("/tftp/initramfs-virt", "practice initramfs\n");
        self.put("/srv/http/alpine/modloop-virt", "practice modloop\n");
        self.put("/etc/lighttpd/lighttpd.conf", "server.document-root = \"/srv/http\"\nserver.port = 80\n");
    }

    fn proxy(uuid: &str) -> Self {
        let boot = Boot {
            id: uuid::Uuid::new_v4().to_string(),
            at: time::now() - 86_400,
            root: Root::Disk,
            distro: Distro::Debian,
            ..Boot::default()
        };
        let mut host =
            Self { hostname: "treehouse".to_owned(), uuid: uuid.to_lowercase(), boot, files: Files::default(), ..Self::default() };
        host.put(
            "/etc/os-release",
            "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nID=debian\n",
        );
        host.put("/etc/debian_version", "12.7\n");
        host.lay_out("treehouse");
        host.dir("/home/keeb/.ssh", 0o700);
        host.dir("/home/keeb/stream/conf.d", 0o755);
        host.put("/home/keeb/stream/docker-compose.yml", PROXY_COMPOSE);
        host.put("/home/keeb/stream/nginx.conf", PROXY_CONF);
        host.add_docker();
        host.docker.pull("nginx:1.27", time::now()).ok();
        if let Ok(project) = super::compose::Project::read(&host.files, "/home/keeb/stream", None, None) {
            project.up(&mut host, &[], time::now() - 3600).ok();
        }
        host
    }
}
