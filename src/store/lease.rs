//! Leases: who may act where and who comes first, as pure rules over requests that both backends apply and the model checks.
//!
//! - A request holds all claims of a run and is granted as a whole, when no earlier request of a live run and no granted one conflicts with it.
//! - A granted request only shrinks, so a grant stays right while nobody looks.
//! - What a dead run was granted is orphaned. Its heir, the first live run that is granted something in conflict with it, settles all of it, from all its lives,
//!   before anybody acts there; the run itself is that heir, when it goes on under its old id and nobody settles it already.
//! - What a dead run waited for is forgotten.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::event::Time;
use crate::name::RunId;

/// Something that is leased: a resource or a place. An open one meets every member of its group.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spot {
    /// The kind and the group: `resource fleet/vm`, `machine fleet/vm`, `host treehouse`, `file fleet/vm/calamity`.
    pub group: String,
    /// The member, `calamity`; `None` is every member.
    pub member: Option<String>,
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = self.group.split_once(' ').unwrap_or(("", &self.group));
        let member = self.member.as_deref().unwrap_or("*");
        match kind {
            "host" => write!(f, "host {name}"),
            "file" => write!(f, "{name}:{member}"),
            _ => write!(f, "{name}/{member}"),
        }
    }
}

impl fmt::Debug for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.group, self.member.as_deref().unwrap_or("*"))
    }
}

/// One spot that a run asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claim {
    /// Its number in the run: by this it is given back.
    pub number: u32,
    /// Where.
    pub spot: Spot,
    /// Whether others may share it.
    pub shared: bool,
    /// The step that uses it, or will first.
    pub step: String,
}

/// What a run asks for.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The run; its lock is held.
    pub run: RunId,
    /// All that it will need.
    pub claims: Arc<[Claim]>,
    /// Now.
    pub at: Time,
    /// Whether it queues when somebody is in the way.
    pub wait: bool,
}

/// The claims of one run, as they stand.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Request {
    /// Its place in the queue: rises with each request ever filed.
    pub ticket: i64,
    /// Whose.
    pub run: RunId,
    /// Since when it is granted; `None` while it waits.
    pub held: Option<Time>,
    /// Whether its run has died since, whoever lives under its id now.
    pub orphaned: bool,
    /// The run that settles what this one left.
    pub heir: Option<RunId>,
    /// What was not given back yet, by number.
    pub claims: Vec<Claim>,
}

/// How a request stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// All of it is held. The dead runs whose unfinished effects are to be settled before anything is begun, oldest first.
    Granted(Vec<Left>),
    /// These are in the way, first come first.
    Waiting(Vec<Blocker>),
}

/// What a run that died left to its heir.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// The run; the heir itself, when that goes on under its old id.
    pub run: RunId,
    /// What it held when it died.
    pub spots: Vec<Spot>,
}

/// A request that is in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocker {
    /// Where both meet.
    pub spot: Spot,
    /// The run that must go on: the one that holds or waits, or the heir that settles for it.
    pub run: RunId,
    /// The step that uses the spot there, or will first.
    pub step: String,
    /// Since when it holds; `None`: it waits too, and came first.
    pub held: Option<Time>,
    /// The dead run that `run` settles for.
    pub settles: Option<RunId>,
}

/// What becomes of leases in a transaction of their run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// The step that uses these claims from now on.
    pub used: Vec<(u32, String)>,
    /// Claims that are given back.
    pub released: Vec<u32>,
    /// Everything is given back: the run ends.
    pub all: bool,
}

impl Change {
    /// Whether nothing changes.
    pub const fn is_empty(&self) -> bool {
        self.used.is_empty() && self.released.is_empty() && !self.all
    }
}

/// What is to be done about a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Who is in the way, by ticket; when nobody is, the request is granted.
    pub on: Vec<Blocker>,
    /// Tickets of dead requests that it inherits when it is granted.
    pub inherits: Vec<i64>,
    /// Tickets of requests whose run died waiting.
    pub forgets: Vec<i64>,
}

