//! Who may, and who may not: roles, channels, private messages, destruction.

use crate::discord::First;
use crate::fleet::CALAMITY;
use crate::world::{PATIENCE, World};

#[test]
fn only_the_role_in_the_channel_is_let_in_and_everything_is_kept() {
    let world = World::of(|sandbox| sandbox.replace("Pmxfile.toml", "cooldown = \"0s\"", "cooldown = \"1h\""));
    let _bot = world.bot();
    let (tom, eve) = (world.friend("tom"), world.discord.user("eve", &[]));
    let other = world.discord.channel("general");
    let stranger = world.slash(eve, "stop", "calamity");
    assert!(matches!(world.wait(stranger.first()), First::Message { ephemeral: true }));
    assert!(world.wait(stranger.wait(PATIENCE, |_| true)).text().contains("You need the role `homie`"));
    let said = world.say(eve, "!stop calamity");
    world.told(said, "You need the role `homie`");
    let elsewhere = world.discord.slash(tom, other, "stop", &[("vm", serde_json::json!("calamity"))]);
    assert!(world.wait(elsewhere.wait(PATIENCE, |_| true)).text().contains("I only take commands in #clankers"));
    world.discord.say(tom, other, "!stop calamity");
    let dm = world.discord.say_dm(tom, "!stop calamity");
    let unknown = world.say(tom, "!stop atm10");
    world.told(unknown, "I do not know a VM `atm10`");
    let forbidden = world.say(tom, "!update allthemons");
    world.told(forbidden, "`update` is not allowed on `allthemons`");
    let fast = world.say(tom, "!start calamity");
    world.told(fast, "start calamity: succeeded");
    let faster = world.say(tom, "!start calamity");
    world.told(faster, "Not so fast: calamity again in");

    assert!(world.fleet.vm(CALAMITY).ssh.is_some());
    assert_eq!(world.settled(dm)["answer"], "refused: I do not take commands in private messages.");
    let audit = world.audit();
    let refused = audit.iter().filter(|row| row["answer"].as_str().is_some_and(|answer| answer.starts_with("refused: "))).count();
    assert_eq!((audit.len(), refused), (8, 7), "what was said in another channel is not the bot's to hear: {audit:#?}");
    assert!(world.discord.messages(other).iter().all(|message| message.author != world.discord.bot()));
    world.behaved();
}

#[test]
fn destroying_takes_an_admin_twice() {
    let world = World::of(|sandbox| {
        sandbox.replace("Pmxfile.toml", "[bot.vm.calamity]", "[bot.vm.gold-image]\nactions = [\"delete\"]\n[bot.vm.calamity]").replace(
            "Pmxfile.toml",
            "prefix = \"!\"\n",
            "prefix = \"!\"\nadmins = \"boss\"\n",
        )
    });
    let _bot = world.bot();
    let boss = world.discord.role("boss");
    let (tom, ann) = (world.friend("tom"), world.discord.user("ann", &[world.homie, boss]));
    let no = world.say(tom, "!delete gold-image");
    world.told(no, "you need the role `boss`");
    let said = world.say(ann, "!delete gold-image");
    let question = world.told(said, "This cannot be undone");
    let pressed = world.press(tom, &question, "yes:");
    assert!(matches!(world.wait(pressed.first()), First::Message { ephemeral: true }));
    world.press(ann, &question, "yes:");
    let done = world.answer(said, |message| message.text().contains(": succeeded") || message.text().contains(": failed"));
    assert!(done.text().contains("delete gold-image: succeeded"), "{}", done.text());
    assert!(world.fleet.named("gold-image").is_none());
    world.behaved();
}

#[test]
fn rules_follow_the_file_and_broken_files_change_nothing() {
    let world = World::asleep(|sandbox| sandbox);
    let mut bot = world.bot();
    let tom = world.friend("tom");
    let sandbox = &world.fleet.sandbox;
    let whole = sandbox.read("Pmxfile.toml");
    let write = |text: &str| std::fs::write(sandbox.path("Pmxfile.toml"), text).expect("the Pmxfile can be written");
    write(&whole.replace("role = \"homie\"", "role = \"elder\""));
    let refused = |text: &str| {
        let mut seen = false;
        crate::process::wait_until(text, PATIENCE, || {
            let said = world.say(tom, "!help");
            let answer = world.answer(said, |message| !message.text().is_empty()).text();
            seen = answer.contains(text);
            seen
        });
    };
    refused("You need the role `elder`");
    write("[bot");
    bot.wait_for("the project's files are broken, the rules before hold on");
    refused("You need the role `elder`");
    write(&whole.replace(
        "[bot.vm.allthemons]\nactions = [\"start\", \"stop\", \"reboot\", \"status\"]",
        "[bot.vm.allthemons]\nactions = [\"start\"]",
    ));
    bot.wait_for("the project's files are sound again");
    refused("What I can do");
    let typed = || world.discord.autocomplete(tom, world.channel, "stop", (&[("vm", serde_json::json!(""))], "vm"));
    assert_eq!(world.wait(typed().choices()), [("calamity".to_owned(), serde_json::json!("calamity"))]);
    world.behaved();
}
