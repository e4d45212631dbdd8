//! Steering: what friends say, and what they see of it.

use crate::discord::First;
use crate::fleet::CALAMITY;
use crate::world::{PATIENCE, World};

#[test]
fn a_stop_asks_with_the_players_names_and_shows_every_step() {
    let world = World::new();
    // Longer than there is between two edits of a message, so that one of them shows it.
    world.amend("seconds = 1\n", "seconds = 4\n");
    let bot = world.bot();
    let tom = world.friend("tom");
    let (said, question) = world.asked_to_stop(tom);
    let text = question.text();
    assert!(text.contains("2 are playing: **Keeb**, **Sable**.") && text.contains("Stop calamity all the same?"), "{text}");
    assert!(world.fleet.vm(CALAMITY).ssh.is_some(), "nothing is done before somebody answers");
    world.press(tom, &question, "yes:");
    let done = world.told(said, "stop calamity: succeeded after");
    let text = done.text();
    for line in [
        "✅ **auth**",
        "✅ **lookup**",
        "✅ **warn-players** warned for",
        "2 online: Keeb, Sable",
        "✅ **stop-terraria** stopped tmodloader",
        "✅ **stop-vm/stop** stopped calamity",
    ] {
        assert!(text.contains(line), "`{line}` is not in:\n{text}");
    }
    assert!(text.contains("asked by tom · run "), "{text}");
    assert!(done.buttons().is_empty());
    let states: Vec<String> = done.versions.iter().map(|version| format!("{:?}", version.embeds)).collect();
    assert!(states.iter().any(|state| state.contains("⏳ **warn") && state.contains("waiting for the players to leave")), "{states:#?}");
    assert_eq!(
        world.discord.messages(world.channel).iter().filter(|message| message.author == world.discord.bot()).count(),
        1,
        "one message"
    );
    assert!(world.fleet.vm(CALAMITY).ssh.is_none());

    let actor = format!("discord:{tom}/tom");
    let version = world.fleet.pmx(&["show", "fleet/vm/calamity", "--json"]).exits(0).json();
    assert_eq!(version["actor"], actor.as_str());
    world.fleet.pmx(&["log", "fleet/vm/calamity"]).exits(0).says(&actor);
    let row = world.settled(said);
    assert_eq!(
        (row["actor"].as_str(), row["asked"].as_str(), row["answer"].as_str()),
        (Some(actor.as_str()), Some("stop calamity"), Some("succeeded"))
    );
    assert_eq!(row["run"], version["run"]);
    world.behaved();
    drop(bot);
}

#[test]
fn slash_commands_complete_run_and_edit_beyond_their_token() {
    let world = World::new();
    let _bot = world.bot();
    let tom = world.friend("tom");
    let typed = world.discord.autocomplete(tom, world.channel, "update", (&[("vm", serde_json::json!("cal"))], "vm"));
    assert_eq!(world.wait(typed.choices()), [("calamity".to_owned(), serde_json::json!("calamity"))]);
    let asked = world.slash(tom, "start", "calamity");
    assert!(matches!(world.wait(asked.first()), First::Deferred { ephemeral: false }));
    let seen = world.wait(asked.wait(PATIENCE, |message| message.text().contains("run ")));
    asked.expire_token();
    let done = world.wait(world.discord.wait_for(world.channel, PATIENCE, |messages| {
        messages.iter().find(|message| message.id == seen.id && message.text().contains("start calamity: succeeded")).cloned()
    }));
    assert!(done.text().contains("asked by tom"), "{}", done.text());
    world.settled(asked.id);
    let late: Vec<String> = world.discord.violations().iter().map(ToString::to_string).collect();
    assert!(late.iter().all(|one| one.contains("50027")), "the end of the token is all that was refused: {late:?}");
}

