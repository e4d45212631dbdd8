//! Arranging: the list of actions with implied refreshes put in and equal Observes merged, in one pass in program order.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use crate::digest::Digest;
use crate::lang::template::{Root, Template};
use crate::lang::workflow::Options;
use crate::model::contract::Effect;
use crate::name::ResourcePattern;
use crate::plan::bind::{Asked, Binder};
use crate::plan::graph::{Action, ActionId, Bound, Flow, Frame, Implied, InputValue, Merged, Read, SetBy};
use crate::plan::known::Sight;
use crate::plan::latest::{Latest, place_spot, resource_spot};
use crate::plan::lower::Draft;
use crate::plan::prune::prune;
use crate::plan::refresh::observer;
use crate::plan::refs::each_ref;
use crate::plan::touch;
use crate::plan::variant::Variants;
use crate::source::{Diagnostic, Span};

/// Observers that read what further observers observe: nobody needs more of them.
const DEPTH: usize = 32;

/// The list of the graph.
#[derive(Default)]
pub(super) struct Arranged {
    pub actions: Vec<Arc<Action>>,
    pub after: After,
    pub merged: Vec<Merged>,
}

/// What `after` asks for, in terms of actions.
#[derive(Default)]
pub(super) struct After {
    /// The members of each group, rising.
    pub groups: Vec<Vec<ActionId>>,
    /// The groups that each action waits for.
    pub needs: Vec<Vec<(usize, Span)>>,
}

/// Puts implied refreshes in and merges equal Observes.
pub(super) fn arrange(drafts: Vec<Draft>, binder: &mut Binder<'_>, variants: &Variants) -> Result<Arranged, Diagnostic> {
    let mut arranging = Arranging {
        binder,
        variants,
        done: Arranged::default(),
        certain: Latest::default(),
        written: Latest::default(),
        acted: Latest::default(),
        seen: BTreeMap::new(),
        served: BTreeMap::new(),
    };
    for draft in drafts {
        arranging.draft(draft)?;
    }
    arranging.inherit();
    Ok(arranging.done)
}

struct Arranging<'b, 'p> {
    binder: &'b mut Binder<'p>,
    variants: &'b Variants,
    done: Arranged,
    /// Certain writers by resource.
    certain: Latest,
    /// All writers by resource.
    written: Latest,
    /// Effects by place.
    acted: Latest,
    /// The latest Observe of each signature.
    seen: BTreeMap<Digest, u32>,
    /// The readers of each implied refresh, and whether they tolerate its absence.
    served: BTreeMap<u32, Vec<(u32, bool)>>,
}

/// For whom a refresh is made.
struct Reader<'r> {
    step: &'r str,
    frame: &'r Arc<Frame>,
    needs: &'r [(usize, Span)],
}

impl Arranging<'_, '_> {
    fn draft(&mut self, draft: Draft) -> Result<(), Diagnostic> {
        let Draft { action, needs, groups } = draft;
        let signature = if needs.is_empty() { signature(&action) } else { None };
        let same =
            signature.as_ref().and_then(|digest| self.seen.get(digest).copied()).filter(|first| self.untouched_since(*first, &action));
        if let Some(first) = same {
            self.done.merged.push(Merged { step: action.step, into: ActionId(first) });
            self.join(&groups, first);
            return Ok(());
        }
        let reader = Reader { step: &action.step, frame: &action.scopes.inner, needs: &needs };
        for read in &action.touch.reads {
            self.refresh(read, &reader, &mut Vec::new())?;
        }
        let id = self.push(*action, needs);
        self.join(&groups, id);
        if let Some(digest) = signature {
            self.seen.insert(digest, id);
        }
        Ok(())
    }

    fn join(&mut self, groups: &[usize], id: u32) {
        for group in groups {
            if self.done.after.groups.len() <= *group {
                self.done.after.groups.resize_with(group + 1, Vec::new);
            }
            let members = &mut self.done.after.groups[*group];
            if members.last().is_none_or(|last| last.0 < id) {
                members.push(ActionId(id));
            } else if let Err(at) = members.binary_search(&ActionId(id)) {
                members.insert(at, ActionId(id));
            }
        }
    }

    /// Adds an action to the list and to the indices.
    fn push(&mut self, mut action: Action, needs: Vec<(usize, Span)>) -> u32 {
        let id = u32::try_from(self.done.actions.len()).unwrap_or(u32::MAX);
        action.id = ActionId(id);
        prune(&mut action);
        for read in &action.touch.reads {
            if let Some(writer) = self.certain.covering(&resource_spot(&read.resource))
                && self.done.actions[writer as usize].flow.implied.is_some()
            {
                self.served.entry(writer).or_default().push((id, read.optional));
            }
        }
        for write in &action.touch.writes {
            self.written.note(resource_spot(&write.resource), id);
            if !write.possible {
                self.certain.note(resource_spot(&write.resource), id);
            }
        }
        if action.call.method.effect.acts() {
            for place in &action.touch.places {
                self.acted.note(place_spot(&place.place), id);
            }
        }
        self.done.actions.push(Arc::new(action));
        self.done.after.needs.push(needs);
        id
    }

    /// Whether nothing since action `first` wrote what `action` reads or writes, or acted where it looks.
    fn untouched_since(&self, first: u32, action: &Action) -> bool {
        let resources = action.touch.reads.iter().map(|read| &read.resource).chain(action.touch.writes.iter().map(|write| &write.resource));
        let unwritten = |pattern: &ResourcePattern| self.written.overlapping(&resource_spot(pattern)).is_none_or(|last| last <= first);
        let quiet =
            |place: &crate::plan::graph::PlaceUse| self.acted.overlapping(&place_spot(&place.place)).is_none_or(|last| last <= first);
        resources.into_iter().all(unwritten) && action.touch.places.iter().all(quiet)
    }

