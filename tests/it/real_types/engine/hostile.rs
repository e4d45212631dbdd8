//! Texts that make trouble elsewhere: they arrive as they are, or are refused with the rule that they break before the host hears anything.

use super::super::super::real::sshd::Sshd;
use super::super::site::toml;
use super::{call, engine, waiting};

#[test]
fn values_arrive_byte_for_byte() {
    let Some((host, sandbox)) = engine() else { return };
    let values = [
        ("QUOTES", "it's \"two\" `words`"),
        ("SPACES", "  before and after\t "),
        ("SHELL", "$(id); rm -rf / & | > < * ? ~ ! ${HOME} \\n"),
        ("DASH", "--help"),
        ("HASH", "#no comment"),
        ("EQUALS", "a=b=c"),
        ("EMPTY", ""),
        ("UNICODE", "käse 🧀"),
        ("lower.case-name", "x"),
    ];
    let env: Vec<String> = values.iter().map(|(name, value)| format!("{} = {}", toml(name), toml(value))).collect();
    let words = ["sh", "-c", super::WAIT, "--", "-x", "it's", "a b", "$(id)", ";", "two\nlines", "", "%s\\n", "ü"];
    let command = words.iter().map(|word| toml(word)).collect::<Vec<_>>().join(", ");
    let folder = host.sshd.home().join("it's a $(folder);");
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    std::fs::write(folder.join("file"), "found\n").expect("a file can be written");
    let volume = toml(&format!("{}:/in side/it's:ro", folder.display()));
    let more = format!("env = {{ {} }}\ncommand = [{command}]\nvolumes = [{volume}]", env.join(", "));
    call(&sandbox, "run", &waiting("texts", &more)).exits(0).says("texts runs");
    let stored: Vec<String> = serde_json::from_str(&host.field("texts", "{{json .Config.Env}}")).expect("a list");
    for (name, value) in values {
        assert!(stored.contains(&format!("{name}={value}")), "{name}: {stored:?}");
    }
    let stored: Vec<String> = serde_json::from_str(&host.field("texts", "{{json .Config.Cmd}}")).expect("a list");
    assert_eq!(stored, words);
    assert_eq!(host.docker.run(&["exec", "texts", "cat", "/in side/it's/file"]), "found\n");
    let life = host.life("texts");
    call(&sandbox, "run", &waiting("texts", &more)).exits(0).says("1 unchanged");
    assert_eq!(host.life("texts"), life);
    // The longest value that is let through is one that docker reads.
    let longest = "x".repeat(65_535 - "LONG=".len());
    call(&sandbox, "run", &waiting("longest", &format!("env = {{ LONG = \"{longest}\" }}"))).exits(0);
    let stored = host.docker.run(&["inspect", "--format", "{{json .Config.Env}}", "longest"]);
    assert!(stored.contains(&format!("LONG={longest}")));
    call(&sandbox, "run", &waiting("longest", &format!("env = {{ LONG = \"{longest}x\" }}"))).exits(2).says("longer than 64 KiB");
}

#[test]
fn what_docker_could_not_take_is_refused_with_its_rule() {
    let Some(sshd) = Sshd::start() else { return };
    let sandbox = super::project(&sshd);
    let container = "a letter or digit first";
    for (method, arguments, rule) in [
        ("stop", "containerName = \"-rf\"", container),
        ("stop", "containerName = \"it's\"", container),
        ("inspect", "containerName = \"a;id\"", container),
        ("exec", "containerName = \"a\\nb\"\ncommand = \"id\"", container),
        ("run", "containerName = \"a b\"\nimageTag = \"x\"", container),
        ("run", "containerName = \"a.pmx-old\"\nimageTag = \"x\"", "marks a container that is being replaced"),
        ("run", "containerName = \"ok\"\nimageTag = \"--privileged\"", "is no image name"),
        ("run", "containerName = \"ok\"\nimageTag = \"x\"\nports = [\"80; id\"]", "is no published port"),
        ("run", "containerName = \"ok\"\nimageTag = \"x\"\nvolumes = [\"../up:/x\"]", "is no volume"),
        ("run", "containerName = \"ok\"\nimageTag = \"x\"\nenv = { A = \"two\\nlines\" }", "it holds a line break"),
        ("run", "containerName = \"ok\"\nimageTag = \"x\"\nenv = { \"A B\" = \"x\" }", "is no variable's name"),
        ("run", "containerName = \"ok\"\nimageTag = \"x\"\nenvFile = \"-x\"", "an absolute path"),
        ("run", "containerName = \"ok\"\nimageTag = \"x\"\nrestart = \"sometimes\"", "restart"),
        ("run", "containerName = \"ok\"\nimageTag = \"x\"\nimageId = \"x\"", "64 hex digits"),
        ("run", "containerName = \"ok\"\nimageTag = \"x\"\ncommand = []", "`command` is empty"),
        ("run", "containerName = \"ok\"\nimageTag = \"x\"\ncommand = { a = 1 }", "must be a list of words"),
        ("run", "containerName = \"ok\"\nimageTag = \"x\"\nports = \"8080:80\"", "ports"),
        ("run", "containerName = \"ok\"\nimageTag = \"x\"\nports = { a = 1 }", "ports"),
        ("run", "containerName = \"ok\"\nimageTag = \"x\"\nprivileged = true", "privileged"),
        ("run", "imageTag = \"x\"", "containerName"),
        ("run", "containerName = 7\nimageTag = \"x\"", "containerName"),
        ("build", "imageTag = \"x\"\ncontextPath = \"-\"", "is no directory to build from"),
        ("build", "imageTag = \"x\"\ncontextPath = \"/x\"\ndockerfilePath = \"a\\nb\"", "is no path of a Dockerfile"),
        ("build", "imageTag = \"x\"\ncontextPath = \"/x\"\ninputs = \"abc\"", "inputs"),
        ("exec", "containerName = \"ok\"\ncommand = [\"id\"]\nworkdir = \"-\"", "an absolute path"),
        ("install", "version = \"27\"", "version"),
    ] {
        call(&sandbox, method, arguments).exits(2).says(rule);
    }
    assert!(!sshd.log().contains("Accepted publickey"), "nobody was asked");
}
