//! Judging a form: what is wrong in it, nested as the form is. Lengths are counted in Unicode code points.

use serde_json::{Value, json};

use super::refusal::Refusal;

/// The faults of one form.
#[derive(Debug, Default)]
pub struct Faults {
    tree: Value,
}

impl Faults {
    /// Notes one, at a place like `embeds.0.title`.
    pub fn add(&mut self, place: &str, code: &str, message: impl Into<String>) {
        let mut at = &mut self.tree;
        for part in place.split('.').filter(|part| !part.is_empty()) {
            at = &mut at[part];
        }
        let fault = json!({"code": code, "message": message.into()});
        match &mut at["_errors"] {
            Value::Array(faults) => faults.push(fault),
            empty => *empty = json!([fault]),
        }
    }

    /// A field that has to be there.
    pub fn required(&mut self, place: &str) {
        self.add(place, "BASE_TYPE_REQUIRED", "This field is required");
    }

    /// Judges a text that may be missing; returns it.
    pub fn text<'a>(&mut self, form: &'a Value, place: &str, lengths: std::ops::RangeInclusive<usize>) -> Option<&'a str> {
        let key = place.rsplit('.').next().unwrap_or(place);
        match &form[key] {
            Value::Null => None,
            Value::String(text) => {
                let (least, most, length) = (*lengths.start(), *lengths.end(), text.chars().count());
                match (length > most, length < least || (least > 0 && text.trim().is_empty())) {
                    (true, _) if least > 1 => {
                        self.add(place, "BASE_TYPE_BAD_LENGTH", format!("Must be between {least} and {most} in length."));
                    }
                    (true, _) => self.add(place, "BASE_TYPE_MAX_LENGTH", format!("Must be {most} or fewer in length.")),
                    (_, true) => self.required(place),
                    _ => {}
                }
                Some(text)
            }
            _ => {
                self.add(place, "STRING_TYPE_CONVERT", "Could not interpret value as string.");
                None
            }
        }
    }

    /// Judges a text that has to be there.
    pub fn needed<'a>(&mut self, form: &'a Value, place: &str, lengths: std::ops::RangeInclusive<usize>) -> Option<&'a str> {
        let key = place.rsplit('.').next().unwrap_or(place);
        if form[key].is_null() {
            self.required(place);
        }
        self.text(form, place, lengths)
    }

    /// Judges a list that may be missing.
    pub fn list<'a>(&mut self, form: &'a Value, place: &str, most: usize) -> &'a [Value] {
        let key = place.rsplit('.').next().unwrap_or(place);
        match &form[key] {
            Value::Null => &[],
            Value::Array(list) => {
                if list.len() > most {
                    self.add(place, "BASE_TYPE_BAD_LENGTH", format!("Must be between 0 and {most} in length."));
                }
                list
            }
            _ => {
                self.add(place, "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType");
                &[]
            }
        }
    }

    /// A whole number out of these, when it is there.
    pub fn number(&mut self, form: &Value, place: &str, among: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let key = place.rsplit('.').next().unwrap_or(place);
        let number = form[key].as_u64().filter(|number| among.contains(number));
        if number.is_none() && !form[key].is_null() {
            self.add(place, "BASE_TYPE_CHOICES", format!("Value must be one of ({} to {}).", among.start(), among.end()));
        }
        number
    }

    /// A web address, when it is there.
    pub fn address(&mut self, form: &Value, place: &str) {
        let allowed =
            |text: &str| ["http://", "https://", "discord://"].iter().any(|scheme| text.starts_with(scheme) && text.len() > scheme.len());
        if let Some(text) = self.text(form, place, 0..=2048)
            && !allowed(text)
        {
            self.add(place, "URL_TYPE_INVALID_URL", "Not a well formed URL.");
        }
    }

    /// The refusal, when there is anything to refuse.
    pub fn end(self) -> Result<(), Refusal> {
        if self.tree.is_null() { Ok(()) } else { Err(Refusal::form(self.tree)) }
    }
}
