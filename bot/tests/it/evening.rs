//! An evening: twenty friends, two hundred commands, bad weather, and a death in the middle. Everything ends true, and once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use crate::discord::{Message, UserId};
use crate::process::wait_until;
use crate::world::{PATIENCE, World};

/// Numbers that are the same on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % sides
    }
}

const FRIENDS: usize = 20;
const COMMANDS: usize = 200;
/// How much memory of its own a bot may have. The program's pages come on top: about 15 MiB as it is released, several times that in the development build
/// that is tested here, so that the sum says nothing.
const MEMORY: u64 = 60 << 20;
/// Between two commands.
const PACE: Duration = Duration::from_millis(120);

/// The memory that a process has for itself now, in bytes; 0 when it is gone.
fn own_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()).map_or(0, |kib| kib << 10)
}

/// What somebody says.
fn words(dice: &mut Dice) -> (&'static str, &'static str) {
    let vm = ["calamity", "allthemons"][dice.roll(2)];
    match dice.roll(12) {
        0..=2 => ("start", vm),
        3..=5 => ("stop", vm),
        6 => ("reboot", vm),
        7 | 8 => ("status", vm),
        9 => ("list", ""),
        10 => ("help", ""),
        _ => ("stop", "atm10"),
    }
}

/// Somebody always answers what the bot asks, mostly with yes.
fn answer_questions(world: &World, friends: &[UserId], dice: &mut Dice) {
    for message in world.discord.messages(world.channel) {
        let kind = if dice.roll(10) < 7 { "yes:" } else { "no:" };
        let button = message.buttons().into_iter().find(|button| button.custom_id.starts_with(kind));
        // Somebody may have been faster.
        button.and_then(|button| world.discord.try_press(friends[dice.roll(FRIENDS)], message.id, &button.custom_id));
    }
}

/// Whether nothing will come after it.
fn is_final(message: &Message) -> bool {
    let text = message.text();
    let waits = message.buttons().iter().any(|button| ["yes:", "cancel:"].iter().any(|kind| button.custom_id.starts_with(kind)));
    !message.loading && !text.is_empty() && !text.contains('⏳') && !text.contains("Looking who") && !waits
}

#[test]
fn twenty_friends_two_hundred_commands_and_one_death() {
    let world = World::new();
    world.discord.rate(5, Duration::from_secs(1));
    let friends: Vec<UserId> = (0..FRIENDS).map(|n| world.friend(&format!("friend{n}"))).collect();
    let mut bot = world.bot();
    world.discord.random_429(11, 0.08);
    world.discord.repeat_on_resume(true);
    let (mut dice, mut most) = (Dice(2026), 0);
    let mut asked: Vec<(u64, bool)> = Vec::new();
    for n in 0..COMMANDS {
        match n {
            60 => world.discord.drop_gateway(),
            140 => world.discord.reconnect_gateway(),
            100 => {
                // In the middle of a run: one that warns its players is begun for it.
                wait_until("a run is under way", PATIENCE, || {
                    answer_questions(&world, &friends, &mut dice);
                    let said = world.say(friends[n % FRIENDS], ["!start calamity", "!stop calamity", "!reboot allthemons"][dice.roll(3)]);
                    asked.push((said, true));
                    std::thread::sleep(PACE);
                    world
                        .discord
                        .messages(world.channel)
                        .iter()
                        .any(|message| message.text().contains('⏳') && message.text().contains("run "))
                });
                bot.kill();
                drop(bot);
                // Discord itself tells whoever has typed a command that nobody took within three seconds.
                std::thread::sleep(Duration::from_secs(3));
                let before = asked.len();
                asked.retain(|(id, said)| *said || !answers(&world, *id, false).is_empty());
                assert!(before - asked.len() <= 5, "{} commands were not even taken", before - asked.len());
                bot = world.bot();
            }
            _ => {}
        }
        let friend = friends[dice.roll(FRIENDS)];
        let (action, vm) = words(&mut dice);
        if dice.roll(2) == 0 {
            asked.push((world.say(friend, format!("!{action} {vm}").trim()), true));
        } else if vm.is_empty() {
            asked.push((world.discord.slash(friend, world.channel, action, &[]).id, false));
        } else {
            asked.push((world.slash(friend, action, vm).id, false));
        }
        answer_questions(&world, &friends, &mut dice);
        most = most.max(own_memory(bot.pid()));
        std::thread::sleep(PACE);
    }
    let answers = |id: u64, said: bool| answers(&world, id, said);
    settle(&world, &asked, &mut || {
        most = most.max(own_memory(bot.pid()));
        answer_questions(&world, &friends, &mut dice);
    });
    bot.terminate();
    bot.end().exits(0);
    agree(&world, &asked, &answers);
    alone_at_a_time(&world);
    let violations: Vec<String> = world.discord.violations().iter().map(ToString::to_string).collect();
    assert_eq!(violations, Vec::<String>::new());
    assert_eq!(world.discord.pings(), []);
    assert!(most > 0 && most < MEMORY, "{} MiB", most >> 20);
    assert!(!world.discord.limited().is_empty(), "it was slowed down");
    // With `--nocapture`: what the evening was like.
    let told = format!("{} commands, {} requests slowed down, at most {} MiB\n", asked.len(), world.discord.limited().len(), most >> 20);
    std::io::Write::write_all(&mut std::io::stderr(), told.as_bytes()).expect("standard error is open");
}

