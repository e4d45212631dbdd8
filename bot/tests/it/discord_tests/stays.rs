//! The token does not leave the machine: counted by the kernel, in a network whose only way out leads nowhere.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serenity::http::HttpBuilder;

use super::client::Running;
use super::raw::PATIENCE;
use crate::alone::{self, OUTSIDE};
use crate::discord::Discord;

/// The least that the bot begins with.
const PROJECT: &str = "[project]\nname = \"p\"\n\n[bot]\nchannel = \"clankers\"\n";

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime can be made").block_on(future)
}

#[test]
fn a_client_that_is_led_to_the_loopback_sends_nothing_out() {
    let Some(network) = alone::inside("discord_tests::stays::a_client_that_is_led_to_the_loopback_sends_nothing_out") else { return };
    block_on(async {
        let discord = Discord::start();
        let (channel, tom) = (discord.channel("clankers"), discord.user("tom", &[]));
        let bot = Running::start(&discord, discord.token()).await;
        bot.heard.wait("ready", 1).await;
        discord.say(tom, channel, "!ping");
        discord.wait_for(channel, PATIENCE, |messages| messages.iter().find(|message| message.text() == "pong!").cloned()).await;
        discord.drop_gateway();
        bot.heard.wait("resumed", 1).await;
        bot.end().await;
        assert_eq!(discord.seen_tokens().len(), 1);
    });
    assert_eq!(network.left(), 0);
}

#[test]
fn one_that_is_not_is_counted() {
    let Some(network) = alone::inside("discord_tests::stays::one_that_is_not_is_counted") else { return };
    block_on(async {
        let http = HttpBuilder::new("MTE4.nobody.nobody").build();
        assert!(tokio::time::timeout(Duration::from_secs(2), http.get_gateway()).await.is_err(), "nobody answers out there");
        let asked = network.left();
        assert!(asked > 0, "the first packet of a connection to discord.com");
        let _ = tokio::time::timeout(Duration::from_millis(500), tokio::net::TcpStream::connect((OUTSIDE, 443))).await;
        assert!(network.left() > asked);
    });
}

#[test]
fn the_real_bot_that_is_not_led_is_counted() {
    let Some(network) = alone::inside("discord_tests::stays::the_real_bot_that_is_not_led_is_counted") else { return };
    let project = tempfile::tempdir().expect("a temporary directory can be made");
    std::fs::write(project.path().join("Pmxfile.toml"), PROJECT).expect("a file can be written");
    let said = project.path().join("said");
    let errors = std::fs::File::create(&said).expect("a file can be made");
    let mut command = Command::new(env!("CARGO_BIN_EXE_pmx-bot"));
    command.current_dir(project.path()).env_clear().env("HOME", project.path()).env("DISCORD_TOKEN", "MTE4.nobody.nobody");
    let mut bot = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors).spawn().expect("the bot starts");
    let begun = Instant::now();
    while network.left() == 0 && begun.elapsed() < PATIENCE && bot.try_wait().is_ok_and(|ended| ended.is_none()) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = bot.kill();
    let _ = bot.wait();
    assert!(network.left() > 0, "{}", std::fs::read_to_string(said).unwrap_or_default());
}
