//! nginx in a practice container: the configuration that is mounted there, what it listens on, and what the kernel shows of that.

use std::collections::BTreeSet;

use super::HostState;

/// Where the image expects its configuration.
const MAIN: &str = "/etc/nginx/nginx.conf";
/// What it read last, in the container's own files.
const READ: &str = "/run/nginx.read";

/// A port and whether it is of UDP.
type Listens = BTreeSet<(u16, bool)>;

impl HostState {
    /// The whole configuration as `nginx -T` prints it.
    ///
    /// # Errors
    /// nginx's own words.
    pub fn nginx_config(&self, container: &str) -> Result<String, String> {
        let emerg = |why: String| format!("nginx: [emerg] {why}\nnginx: configuration file {MAIN} test failed");
        let main =
            self.mounted(container, MAIN).ok_or_else(|| emerg(format!("open() \"{MAIN}\" failed (2: No such file or directory)")))?;
        let mut all = format!("# configuration file {MAIN}:\n{main}\n");
        let mut seen = Listens::new();
        for pattern in
            words(&main).filter(|words| words.first().is_some_and(|word| word == "include")).filter_map(|words| words.get(1).cloned())
        {
            for (path, text) in self.matching(container, &pattern) {
                for (port, udp) in listens(&text) {
                    if !seen.insert((port, udp)) {
                        return Err(emerg(format!("duplicate \"0.0.0.0:{port}\" address and port pair in {path}:3")));
                    }
                }
                if let Some(bad) = words(&text).find(|words| words.first().is_some_and(|word| !KNOWN.contains(&word.as_str()))) {
                    return Err(emerg(format!("unknown directive \"{}\" in {path}:1", bad.first().map_or("", String::as_str))));
                }
                all.push_str(&format!("# configuration file {path}:\n{text}\n"));
            }
        }
        Ok(all)
    }

    /// Notes that nginx has read its configuration.
    pub fn nginx_read(&mut self, container: &str, config: &str) {
        if let Some(container) = self.docker.containers.get_mut(container) {
            container.files.mkdir_all("/run", 0o755).ok();
            container.files.write(READ, config.as_bytes().to_vec(), 0o644).ok();
        }
    }

    /// `/proc/net/tcp` and `/proc/net/udp` inside the container; none for another path, or where no nginx runs.
    pub fn nginx_sockets(&mut self, container: &str, path: &str) -> Option<String> {
        let udp = match path {
            "/proc/net/tcp" => false,
            "/proc/net/udp" => true,
            _ => return None,
        };
        let inside = self.docker.containers.get(container).filter(|c| c.running() && is_nginx(&c.image))?;
        let read = inside.files.read(READ).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        // A container that was just made has read what is there.
        let config = match read {
            Ok(config) => config,
            Err(_) => {
                let config = self.nginx_config(container).unwrap_or_default();
                self.nginx_read(container, &config);
                config
            }
        };
        let state = if udp { "07" } else { "0A" };
        let row = |(at, (port, _)): (usize, (u16, bool))| {
            format!(
                "{at:4}: 00000000:{port:04X} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000     0        0 {} 1 0\n",
                500 + at
            )
        };
        let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n".to_owned();
        Some(listens(&config).into_iter().filter(|(_, of_udp)| *of_udp == udp).enumerate().map(row).fold(head, |text, row| text + &row))
    }

    /// A file as the container sees it.
    fn mounted(&self, container: &str, path: &str) -> Option<String> {
        let inside = self.docker.containers.get(container)?;
        let from = inside.config.volumes.iter().find_map(|volume| {
            let (source, rest) = volume.split_once(':')?;
            let below = path.strip_prefix(rest.split(':').next()?)?;
            (below.is_empty() || below.starts_with('/')).then(|| format!("{source}{below}"))
        });
        let bytes = match from {
            Some(path) => self.files.read(&path),
            None => inside.files.read(path),
        };
        bytes.ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The files that an `include` of the form `/dir/*.conf` means, by name.
    fn matching(&self, container: &str, pattern: &str) -> Vec<(String, String)> {
        let Some((dir, end)) = pattern.split_once("/*") else {
            return self.mounted(container, pattern).map(|text| (pattern.to_owned(), text)).into_iter().collect();
        };
        let source = self.docker.containers.get(container).and_then(|inside| {
            inside.config.volumes.iter().find_map(|volume| {
                let (source, rest) = volume.split_once(':')?;
                (rest.split(':').next() == Some(dir)).then(|| source.to_owned())
            })
        });
        let Some(source) = source else { return Vec::new() };
        let prefix = format!("{source}/");
        let names = self
            .files
            .iter()
            .filter_map(|(path, _)| path.strip_prefix(&prefix))
            .filter(|name| !name.contains('/') && name.ends_with(end) && !name.starts_with('.'));
        names.filter_map(|name| self.mounted(container, &format!("{dir}/{name}")).map(|text| (format!("{dir}/{name}"), text))).collect()
    }
}

/// Whether an image's name is nginx's.
#[must_use]
pub fn is_nginx(image: &str) -> bool {
    image.rsplit('/').next().is_some_and(|name| name == "nginx" || name.starts_with("nginx:"))
}

/// The directives that a proxy is made of.
const KNOWN: [&str; 6] = ["server", "listen", "proxy_pass", "proxy_timeout", "proxy_connect_timeout", "proxy_responses"];

/// The words of each directive.
fn words(text: &str) -> impl Iterator<Item = Vec<String>> {
    let bare: String = text.lines().map(|line| line.split('#').next().unwrap_or_default().to_owned() + "\n").collect();
    let all: Vec<Vec<String>> = bare.split([';', '{', '}']).map(|part| part.split_whitespace().map(str::to_owned).collect()).collect();
    all.into_iter().filter(|words: &Vec<String>| !words.is_empty())
}

fn listens(text: &str) -> Vec<(u16, bool)> {
    let one = |words: Vec<String>| {
        let port = words.get(1).filter(|_| words[0] == "listen")?.rsplit(':').next()?.parse().ok()?;
        Some((port, words.iter().any(|word| word == "udp")))
    };
    words(text).filter_map(one).collect()
}
