//! What is refused before anything is touched: names, addresses and ports that mean harm, a port that another proxy has, files that are not understood.

use super::{NGINX, ONE, bare, publishing, site};

#[test]
fn hostile_arguments_are_refused_with_their_rule_before_anybody_is_asked() {
    let Some(site) = bare("hostile") else { return };
    // A way in that nobody else uses.
    let Some(sshd) = site.host.way_in().start() else { return };
    let site = super::Site { sandbox: super::project(&sshd, "hostile"), ..site };
    for name in ["../x", "a/b", ".hidden", "", "x\ny", "a;b", "-rf", "x ", "$(id)", "it's", "*", "ä", &"a".repeat(65)] {
        site.configure(name, ONE, "80:80").exits(2).says("vmName");
    }
    for address in ["treehouse.local", "", "10.0.0.7; include /etc/passwd", "10.0.0.256", "10.0.0.7:80", "-1"] {
        site.configure("calamity", address, "80:80").exits(2).says("targetIp").says("is no address");
    }
    for (ports, rule) in [
        ("", "is no pair of ports"),
        ("7777", "is no pair of ports"),
        ("7777:7777; }", "holds something else than ports from 1 to 65535"),
        ("0:1", "holds something else than ports from 1 to 65535"),
        ("70000:1", "holds something else than ports from 1 to 65535"),
        ("1:1/sctp", "names no protocol: tcp or udp"),
        ("1:1,1:2", "listens on a port that another part has already"),
        ("1:1,,2:2", "is no pair of ports"),
        ("-1:1", "holds something else than ports from 1 to 65535"),
        ("1-9:1-9", "holds something else than ports from 1 to 65535"),
    ] {
        site.configure("calamity", ONE, ports).exits(2).says("portMap: `").says(rule).says("listen:backend[/tcp|udp]");
    }
    for (arguments, name) in [
        ("vmName = 7\ntargetIp = \"10.0.0.7\"\nportMap = \"1:1\"", "vmName"),
        ("vmName = [\"a\"]\ntargetIp = \"10.0.0.7\"\nportMap = \"1:1\"", "vmName"),
        ("vmName = \"a\"\ntargetIp = 10\nportMap = \"1:1\"", "targetIp"),
        ("vmName = \"a\"\ntargetIp = { ip = \"10.0.0.7\" }\nportMap = \"1:1\"", "targetIp"),
        ("vmName = \"a\"\ntargetIp = \"10.0.0.7\"\nportMap = 8080", "portMap"),
        ("vmName = \"a\"\ntargetIp = \"10.0.0.7\"\nportMap = [\"1:1\"]", "portMap"),
        ("targetIp = \"10.0.0.7\"\nportMap = \"1:1\"", "vmName"),
        ("vmName = \"a\"\ntargetIp = \"10.0.0.7\"\nportMap = \"1:1\"\nforce = true", "force"),
    ] {
        site.call(arguments).exits(2).says(name);
    }
    assert!(!sshd.log().contains("Accepted publickey"), "nobody was asked");
}

#[test]
fn a_port_of_another_proxy_is_refused_with_its_owner() {
    let Some(site) = site("owned", 8301, &publishing(8301)) else { return };
    site.configure("calamity", ONE, "8302:9302").exits(0);
    let (files, life) = (site.files(), site.host.life("owned"));
    site.configure("allthemons", ONE, "8303:9303,8302:9302")
        .exits(2)
        .says("8302/tcp is another proxy's already: ~/owned/conf.d/calamity.conf");
    site.configure("allthemons", ONE, "8301:9303").exits(2).says("8301/tcp is another proxy's already: ~/owned/conf.d/site.conf");
    assert_eq!((site.files(), site.host.life("owned")), (files, life));
    // The same number of the other protocol is another port. A name may hold a space.
    site.configure("VM 102", ONE, "8302:9302/udp").exits(0);
    assert!(site.path("conf.d/VM 102.conf").is_file() && site.read("compose.yaml").contains("      - '8302:8302/udp'\n"));
    site.configure("calamity", ONE, "8302:9302").exits(0).says("1 unchanged");
}

#[test]
fn a_directory_that_is_no_proxy_is_told() {
    let Some(site) = bare("no-proxy") else { return };
    let ask = || site.configure("calamity", ONE, "8311:9311");
    ask().exits(2).says("~/no-proxy holds neither a compose file nor an nginx.conf").says("streamDir");
    let service = |name: &str, image: &str| format!("  {name}:\n    image: {image}\n");
    site.write("compose.yaml", &format!("services:\n{}{}", service("a", NGINX), service("b", "docker.io/library/nginx:1")));
    ask().exits(2).says("must have exactly one service whose image is nginx; it has a, b");
    site.write("compose.yaml", "services:\n  stream\n");
    ask().exits(1).says("`docker compose config`");
    site.write("compose.yaml", &format!("services:\n  stream:\n    image: {NGINX}\n    ports: [\"8310:8310\"]\n"));
    ask().exits(2).says("~/no-proxy/compose.yaml: line 4: a value on the same line as its key");
    site.write(
        "compose.yaml",
        &format!("x-ports: &ports\n  - \"8310:8310\"\nservices:\n  stream:\n    image: {NGINX}\n    ports: *ports\n"),
    );
    ask().exits(2).says("line 6: a value on the same line as its key");
    for dir in ["~/no-such-folder", "~/it's; id", "-rf"] {
        let other = bare("no-proxy").expect("it was there a moment ago");
        let sandbox = other.sandbox.replace("definitions/proxy.toml", "~/no-proxy", dir);
        super::Site { sandbox, ..other }
            .configure("calamity", ONE, "8311:9311")
            .exits(1)
            .says(dir)
            .says("set streamDir to the proxy's directory");
    }
}