    /// Makes sure that a certain writer stands before the reader of `read`, if its spec can be observed. Recursion is as deep as observers read
    /// what other observers observe; `stack` bounds it.
    fn refresh(&mut self, read: &Read, reader: &Reader<'_>, stack: &mut Vec<ResourcePattern>) -> Result<(), Diagnostic> {
        if self.certain.covering(&resource_spot(&read.resource)).is_some() {
            return Ok(());
        }
        if stack.contains(&read.resource) || stack.len() >= DEPTH {
            let path = stack.iter().chain([&read.resource]).map(ToString::to_string).collect::<Vec<_>>().join(" → ");
            let complaint = Diagnostic::yours(format!("{} can never be observed: its observers read each other: {path}", read.resource));
            return Err(complaint.at(&read.reference, "read here").help("let one of these definitions name its address or account itself"));
        }
        let placed = |complaint: Diagnostic| if complaint.at.is_none() { complaint.at(&read.reference, "") } else { complaint };
        let Some(found) = observer(self.binder, &read.resource, self.variants).map_err(placed)? else { return Ok(()) };
        let asked = Asked {
            def: &read.resource.def,
            method: found.method,
            with: (&found.with, SetBy::Instance),
            outer: reader.frame,
            at: Some(&read.reference),
        };
        let (call, scopes) = self.binder.bind(&asked)?;
        let implied = Implied { resource: read.resource.clone(), reader: reader.step.to_owned() };
        let flow = Flow { implied: Some(Box::new(implied)), ..Flow::default() };
        let touch = touch::of(&call, &scopes, &flow, self.variants).map_err(placed)?;
        stack.push(read.resource.clone());
        for further in &touch.reads {
            self.refresh(further, reader, stack)?;
        }
        stack.pop();
        let step = format!("{} (refresh {})", reader.step, read.resource);
        self.push(Action { id: ActionId(0), step, call, flow, touch, scopes }, reader.needs.to_vec());
        Ok(())
    }

    /// A refresh runs under `always` when one of its readers does, and may fail when all of them can do without it.
    fn inherit(&mut self) {
        for (refresh, readers) in self.served.iter().rev() {
            let options = |reader: &u32| &self.done.actions[*reader as usize].flow.options;
            let always = readers.iter().any(|(reader, _)| options(reader).always);
            let optional = readers.iter().all(|(reader, tolerant)| *tolerant || options(reader).optional);
            let inherited = Options { always, optional, ..Options::default() };
            Arc::make_mut(&mut self.done.actions[*refresh as usize]).flow.options = inherited;
        }
    }
}

/// Equal for two Observes that ask the same question; `None` for what is never merged.
fn signature(action: &Action) -> Option<Digest> {
    let mergeable = action.call.method.effect == Effect::Observe && action.flow.conditions.is_empty() && action.flow.loop_over.is_none();
    if !mergeable {
        return None;
    }
    let mut text = format!("{} {:?}", action.call.name(), action.flow.options);
    for input in action.call.variant_inputs.iter() {
        input_signature(input, &action.scopes.inner, 0, &mut text)?;
    }
    for (name, bound) in &action.call.arguments {
        let _ = write!(text, " {name}=");
        let frame = if bound.from == SetBy::Step { &action.scopes.outer } else { &action.scopes.inner };
        bound_signature(bound, frame, &mut text)?;
    }
    Some(Digest::of(text.as_bytes()))
}

fn bound_signature(bound: &Bound, frame: &Arc<Frame>, text: &mut String) -> Option<()> {
    template_signature(&bound.template.value, &bound.template.span, frame, 0, text)
}

/// Equal text, equal source, equal inputs. Deeper than workflows are nested there is nothing to find.
fn template_signature(template: &Template, span: &Span, frame: &Arc<Frame>, depth: usize, text: &mut String) -> Option<()> {
    if let Ok(Some(value)) = Sight::of(frame).template(template) {
        text.push_str(&value.canonical(&|secret| format!("\"secret {}\"", Digest::of(secret.expose().as_bytes()))));
        return Some(());
    }
    let _ = write!(text, "{}:{:?}", span.source.name.display(), span.range());
    let mut inputs = Vec::new();
    let mut plain = true;
    each_ref(template, &mut |reference| match &*reference.root {
        Root::Input(Some(name)) => inputs.push(name.clone()),
        Root::Input(None) | Root::Run | Root::Each => plain = false,
        Root::Resource { .. } | Root::Vault(..) | Root::This | Root::Env(_) => {}
    });
    inputs.iter().try_for_each(|input| input_signature(input, frame, depth + 1, text))?;
    plain.then_some(())
}

fn input_signature(name: &str, frame: &Arc<Frame>, depth: usize, text: &mut String) -> Option<()> {
    // A late input may read others twice each, so the text could double per level.
    if depth > DEPTH || text.len() > 64 * 1024 {
        return None;
    }
    let _ = write!(text, " {name}:");
    match frame.inputs.get(name) {
        Some(InputValue::Known(value)) => {
            text.push_str(&value.canonical(&|secret| format!("\"secret {}\"", Digest::of(secret.expose().as_bytes()))));
            Some(())
        }
        Some(InputValue::Late(template, from)) => template_signature(&template.value, &template.span, from, depth + 1, text),
        None => Some(()),
    }
}
