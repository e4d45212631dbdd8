//! Why a goal is missed, and what was tried: written once, in `docs/performance.md`, and told by whoever measures.

/// Where it stands.
const PAGE: &str = include_str!("../docs/performance.md");
/// The line before the reasons.
const HEAD: &str = "What misses its goal, and why:";

/// The reason for a goal of this name, its lines joined: the point of the list one of whose bold words the name contains.
pub fn reason(goal: &str) -> Option<String> {
    let goal = plain(goal);
    let (_, list) = PAGE.split_once(HEAD)?;
    let list = list.split("\n#").next()?;
    let mut points = list.split("\n- ").skip(1);
    let found = points.find(|point| keys(point).any(|key| goal.contains(&key)))?;
    Some(found.split_whitespace().collect::<Vec<_>>().join(" ").replace("**", ""))
}

/// The bold words before the first colon.
fn keys(point: &str) -> impl Iterator<Item = String> {
    let title = point.split(':').next().unwrap_or_default();
    title.split("**").skip(1).step_by(2).map(plain)
}

/// Lower case, and without what numbers and code are set in.
fn plain(text: &str) -> String {
    text.to_lowercase().replace(['`', ','], "")
}

/// Lines of at most so many characters, cut between words.
pub fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is a line");
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}
