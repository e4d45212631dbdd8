//! The shell held to the truth: each script runs here and in the real `/bin/sh`, and both must print the same and end the same.
#![expect(
    clippy::disallowed_methods,
    reason = "the real shell is the reference; the scripts are harmless and run in a directory of their own"
)]

use std::io::Write;
use std::process::{Command, Stdio};

use crate::lab::rig::{Ran, Rig};

fn real(script: &str, stdin: &str) -> Ran {
    let dir = tempfile::tempdir().expect("a directory");
    let mut child = Command::new("sh")
        .args(["-c", script])
        .current_dir(dir.path())
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", "/root")
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a shell");
    // A script that reads nothing has closed the pipe by now, which is no failure.
    let _ = child.stdin.take().expect("a pipe").write_all(stdin.as_bytes());
    let done = child.wait_with_output().expect("its end");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ran { out: text(done.stdout), err: text(done.stderr), status: done.status.code().expect("no signal") }
}

fn real_shell_is_dash() -> bool {
    let found = std::fs::canonicalize("/bin/sh").is_ok_and(|path| path.ends_with("dash"));
    if !found {
        assert_ne!(std::env::var("PMX_REAL").as_deref(), Ok("1"), "PMX_REAL wants dash as /bin/sh");
        // Past the capture of the test runner: a skipped test must not look like one that passed.
        let _ = writeln!(std::io::stderr(), "skipped: needs dash as /bin/sh");
    }
    found
}

