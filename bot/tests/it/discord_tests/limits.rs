//! Rate limits: headers that count down, refusals with their time, the limit of everything, and refusals at random.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::raw::Raw;
use crate::discord::Discord;

#[tokio::test]
async fn a_channel_takes_five_messages_in_five_seconds() {
    let discord = Discord::start();
    discord.rate(5, Duration::from_secs(2));
    let (raw, channel, other) = (Raw::new(&discord), discord.channel("clankers"), discord.channel("other"));
    let path = format!("/channels/{channel}/messages");
    let begun = Instant::now();
    for left in (0..5).rev() {
        let told = raw.send("POST", &path, json!({"content": "x"})).await;
        assert_eq!(
            (told.status, told.headers["x-ratelimit-limit"].as_str(), told.headers["x-ratelimit-remaining"].clone()),
            (200, "5", left.to_string())
        );
    }
    let told = raw.send("POST", &path, json!({"content": "x"})).await;
    assert_eq!((told.status, told.headers["x-ratelimit-scope"].as_str(), &told.body["global"]), (429, "user", &json!(false)));
    let wait: f64 = told.body["retry_after"].as_f64().expect("it says how long to wait");
    assert!(wait > 0.0 && wait <= 2.0 && told.headers["retry-after"] == wait.ceil().to_string(), "{told:?}");
    assert!(told.body["code"].is_null(), "as little as the real one, whose body has no code here");
    // Elsewhere there is room, and for edits there is another limit.
    let id = raw.message(other, json!({"content": "x"})).await;
    assert_eq!(raw.send("PATCH", &format!("/channels/{other}/messages/{id}"), json!({"content": "y"})).await.status, 200);
    tokio::time::sleep(Duration::from_secs_f64(wait)).await;
    assert_eq!(raw.send("POST", &path, json!({"content": "x"})).await.status, 200);
    assert!(begun.elapsed() >= Duration::from_secs(2));
    let limited = discord.limited();
    assert!(limited.len() == 1 && !limited[0].injected && !limited[0].global && limited[0].path.ends_with(&path), "{limited:?}");
    assert!(discord.violations().is_empty() && discord.invalid_requests() == 1);
}

#[tokio::test]
async fn fifty_requests_in_a_second_are_the_most() {
    let discord = Discord::start();
    let raw = Raw::new(&discord);
    // As many at once as make it in a second on any machine.
    let all = (0..150).map(|_| raw.send("GET", "/users/@me", Value::Null));
    let told = futures_util::future::join_all(all).await;
    let refused: Vec<_> = told.iter().filter(|told| told.status == 429).collect();
    assert!(!refused.is_empty());
    assert!(refused.iter().all(|told| told.headers["x-ratelimit-global"] == "true" && told.body["global"] == true));
    assert!(discord.limited().iter().all(|limited| limited.global && limited.wait <= Duration::from_secs(1)));
}

#[tokio::test]
async fn refusals_at_random_come_from_their_seed() {
    let run = async |seed: u64| {
        let discord = Discord::start();
        let raw = Raw::new(&discord);
        discord.random_429(seed, 0.3);
        let mut all = Vec::new();
        for _ in 0..30 {
            let told = raw.send("GET", "/users/@me", Value::Null).await;
            all.push(told.body["retry_after"].as_f64());
        }
        assert!(discord.limited().iter().all(|limited| limited.injected));
        discord.random_429(seed, 0.0);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(raw.send("GET", "/users/@me", Value::Null).await.status, 200);
        all
    };
    let (one, same, other) = (run(1).await, run(1).await, run(2).await);
    assert!(one == same && one != other);
    let waits: Vec<f64> = one.into_iter().flatten().collect();
    assert!((2..25).contains(&waits.len()) && waits.iter().all(|wait| (0.05..0.3).contains(wait)), "{waits:?}");
}
