//! Configurations that nginx refuses: nothing stays of the change, and nginx's own words name the file.

use super::{ONE, publishing, site};

#[test]
fn a_broken_file_of_somebody_else_is_named_and_nothing_is_changed() {
    let Some(site) = site("broken", 8281, &publishing(8281)) else { return };
    let _behind = site.other(&["answer", "tcp:10.99.0.7:9281"]);
    assert_eq!(site.player("tcp", 8281).say("hello"), "tcp:10.99.0.7:9281 heard hello");
    let life = site.host.life("broken");
    for (text, said) in [
        ("server {\n    listen 8289\n    proxy_pass 10.99.0.7:1;\n}\n", "/etc/nginx/stream.d/voice.conf:3"),
        ("server {\n    listen 8289;\n    proxy_pass no-such-name.invalid:1;\n}\n", "host not found in upstream"),
    ] {
        site.write("conf.d/voice.conf", text);
        let files = site.files();
        let ran = site.configure("calamity", ONE, "8282:9282").exits(1);
        ran.says("nginx refuses the configuration").says(said).says("voice.conf").says("broken already, before any change");
        assert_eq!((site.files(), site.host.life("broken")), (files, life.clone()));
    }
    assert_eq!(site.player("tcp", 8281).say("hello"), "tcp:10.99.0.7:9281 heard hello");
    // It stopped since: nginx cannot even start, and says why in its log.
    site.host.compose("broken", &["stop", "-t", "5"]);
    let files = site.files();
    let ran = site.configure("calamity", ONE, "8282:9282").exits(1);
    ran.says("host not found in upstream").says("voice.conf").says("broken already");
    assert_eq!(site.files(), files);
}

#[test]
fn a_change_that_nginx_refuses_is_taken_back() {
    let Some(site) = site("refused-change", 8291, &publishing(8291)) else { return };
    let _behind = site.other(&["answer", "tcp:10.99.0.7:9291"]);
    // A server of nginx.conf itself, which is nobody's file of conf.d, has the port: nginx finds it twice.
    let own = "stream {\n    server { listen 8292; proxy_pass 10.99.0.7:9291; }\n";
    site.write("nginx.conf", &site.read("nginx.conf").replace("stream {\n", own));
    site.host.compose("refused-change", &["restart", "-t", "5"]);
    let (files, life) = (site.files(), site.host.life("refused-change"));
    let ran = site.configure("calamity", ONE, "8292:9292").exits(1);
    ran.says("nginx refuses the configuration; everything is as it was before").says("duplicate");
    assert_eq!(site.files(), files);
    assert_eq!(site.host.life("refused-change"), life, "what was not made anew is not made anew to take it back");
    assert_eq!(site.player("tcp", 8291).say("hello"), "tcp:10.99.0.7:9291 heard hello");
    // An nginx that does not read the folder at all.
    site.write("nginx.conf", &site.read("nginx.conf").replace("stream.d/*.conf", "stream.d/site.conf"));
    site.host.compose("refused-change", &["restart", "-t", "5"]);
    let files = site.files();
    let ran = site.configure("calamity", ONE, "8293:9293").exits(1);
    ran.says("nginx does not read ~/refused-change/conf.d/calamity.conf; everything is as it was before")
        .says("must include conf.d/*.conf");
    assert_eq!(site.files(), files);
    // And one without the module.
    site.write("nginx.conf", &site.read("nginx.conf").replace("load_module", "# load_module"));
    let ran = site.configure("calamity", ONE, "8293:9293").exits(1);
    ran.says("unknown directive \"stream\"").says("broken already");
}