/// The answers to one command.
fn answers(world: &World, id: u64, said: bool) -> Vec<Message> {
    let fits = |message: &Message| if said { message.reply_to == Some(id) } else { message.asked == Some(id) };
    world.discord.every_message().into_iter().filter(|message| !message.deleted && fits(message)).collect()
}

/// Every command comes to one answer, and to no second one.
fn settle(world: &World, asked: &[(u64, bool)], meanwhile: &mut dyn FnMut()) {
    let began = Instant::now();
    loop {
        meanwhile();
        let open = |(id, said): &&(u64, bool)| answers(world, *id, *said).iter().filter(|one| is_final(one)).count() != 1;
        let open: Vec<_> = asked.iter().filter(open).collect();
        if open.is_empty() {
            break;
        }
        if began.elapsed() > Duration::from_secs(300) {
            let told: Vec<_> = open
                .iter()
                .map(|(id, said)| (id, said, answers(world, *id, *said).iter().map(Message::text).collect::<Vec<_>>()))
                .collect();
            panic!("{} commands have no end, or several: {told:#?}", open.len());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    for (id, said) in asked {
        assert_eq!(answers(world, *id, *said).len(), 1, "one message: {:#?}", answers(world, *id, *said));
    }
}

/// The journal says what the messages say.
fn agree(world: &World, asked: &[(u64, bool)], answers: &dyn Fn(u64, bool) -> Vec<Message>) {
    let audit: BTreeMap<String, Json> =
        world.audit().into_iter().map(|row| (row["id"].as_str().unwrap_or_default().to_owned(), row)).collect();
    let runs: BTreeMap<String, Json> = lines(world, &["runs", "-n", "10000", "--json"])
        .into_iter()
        .map(|run| (run["id"].as_str().unwrap_or_default().to_owned(), run))
        .collect();
    let mut told = 0;
    for (id, said) in asked {
        let row = audit.get(&id.to_string()).unwrap_or_else(|| panic!("{id} is not in the audit"));
        assert_eq!(row["settled"], true, "{row}");
        let text = answers(*id, *said)[0].text();
        let answer = row["answer"].as_str().unwrap_or_default();
        // A look is a run too; its answer is what was seen.
        let looked = row["asked"].as_str().is_some_and(|asked| asked.starts_with("status"));
        let Some(run) = row["run"].as_str() else {
            assert!(!text.contains(": succeeded"), "{text}\n{row}");
            continue;
        };
        if looked {
            continue;
        }
        told += 1;
        let state = runs[run]["state"].as_str().unwrap_or_default();
        assert!(answer.starts_with(state), "the audit says `{answer}`, the run {state}");
        assert!(text.contains(&format!(": {state}")), "the run {state}, its message:\n{text}");
    }
    assert!(told > 20, "only {told} commands became runs");
}

fn lines(world: &World, arguments: &[&str]) -> Vec<Json> {
    let said = world.fleet.pmx(arguments).exits(0).stdout;
    said.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

/// No VM has two effects at once.
fn alone_at_a_time(world: &World) {
    let mut effects: BTreeMap<&str, Vec<(String, String, String)>> = BTreeMap::new();
    for run in lines(world, &["runs", "-n", "10000", "--json"]) {
        let id = run["id"].as_str().unwrap_or_default().to_owned();
        let story = world.fleet.pmx(&["run", &id, "--json"]).exits(0).json();
        for action in story["actions"].as_array().into_iter().flatten() {
            let (call, step) = (action["call"].as_str().unwrap_or_default(), action["step"].as_str().unwrap_or_default());
            let acts = ["start", "stop", "warnShutdown", "startMinecraftServer", "stopMinecraftServer"];
            if !acts.contains(&call.split_once('.').map_or("", |(_, method)| method))
                || !["done", "failed", "cancelled"].contains(&action["ending"].as_str().unwrap_or_default())
            {
                continue;
            }
            let targets = run["targets"].to_string();
            let vm = if targets.contains("calamity") { "calamity" } else { "allthemons" };
            let at = |key: &str| action[key].as_str().unwrap_or_default().to_owned();
            effects.entry(vm).or_default().push((at("began"), at("ended"), format!("{id} {step}")));
        }
    }
    for (vm, mut spans) in effects {
        assert!(spans.len() > 5, "{vm} had only {} effects", spans.len());
        spans.sort();
        for pair in spans.windows(2) {
            assert!(pair[0].1 <= pair[1].0, "two effects at once on {vm}: {pair:?}");
        }
    }
}
