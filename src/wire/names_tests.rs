//! Names against a name server of the test's own on loopback.

use std::sync::{Arc, Mutex};

use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use hickory_resolver::proto::serialize::binary::BinEncodable as _;

use super::*;

/// A name server that knows some names; it answers until it is dropped.
struct Server {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    async fn start(known: &'static [(&'static str, &'static str)]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            let mut bytes = [0; 2048];
            while let Ok((length, from)) = socket.recv_from(&mut bytes).await {
                let question = Message::from_vec(&bytes[..length]).unwrap();
                let query = question.queries[0].clone();
                let name = query.name().to_string();
                heard.lock().unwrap().push(name.clone());
                let mut answer = question.clone();
                answer.metadata.message_type = MessageType::Response;
                answer.additionals.clear();
                let of_name: Vec<IpAddr> =
                    known.iter().filter(|(known, _)| *known == name).map(|(_, address)| address.parse().unwrap()).collect();
                answer.metadata.response_code = match name.as_str() {
                    "broken.test." => ResponseCode::ServFail,
                    _ if of_name.is_empty() => ResponseCode::NXDomain,
                    _ => ResponseCode::NoError,
                };
                for address in of_name {
                    let data = match (address, query.query_type()) {
                        (IpAddr::V4(four), RecordType::A) => RData::A(four.into()),
                        (IpAddr::V6(six), RecordType::AAAA) => RData::AAAA(six.into()),
                        _ => continue,
                    };
                    answer.answers.push(Record::from_rdata(query.name().clone(), 60, data));
                }
                socket.send_to(&answer.to_bytes().unwrap(), from).await.unwrap();
            }
        });
        Self { port, asked, task }
    }
}

fn system(hosts: &str, conf: &str, port: u16) -> (tempfile::TempDir, System) {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::write(at("hosts"), hosts).unwrap();
    std::fs::write(at("resolv.conf"), conf).unwrap();
    let system = System { hosts: at("hosts"), conf: at("resolv.conf"), port: Some(port), within: Duration::from_secs(5) };
    (dir, system)
}

async fn found(system: &System, host: &str) -> String {
    match system.addresses(host, 22).await {
        Ok(all) => all.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(" "),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn hosts_come_first_then_the_servers_with_their_search_domains() {
    let server =
        Server::start(&[("slate.lan.", "10.0.0.100"), ("slate.", "10.9.9.9"), ("game.test.", "10.0.0.7"), ("six.test.", "::1")]).await;
    let hosts = "127.0.0.1 localhost\n10.0.0.4 keeb-dev-02 pve.test # the node\n# 10.0.0.5 gone\nnonsense game.test\n";
    let (_dir, system) = system(hosts, "search nowhere.test lan\nnameserver 127.0.0.1\n", server.port);
    assert_eq!(found(&system, "PVE.test").await, "10.0.0.4:22");
    assert!(server.asked.lock().unwrap().is_empty());
    assert_eq!(found(&system, "slate").await, "10.0.0.100:22");
    assert_eq!(found(&system, "game.test").await, "10.0.0.7:22");
    assert_eq!(found(&system, "six.test.").await, "[::1]:22");
    let asked = server.asked.lock().unwrap().clone();
    assert!(asked.contains(&"slate.nowhere.test.".to_owned()) && !asked.contains(&"slate.".to_owned()), "{asked:?}");
}

#[tokio::test]
async fn this_machine_and_addresses_are_asked_of_nobody() {
    let server = Server::start(&[("localhost.", "10.6.6.6"), ("a.localhost.", "10.6.6.6")]).await;
    let (_dir, system) = system("", "nameserver 127.0.0.1\n", server.port);
    for local in ["localhost", "LocalHost.", "a.localhost"] {
        let all = found(&system, local).await;
        assert!(all.contains("127.0.0.1:22") && all.contains("[::1]:22") && !all.contains("10.6"), "{all}");
    }
    assert_eq!(found(&system, "10.0.0.7").await, "10.0.0.7:22");
    assert_eq!(found(&system, "fd00::7").await, "[fd00::7]:22");
    assert_eq!(found(&system, "fe80::7%1").await, "[fe80::7%1]:22");
    assert_eq!(found(&system, "fe80::7%lo").await, "[fe80::7%1]:22");
    assert!(server.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn whoever_has_no_address_is_told_with_who_was_asked() {
    let server = Server::start(&[]).await;
    let (dir, system) = system("", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n", server.port);
    let shown = dir.path().display().to_string();
    let unknown = found(&system, "slatte.test").await;
    let expected =
        format!("no address for `slatte.test`: it is not in {shown}/hosts, and the name server 127.0.0.1 knows none; is the name right?");
    assert_eq!(unknown, expected);
    let broken = found(&system, "broken.test").await;
    assert!(broken.contains("the name server 127.0.0.1 answered: ") && broken.ends_with("/resolv.conf names them"), "{broken}");
    assert!(found(&system, "a b").await.contains("neither an address nor the name"));
    assert!(found(&system, "").await.contains("neither an address nor the name"));
    std::fs::write(dir.path().join("resolv.conf"), "search lan\n").unwrap();
    assert!(found(&system, "slate").await.contains("resolv.conf names no name server; add the name to"));
    std::fs::remove_file(dir.path().join("resolv.conf")).unwrap();
    assert!(found(&system, "slate").await.contains("resolv.conf cannot be read"));
}

#[tokio::test]
async fn silence_has_an_end_and_a_second_server_is_asked() {
    // Bound and never read: the question arrives and nobody answers.
    let mute = UdpSocket::bind("127.0.0.2:0").await.unwrap();
    let port = mute.local_addr().unwrap().port();
    let (_dir, mut system) = system("", "nameserver 127.0.0.2\noptions timeout:1 attempts:1\n", port);
    system.within = Duration::from_secs(3);
    let silent = found(&system, "slate.test").await;
    assert!(silent.contains("the name server 127.0.0.2 did not answer within 3 s"), "{silent}");
}

#[tokio::test]
async fn a_connection_goes_to_whoever_takes_it() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // On ::1 nobody listens there.
    connect("localhost", port).await.unwrap();
    drop(listener);
    assert_eq!(connect("localhost", port).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn files_of_names_are_read_or_refused_however_spoiled() {
    let dir = tempfile::tempdir().unwrap();
    let (hosts, conf) = (dir.path().join("hosts"), dir.path().join("resolv.conf"));
    // One text for both: each passes over the lines of the other.
    let seeds = ["10.0.0.4 pve pve.test # node\nsearch a.test b\nnameserver 10.0.0.1\noptions timeout:1 ndots:2\n"];
    crate::walks::feed(&seeds, move |bytes| {
        let _held = &dir;
        std::fs::write(&hosts, bytes).unwrap();
        std::fs::write(&conf, bytes).unwrap();
        let system = System { hosts: hosts.clone(), conf: conf.clone(), port: None, within: WITHIN };
        let _ = system.listed("pve");
        system.servers("pve").map(drop).map_err(|error| error.to_string())
    });
}