/// Output and status are compared.
const SCRIPTS: &[&str] = &[
    "",
    "# only a comment",
    "echo hello world",
    "echo 'single $HOME \\n' \"double $((1+2)) \\$ \\\"q\\\"\"",
    "echo a\\ b c\\\nd",
    "echo 'it'\\''s'",
    "echo -n x; echo y",
    "echo 'a\\tb\\nc'",
    "printf '%s-%d|' a 1 b 2; printf '%05d %-4s| %x %%\\n' 42 ab 255",
    "printf '%b' 'x\\ty\\n'; printf '%s\\n' \"a b\" c",
    "printf 'no newline'",
    "printf '%s'; printf '\\141\\n'",
    "true && echo yes || echo no",
    "false && echo yes || echo no",
    "false || true && echo both",
    "! true; echo $?; ! false; echo $?",
    "false; echo $?",
    "exit 7",
    "(exit 3); echo $?",
    "{ echo a; echo b; } | wc -l | tr -d ' '",
    "echo a | tr a b | tr b c",
    "X=1; (X=2; echo $X); echo $X",
    "X=1; { X=2; }; echo $X",
    "X=5 sh -c 'echo $X'; echo \"[$X]\"",
    "X=1; export X; sh -c 'echo $X'; unset X; sh -c 'echo \"[$X]\"'",
    "X='a  b   c'; echo $X; echo \"$X\"",
    "for i in 1 2 3; do echo $i; done",
    "for i in a b c; do [ $i = b ] && continue; echo $i; done",
    "for i in a b c; do [ $i = b ] && break; echo $i; done; echo $i",
    "for i in 1 2; do for j in x y; do [ $j = y ] && continue 2; echo $i$j; done; done",
    "set -- a 'b c' d; echo $#; for x in \"$@\"; do echo \"<$x>\"; done; shift; echo $1; echo \"$*\"",
    "set --; echo $# \"[$*]\"; for x in \"$@\"; do echo never; done",
    "i=0; while [ $i -lt 3 ]; do i=$((i+1)); echo $i; done",
    "i=0; until [ $i -ge 2 ]; do i=$((i+1)); done; echo $i",
    "while read -r a b; do echo \"$b-$a\"; done <<E\n1 2 3\nx y\nE",
    "if false; then echo a; elif true; then echo b; else echo c; fi",
    "if false; then echo a; fi; echo $?",
    "if [ -z \"\" ] && [ -n x ]; then echo ok; fi",
    "case abc in a*) echo starts;; *) echo other;; esac",
    "case x in a|x|y) echo alt;; esac; case q in z) echo z;; esac; echo $?",
    "case 'a*' in 'a*') echo literal;; esac; case abc in 'a*') echo wild;; *) echo no;; esac",
    "f() { echo \"f:$1:$#\"; return 4; }; f x y; echo $?",
    "f() { X=in; }; X=out; f; echo $X",
    "echo $(echo a; echo b); echo \"$(echo a; echo b)\"",
    "echo `echo back`; echo $(echo \"$(echo deep)\")",
    "X=$(false); echo $?; X=$(exit 9); echo $?",
    "echo $((1 + 2 * 3)) $(( (1+2)*3 )) $((7/2)) $((7%3)) $((1<2)) $((3==3 && 0))",
    "X=5; echo $((X * 2)) $(($X - 1)) $((-X))",
    "echo ${X:-default} ${X-unset}; X=; echo \"[${X:-empty}][${X-set}]\"; echo ${Y:=made} $Y",
    "X=abc; echo ${X:+alt} ${#X}; echo \"[${Z:+alt}]\"",
    "P=/a/b/c.tar.gz; echo ${P##*/} ${P#*/} ${P%/*} ${P%%.*} ${P%.gz}",
    "X='a b'; echo \"${Y:-$X}\"; echo ${Y:-$X}; echo ${Y:-'q  q'}",
    "echo hi > f; cat f; echo more >> f; cat < f; wc -l < f | tr -d ' '",
    "echo out; echo err >&2",
    "{ echo out; echo err >&2; } 2>/dev/null",
    "{ echo out; echo err >&2; } 2>&1 | sort",
    "echo x >/dev/null; echo done",
    "ls nope 2>/dev/null; [ $? -ne 0 ] && echo failed",
    "cat <<E\nx $((1+1)) $HOME \\$HOME\nE",
    "cat <<'E'\nx $HOME `echo no`\nE",
    "cat <<-E\n\ttabbed\n\tE\necho after",
    "cat <<A; cat <<B\na\nA\nb\nB\necho end",
    "set -e; false; echo never",
    "set -e; false || true; if false; then :; fi; ! true; echo reached",
    "set -e; (false); echo never",
    "set -e; f() { false; echo in; }; f || echo caught",
    "set -e; X=$(false); echo never",
    "set -e; false && true; echo reached",
    "set -e; true | false; echo never",
    "mkdir -p a/b && cd a/b && basename $PWD; cd ..; ls",
    "cd nope 2>/dev/null || echo $?",
    "cd / && pwd && cd - >/dev/null && test -d .",
    "touch a.txt b.txt c.md; echo *.txt; echo *.zip; echo [ac].*; echo '*.txt' \\*",
    "mkdir d; touch d/x d/y .hidden; echo *; echo d/*; echo */x",
    "echo a; exec echo b; echo never",
    "eval 'X=1; echo $X'; eval echo \\$X",
    "test 1 -eq 1 -a 2 -gt 1; echo $?; test ! -e nope; echo $?; [ a = b -o c = c ]; echo $?",
    "[ \"a\" != \"b\" ]; echo $?; [ '' ]; echo $?; [ -n ]; echo $?; test; echo $?",
    "touch f; [ -f f ] && [ ! -d f ] && [ -e f ] && [ ! -s f ] && echo ok",
    "[ ! '(' = x ]; echo $?; [ '!' ]; echo $?; [ '(' a = a ')' ]; echo $?",
    "command -v echo; command -v nope_x; echo $?",
    "umask 027; umask; touch f; stat -c %a f; mkdir d; stat -c %a d",
    "trap 'echo bye' EXIT; echo hi; exit 3",
    "trap '' TERM; echo fine",
    "echo a;echo b\n\necho c",
    "echo \"a\nb\"",
    "true &&\necho joined",
    "echo one |\ncat",
    "( echo sub; exit 2 ) && echo no || echo $?",
    "echo ~ ~/x '~' a~",
    "echo $0 $1; sh -c 'echo $0 $1 $#' name arg",
    "IFS=:; X=a:b:c; for p in $X; do echo $p; done",
    "IFS=:; set -- x::y; echo $#; X='x::y'; set -- $X; echo $#",
    "read a b <<E\none two three\nE\necho \"$b|$a\"",
    "echo 'x y' | while read a b; do echo $b; done",
    "printf 'a\\nb\\n' | while read -r l; do echo \"<$l>\"; done; echo $?",
    "printf 'no newline' | { read x; echo $? $x; }",
    "X=1 Y=2; echo $X$Y",
    "A=a; A=${A}b; echo $A",
    "echo \"$(printf 'x\\n\\n')\"y",
    "echo a > 'sp ace'; cat 'sp ace'; rm 'sp ace'; ls",
    "echo x | tee f g; cat f g",
    "mkdir -p a; mv a b; ls; rmdir b; ls | wc -l | tr -d ' '",
    "echo 1 > f; cp f g; echo 2 > f; cat f g; mv -f f g; cat g; ls",
    "ln -s target l; readlink l; [ -L l ]; echo $?; [ -e l ]; echo $?",
    "printf '1\\n2\\n3\\n4\\n' > f; head -n 2 f; tail -n 1 f; tail -n +3 f; sed -n 2,3p f; sed -n '$p' f",
    "printf 'b\\na\\nb\\n' | sort -u; printf '10\\n9\\n' | sort -n | head -n1",
    "printf 'foo\\nbar\\nfoobar\\n' | grep foo; printf 'a.c\\nabc\\n' | grep -F a.c; echo x | grep -q x; echo $?; echo x | grep -q y; echo $?",
    "printf 'foo\\nbar\\n' | grep -c o; printf 'ab\\nad\\n' | grep -E '^a(b|c)$'; printf 'a1\\nb\\n' | grep '[0-9]'; printf 'x\\n' | grep -v x; echo $?",
    "printf 'aaa\\n' | sed 's/a/b/'; printf 'a/b\\n' | sed 's|/|-|g'; printf '1\\n2\\n' | sed 1d",
    "printf 'a:b:c\\n' | cut -d: -f2; printf 'HeLLo' | tr A-Z a-z; printf 'a-b' | tr -d -; echo",
    "printf abc | sha256sum; printf abc | base64; printf YWJj | base64 -d; echo; printf 'ab c\\n' | wc -c | tr -d ' '",
    "printf 'a b\\nc\\n' | xargs echo x; basename /a/b.c .c; dirname /a/b; dirname x",
    "env A=1 sh -c 'echo $A'; A=2 env | grep '^A='",
    "chmod 600 /dev/null 2>/dev/null; echo x > f; chmod 640 f; stat -c %a f; chmod u+x,o=r f; stat -c %a f; stat -c %s f",
    "echo x > f; [ -O f ] && echo mine; [ -O g ] || echo none; m() { d=$1; shift; for f do shift; set -- \"$@\" \"<$f>\"; done; echo $# \"$@\"; }; m a b 'c d'",
    "find . -name 'x*' | sort; mkdir d; touch d/x1 x2; find . -type f | sort; find . -maxdepth 1 -type f",
    "sleep 0.01 && echo slept; timeout 5 echo in; timeout 0.1 sleep 5; echo $?",
    "cat; echo got",
    "read x; cat; echo $x",
    "echo $UNSET_THING\"end\"",
    "X=$(cat <<E\nhere in sub\nE\n); echo $X",
    "echo ${#} $#; echo \"$#\"",
    "if ! grep -q x /dev/null; then echo absent; fi",
    "for x; do echo $x; done; echo end",
    "f() { for a; do echo \"[$a]\"; done; }; f 1 '2 3'",
    "while :; do break; done; echo out",
    ": > f; [ -s f ] || echo empty; : ${V:=1}; echo $V",
    "mkdir 'a b'; cd 'a b' && echo ok > x && cat ./x; cd ..; cat a\\ b/x",
    "echo a && { echo b; false; } || echo c",
    "sh -e -c 'false; echo no'; echo $?; echo 'echo piped' | sh; echo 'echo $1' | sh -s arg",
    "cat > s.sh <<'E'\n#!/bin/sh\necho script $1\nexit 5\nE\nchmod +x s.sh; ./s.sh a; echo $?; sh s.sh b; . ./s.sh",
];

