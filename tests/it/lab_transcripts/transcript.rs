//! The recorded exchanges, read from their text.

/// A request as it was recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// The section it stands in, `AUTH`.
    pub section: String,
    /// The whole line after `### `.
    pub request: String,
    /// `HTTP/1.1 200 OK`, or only `200`.
    pub status_line: String,
    /// Headers that were kept.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
    /// The task's last status, when it was waited for.
    pub task: Option<String>,
    /// The task's log.
    pub log: Option<String>,
}

/// What a request line asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    pub method: String,
    /// The path with `/api2/json` (or whatever a curl line had).
    pub path: String,
    /// `-d`: sent as written.
    pub plain: Vec<String>,
    /// `--data-urlencode`: the value is encoded.
    pub encoded: Vec<(String, String)>,
    pub cookie: Option<String>,
    pub headers: Vec<(String, String)>,
}

const HOST: &str = "https://127.0.0.1:8006";

/// Reads the whole file. Exchanges whose request was not recorded (a raced start, the upload) come with an empty request.
pub fn parse(text: &str) -> Vec<Recorded> {
    let mut all: Vec<Recorded> = Vec::new();
    let mut section = String::new();
    let mut lines = text.lines().skip_while(|line| !line.starts_with("====")).peekable();
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix("===========") {
            section = name.trim().to_owned();
        } else if let Some(request) = line.strip_prefix("### ") {
            let mut request = request.to_owned();
            while lines.peek().is_some_and(|next| !next.starts_with("HTTP/1.1") && !next.starts_with("###") && next.parse::<u16>().is_err())
            {
                request.push('\n');
                request.push_str(lines.next().unwrap_or(""));
            }
            // A heading without an exchange, `### JSON body`.
            if lines.peek().is_some_and(|next| !next.starts_with("###")) {
                all.push(Recorded { section: section.clone(), request, ..Recorded::default() });
            }
        } else if line.starts_with("HTTP/1.1 ") || line.parse::<u16>().is_ok() {
            if all.last().is_none_or(|last| !last.status_line.is_empty()) {
                all.push(Recorded { section: section.clone(), ..Recorded::default() });
            }
            let last = all.last_mut().unwrap();
            last.status_line = line.to_owned();
            while let Some(header) = lines.next_if(|next| next.contains(": ") && !next.starts_with(['{', '#'])) {
                let (name, value) = header.split_once(": ").unwrap();
                last.headers.push((name.to_owned(), value.to_owned()));
            }
            lines.next_if(|next| next.is_empty());
            if !last.headers.is_empty() {
                last.body = lines.next().unwrap_or("").to_owned();
            }
        } else if let Some(task) = line.strip_prefix("-> task: ") {
            let last = all.last_mut().unwrap();
            last.task = Some(task.to_owned());
            last.log = lines.next().map(str::to_owned);
        } else if !line.is_empty() && !line.starts_with("--- ") {
            // A line that the recording shell printed by itself.
            all.push(Recorded { section: section.clone(), body: line.to_owned(), ..Recorded::default() });
        }
    }
    all
}

/// Cuts a request line into its options: each ends where the next begins.
fn pieces(text: &str) -> Vec<(String, String)> {
    const OPTIONS: [&str; 8] = ["-d", "--data-urlencode", "-b", "-H", "-X", "-I", "-o", "-w"];
    let mut list: Vec<(String, String)> = vec![(String::new(), String::new())];
    for word in text.split(' ') {
        if OPTIONS.contains(&word) {
            list.push((word.to_owned(), String::new()));
        } else if let Some((_, value)) = list.last_mut() {
            if !value.is_empty() {
                value.push(' ');
            }
            value.push_str(word);
        }
    }
    list
}

impl Recorded {
    /// What the request line asks for.
    pub fn asked(&self) -> Asked {
        let mut asked = Asked::default();
        let mut text = self.request.clone();
        let is_curl = text.starts_with("curl ");
        if is_curl {
            let at = text.rfind(HOST).expect("a curl line ends with its address");
            asked.path = text[at + HOST.len()..].to_owned();
            text.truncate(at);
            asked.method = "GET".into();
        }
        for (option, value) in pieces(text.trim_end()) {
            match option.as_str() {
                "" if !is_curl => {
                    let (method, path) = value.split_once(' ').unwrap();
                    asked.method = method.to_owned();
                    asked.path = format!("/api2/json{path}");
                }
                "-d" => asked.plain.push(value),
                "--data-urlencode" => {
                    let (name, value) = value.split_once('=').unwrap();
                    asked.encoded.push((name.to_owned(), value.to_owned()));
                }
                "-b" => asked.cookie = Some(value.trim_start_matches("PVEAuthCookie=").to_owned()),
                "-H" => {
                    let (name, value) = value.split_once(": ").unwrap();
                    asked.headers.push((name.to_owned(), value.to_owned()));
                }
                "-X" => asked.method = value,
                "-I" => asked.method = "HEAD".into(),
                _ => {}
            }
        }
        if is_curl && asked.method == "GET" && !asked.plain.is_empty() {
            asked.method = "POST".into();
        }
        asked
    }
}

#[test]
fn recorded_lines_are_taken_apart() {
    let text = "intro\n=========== A\n### POST /x -d a=1 --data-urlencode b=c d=e\nline2\nHTTP/1.1 200 OK\nContent-Length: 3\n\nabc\n-> task: {}\n{\"data\":[]}\n\n\n=========== B\nHTTP/1.1 401 No\n\n";
    let all = parse(text);
    assert_eq!(all.len(), 2);
    assert_eq!((all[0].body.as_str(), all[0].task.as_deref(), all[0].section.as_str()), ("abc", Some("{}"), "A"));
    let asked = all[0].asked();
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/api2/json/x"));
    assert_eq!(asked.plain, ["a=1"]);
    assert_eq!(asked.encoded, [("b".to_owned(), "c d=e\nline2".to_owned())]);
    assert_eq!((all[1].status_line.as_str(), all[1].request.as_str()), ("HTTP/1.1 401 No", ""));
}