/// Decides about the request `mine` among `others`, which may leave out claims in groups of which `mine` has none. `alive` tells of every run and heir that
/// they name.
pub fn decide(mine: &Request, others: &[Request], alive: &dyn Fn(&RunId) -> bool) -> Decision {
    let claimed = Claimed::of(&mine.claims);
    let mut decision = Decision::default();
    // A run that died more than once left a request for each life, and one heir settles all of it.
    let mut left: BTreeMap<&RunId, Vec<&Request>> = BTreeMap::new();
    let mut sorted: Vec<&Request> = others.iter().filter(|other| other.ticket != mine.ticket).collect();
    sorted.sort_by_key(|other| other.ticket);
    let mut on: Vec<(i64, Blocker)> = Vec::new();
    for other in sorted {
        let lives = !other.orphaned && alive(&other.run);
        match (lives, other.held) {
            (false, None) => decision.forgets.push(other.ticket),
            (false, Some(_)) => left.entry(&other.run).or_default().push(other),
            (true, held) if other.ticket < mine.ticket || held.is_some() => {
                let blocker = |(spot, step)| (other.ticket, Blocker { spot, run: other.run.clone(), step, held, settles: None });
                on.extend(claimed.meets(&other.claims).map(blocker));
            }
            (true, _) => {}
        }
    }
    for (run, requests) in left {
        let met = requests.iter().find_map(|request| claimed.meets(&request.claims));
        // Who goes on under its old id does what it left anew, wherever that was.
        let own = || mine.claims.first().filter(|_| *run == mine.run).map(|claim| (claim.spot.clone(), claim.step.clone()));
        let Some((spot, step)) = met.or_else(own) else { continue };
        let settling =
            requests.iter().find_map(|request| Some((*request, request.heir.as_ref().filter(|heir| **heir != mine.run && alive(heir))?)));
        match settling {
            Some((request, heir)) => {
                on.push((request.ticket, Blocker { spot, run: heir.clone(), step, held: request.held, settles: Some(run.clone()) }));
            }
            None => decision.inherits.extend(requests.iter().map(|request| request.ticket)),
        }
    }
    on.sort_by_key(|(ticket, _)| *ticket);
    decision.on = on.into_iter().map(|(_, blocker)| blocker).collect();
    decision.inherits.sort_unstable();
    decision
}

/// The claims of one request, to find who meets them.
struct Claimed<'a>(BTreeMap<&'a str, Group<'a>>);

/// The claims in one group; `true` where one of them is exclusive.
#[derive(Default)]
struct Group<'a> {
    /// Over any member.
    any: bool,
    /// Over every member.
    every: Option<bool>,
    one: BTreeMap<&'a str, bool>,
}

impl<'a> Claimed<'a> {
    fn of(claims: &'a [Claim]) -> Self {
        let mut groups: BTreeMap<&str, Group<'_>> = BTreeMap::new();
        for claim in claims {
            let group = groups.entry(claim.spot.group.as_str()).or_default();
            group.any |= !claim.shared;
            match &claim.spot.member {
                Some(member) => *group.one.entry(member).or_default() |= !claim.shared,
                None => *group.every.get_or_insert(false) |= !claim.shared,
            }
        }
        Self(groups)
    }

    /// Whether a claim of the group overlaps `spot`, and one that does is exclusive.
    fn over(&self, spot: &Spot) -> Option<bool> {
        let group = self.0.get(spot.group.as_str())?;
        match &spot.member {
            None => Some(group.any),
            Some(member) => match (group.one.get(member.as_str()), group.every) {
                (None, None) => None,
                (one, every) => Some(one.copied().unwrap_or(false) || every.unwrap_or(false)),
            },
        }
    }

    /// Where one of `claims` conflicts, and the step there. Of an open name and a single one, the single one is told.
    fn meets(&self, claims: &[Claim]) -> Option<(Spot, String)> {
        let conflicts = |claim: &&Claim| self.over(&claim.spot).is_some_and(|exclusive| exclusive || !claim.shared);
        let claim = claims.iter().find(conflicts)?;
        let narrow = match (&claim.spot.member, self.0.get(claim.spot.group.as_str())) {
            (None, Some(Group { every: None, one, .. })) => one.iter().find(|(_, exclusive)| **exclusive || !claim.shared),
            _ => None,
        };
        let member = narrow.map(|(member, _)| (*member).to_owned()).or_else(|| claim.spot.member.clone());
        Some((Spot { group: claim.spot.group.clone(), member }, claim.step.clone()))
    }
}