/// Messages of the shell itself: standard error is compared too.
const MESSAGES: &[&str] = &[
    "echo above\necho x )\necho below",
    "eval 'echo a; fi'; echo never",
    "nope_cmd",
    "nope_cmd arg; echo $?",
    "\n\nnope_cmd",
    "echo hi > no/such/file; echo $?",
    "cat < nofile; echo $?",
    "cd /no/such",
    "./nope; echo $?",
    "if",
    "if true",
    "if true; then",
    "while",
    "for x",
    "case",
    "case x in",
    "case x in a)",
    "{ echo a",
    "(",
    "f() {",
    "echo a &&",
    "echo $(",
    "echo ${X",
    "echo \"x",
    "echo `x",
    "echo a |",
    "for x in a; do echo; ",
    "echo $((1+))",
    "echo $((a b))",
    "if x; then :; else",
    "echo $((",
    "echo a\nif\n",
    "a b )",
    "echo 'unterminated",
    "echo )",
    "for",
    "fi",
    "echo a; ; echo b",
    "(echo a",
    "X=1; nope_y $X 2>/dev/null; echo $?",
    "nope_z 2>&1",
    "set -u; echo $NOT_SET; echo never",
    "echo ${NOT_SET:?gone}; echo never",
    "[ a -eq 1 ]; echo $?",
    "[ 1 -eq 1; echo $?",
    "shift 3; echo never",
    "echo $((1/0)); echo never",
    "set -o pipefail; echo never",
    "printf '%d\\n' x; echo $?",
    "exit abc",
];

