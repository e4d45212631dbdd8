//! `pmx fsck`, `pmx gc`: the care of a store.

use crate::cli::args::GcArgs;
use crate::cli::exit::Exit;
use crate::cli::log::store;
use crate::cli::out::{Out, counted};
use crate::ops::front::Front;
use crate::ops::gc::{self, Kept, Swept};
use crate::source::Diagnostic;
use crate::store::verify::verify;

/// `pmx fsck`.
pub fn fsck(front: &Front, out: &mut Out) -> Result<Exit, Vec<Diagnostic>> {
    let mut store = store(front)?;
    let damages = verify(&mut *store);
    for damage in &damages {
        if out.json {
            out.json(&serde_json::json!({ "what": damage.what, "why": damage.why, "hurts": damage.hurts }));
        } else {
            out.line(damage.to_string());
        }
    }
    if damages.is_empty() && !out.json {
        out.line("every chain is whole, every blob is what its name says");
    }
    Ok(if damages.is_empty() { Exit::Done } else { Exit::Failed })
}

/// `pmx gc`.
pub fn gc(front: &Front, args: &GcArgs, out: &mut Out) -> Result<Exit, Vec<Diagnostic>> {
    let mut store = store(front)?;
    let kept = Kept { versions: args.keep, younger: args.older_than };
    let swept = gc::gc(&mut *store, kept, args.dry_run)?;
    if out.json {
        out.json(&swept)
    } else {
        out.line(told(swept))
    }
    Ok(Exit::Done)
}

fn told(swept: Swept) -> String {
    let Swept { dropped, bytes, stay, dry_run } = swept;
    if dropped == 0 {
        return format!("nothing to drop: all {stay} contents are wanted");
    }
    let verb = if dry_run { "would drop" } else { "dropped" };
    let (contents, size) = (counted(dropped, "content"), size(bytes));
    format!("{verb} {contents} ({size}); {stay} stay. Who did what, when and why stays known: `pmx log`, `pmx runs`")
}

/// `812 bytes`, `3.4 MiB`.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
    let mut amount = bytes as f64 / 1024.0;
    let mut unit = 0;
    while amount >= 1024.0 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    format!("{amount:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_in_the_unit_that_fits() {
        assert_eq!(size(812), "812 bytes");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(5 << 40), "5.0 TiB");
        assert_eq!(size(u64::MAX), "16777216.0 TiB");
    }

    #[test]
    fn one_content_is_not_many() {
        let one = Swept { dropped: 1, bytes: 3, stay: 2, dry_run: true };
        assert!(told(one).starts_with("would drop 1 content (3 bytes); 2 stay."));
        assert!(told(Swept { dropped: 2, dry_run: false, ..one }).starts_with("dropped 2 contents (3 bytes); 2 stay."));
        assert_eq!(told(Swept { dropped: 0, ..one }), "nothing to drop: all 2 contents are wanted");
    }
}