/// All requests, as the memory store keeps them.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Table {
    next: i64,
    requests: Vec<Request>,
}

impl Table {
    /// Files a request, unless the run has one, and says how it stands.
    pub fn ask(&mut self, ask: &Ask, alive: &dyn Fn(&RunId) -> bool) -> Standing {
        let known = self.requests.iter().position(|request| request.run == ask.run && !request.orphaned);
        let at = known.unwrap_or_else(|| {
            self.next += 1;
            let claims = ask.claims.to_vec();
            self.requests.push(Request { ticket: self.next, run: ask.run.clone(), held: None, orphaned: false, heir: None, claims });
            self.requests.len() - 1
        });
        let mine = self.requests[at].clone();
        if mine.held.is_some() {
            return Standing::Granted(lefts(&ask.run, &self.requests));
        }
        let decision = decide(&mine, &self.requests, alive);
        let granted = decision.on.is_empty();
        for request in &mut self.requests {
            if granted && request.ticket == mine.ticket {
                request.held = Some(ask.at);
            }
            if granted && decision.inherits.contains(&request.ticket) {
                (request.orphaned, request.heir) = (true, Some(ask.run.clone()));
            }
        }
        let dropped = |ticket: i64| decision.forgets.contains(&ticket) || (!granted && !ask.wait && ticket == mine.ticket);
        self.requests.retain(|request| !dropped(request.ticket));
        if granted { Standing::Granted(lefts(&ask.run, &self.requests)) } else { Standing::Waiting(decision.on) }
    }

    /// Applies what a transaction of `run` changes.
    pub fn change(&mut self, run: &RunId, change: &Change) {
        if change.all {
            return self.leave(run);
        }
        let current = |request: &Request| request.run == *run && !request.orphaned;
        for request in self.requests.iter_mut().filter(|request| current(request)) {
            for (number, step) in &change.used {
                for claim in request.claims.iter_mut().filter(|claim| claim.number == *number) {
                    claim.step.clone_from(step);
                }
            }
            request.claims.retain(|claim| !change.released.contains(&claim.number));
        }
        // Whoever has given everything back holds nothing that anybody could inherit.
        self.requests.retain(|request| !current(request) || !request.claims.is_empty());
    }

    /// Takes the run out of the queue, or gives everything back; what it was to settle is left to others again.
    pub fn leave(&mut self, run: &RunId) {
        self.requests.retain(|request| request.orphaned || request.run != *run);
        for request in self.requests.iter_mut().filter(|request| request.heir.as_ref() == Some(run)) {
            request.heir = None;
        }
    }

    /// `heir` has settled what the run `dead` left. Nothing happens when it is not the heir.
    pub fn settled(&mut self, heir: &RunId, dead: &RunId) {
        self.requests.retain(|request| request.run != *dead || request.heir.as_ref() != Some(heir));
    }

    /// A run goes on under its old id: what it held when it died is orphaned, what it waited for forgotten, and what it was to settle is left to others.
    pub fn orphan(&mut self, run: &RunId) {
        self.requests.retain(|request| request.run != *run || request.held.is_some());
        for request in &mut self.requests {
            request.orphaned |= request.run == *run;
            request.heir.take_if(|heir| heir == run);
        }
    }

    /// All requests by ticket.
    pub fn requests(&self) -> &[Request] {
        &self.requests
    }
}

/// What `heir` has to settle, oldest first; each run once.
pub fn lefts(heir: &RunId, all: &[Request]) -> Vec<Left> {
    let mut lefts: Vec<Left> = Vec::new();
    for request in all.iter().filter(|request| request.heir.as_ref() == Some(heir)) {
        let spots = request.claims.iter().map(|claim| claim.spot.clone());
        match lefts.iter_mut().find(|left| left.run == request.run) {
            Some(left) => {
                left.spots.extend(spots);
                left.spots.sort();
                left.spots.dedup();
            }
            None => lefts.push(Left { run: request.run.clone(), spots: spots.collect() }),
        }
    }
    lefts
}