#[test]
fn scripts_end_and_print_as_in_the_real_shell() {
    if !real_shell_is_dash() {
        return;
    }
    let mut wrong = Vec::new();
    for script in SCRIPTS {
        let (wanted, got) = (real(script, "in1\nin2\n"), here(script));
        if (&wanted.out, wanted.status) != (&got.out, got.status) {
            wrong.push(format!("{script}\n  real: {wanted:?}\n  here: {got:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), SCRIPTS.len(), wrong.join("\n"));
}

#[test]
fn messages_are_those_of_the_real_shell() {
    if !real_shell_is_dash() {
        return;
    }
    let mut wrong = Vec::new();
    for script in MESSAGES {
        let (wanted, got) = (real(script, ""), here(script));
        if wanted != got {
            wrong.push(format!("{script}\n  real: {wanted:?}\n  here: {got:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), MESSAGES.len(), wrong.join("\n"));
}

/// In an empty directory, as the real one.
fn here(script: &str) -> Ran {
    let rig = Rig::new("slate");
    rig.look(|host| host.files.mkdir_all("/work", 0o755)).expect("a directory");
    let (mut shell, out, err) = rig.shell("in1\nin2\n");
    "/work".clone_into(&mut shell.cwd);
    let script = script.to_owned();
    let thread = std::thread::Builder::new().stack_size(super::STACK).spawn(move || shell.script(&script)).expect("a thread");
    let status = thread.join().expect("the shell does not panic");
    let text = |bytes: &std::sync::Mutex<Vec<u8>>| String::from_utf8_lossy(&super::io::take(bytes)).into_owned();
    Ran { out: text(&out), err: text(&err), status }
}

#[test]
fn hostile_scripts_end() {
    let rig = Rig::new("slate");
    let deep = format!("{}echo x{}", "(".repeat(5000), ")".repeat(5000));
    assert_eq!(rig.run(&deep).status, 2);
    let words = format!("echo {}", "$(".repeat(3000));
    assert_eq!(rig.run(&words).status, 2);
    assert_eq!(rig.run("while true; do :; done").status, 137);
    assert_ne!(rig.run("f() { f; }; f").status, 0);
    assert_ne!(rig.run("f() { (f); }; f").status, 0);
    assert!(rig.run("f() { echo $(f); }; f").err.contains("recursion depth"));
    let arith = format!("echo $(({}1{}))", "(".repeat(4000), ")".repeat(4000));
    assert_eq!(rig.run(&arith).status, 2);
}

proptest::proptest! {
    #![proptest_config(crate::walks::cases(400))]
    #[test]
    fn no_script_brings_the_interpreter_down(
        script in r#"([a-z$(){}'`;&|<>*?!~=\n \\"\[\]%é0-9#]|echo |printf |if |then |fi|done|do |for |case |esac|in |test |\$\{|sed |grep |tr |cut ){0,40}"#
    ) {
        let rig = Rig::new("slate");
        rig.set(|faults| faults.pace = 0.0);
        rig.run(&script);
    }
}