#[test]
fn two_who_want_the_same_get_one_run_and_a_terminal_counts_too() {
    let world = World::new();
    let _bot = world.bot();
    let (tom, ann) = (world.friend("tom"), world.friend("ann"));
    let first = world.say(tom, "!stop calamity");
    world.answer(first, |message| message.text().contains("playing"));
    let second = world.say(ann, "!stop calamity");
    let refused = world.told(second, "Already stopping: started by");
    assert!(refused.text().contains(&format!("<@{tom}>")), "{}", refused.text());
    let question = world.answer(first, |message| !message.buttons().is_empty());
    world.press(ann, &question, "no:");
    world.told(first, "Nothing was done");
    assert_eq!(world.settled(second)["answer"].as_str().map(|answer| answer.starts_with("refused: Already stopping")), Some(true));

    let mut elsewhere = world.fleet.start(&["build", "stop-calamity"]);
    elsewhere.wait_for("warn-players");
    let third = world.slash(ann, "stop", "calamity");
    let told = world.wait(third.wait(PATIENCE, |message| message.text().contains("Already stopping: started by cli")));
    assert!(told.text().contains("tester"), "{}", told.text());
    elsewhere.end().exits(0);
    world.behaved();
}

#[test]
fn a_status_and_the_list_work_from_an_empty_store() {
    let world = World::new();
    let _bot = world.bot();
    let tom = world.friend("tom");
    let status = world.say(tom, "!status calamity");
    let text = world.told(status, "playing").text();
    for part in ["🟢 running on keeb", "Address `10.0.0.107:7777`", "up for ", "2 are playing: **Keeb**, **Sable**.", "<t:"] {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
    let list = world.say(tom, "!list");
    let text = world.told(list, "VMs, ").text();
    for vm in ["🟢 **calamity** running 10.0.0.107", "**VM 102**", "**gold-image**"] {
        assert!(text.contains(vm), "`{vm}` is not in:\n{text}");
    }
    let help = world.say(tom, "!help");
    assert!(world.told(help, "What I can do").text().contains("`!update calamity`"));
    world.settled(list);
    world.behaved();
}

#[test]
fn a_failed_run_tells_why_and_can_be_retried() {
    let world = World::new();
    let _bot = world.bot();
    let tom = world.friend("tom");
    world.fleet.fault("task-fails", Some(CALAMITY));
    let (said, question) = world.asked_to_stop(tom);
    world.press(tom, &question, "yes:");
    let failed = world.told(said, "stop calamity: failed after");
    assert!(failed.text().contains("❌ **stop-vm/stop** failed:"), "{}", failed.text());
    world.fleet.heal();
    let nobody = world.discord.user("eve", &[]);
    let refused = world.press(nobody, &failed, "resume:");
    assert!(matches!(world.wait(refused.first()), First::Message { ephemeral: true }));
    let pressed = world.press(tom, &failed, "resume:");
    world.told(said, "stop calamity: succeeded after");
    assert_eq!(world.settled(pressed.id)["answer"], "succeeded");
    assert!(world.fleet.vm(CALAMITY).ssh.is_none());
    world.behaved();
}

#[test]
fn a_run_is_cancelled_by_a_press() {
    let world = World::new();
    world.amend("seconds = 1\n", "seconds = 30\n");
    let _bot = world.bot();
    let tom = world.friend("tom");
    let (said, question) = world.asked_to_stop(tom);
    world.press(tom, &question, "yes:");
    let running = world.answer(said, |message| message.text().contains("waiting for the players to leave"));
    let once = world.press(tom, &running, "cancel:");
    assert_eq!(world.settled(once.id)["answer"], "told to stop");
    let running = world.answer(said, |message| message.text().contains("stopping, asked by"));
    world.press(tom, &running, "cancel:");
    let over = world.told(said, "stop calamity: cancelled after");
    assert!(world.fleet.vm(CALAMITY).ssh.is_some());
    assert!(over.buttons().iter().any(|button| button.label == "Resume"));
    world.behaved();
}
