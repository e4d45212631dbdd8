//! What a refused request is told: status, Discord's own code, a sentence, and for forms where they are wrong.

use serde_json::{Value, json};

/// A refusal.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Of HTTP.
    pub status: u16,
    /// Discord's own.
    pub code: u64,
    /// The sentence beside it.
    pub message: String,
    /// Where a form is wrong, nested as the form is.
    pub errors: Option<Value>,
}

type Known = (u16, u64, &'static str);

/// No such guild, or the bot is not in it.
pub const UNKNOWN_GUILD: Known = (404, 10_004, "Unknown Guild");
/// No such channel.
pub const UNKNOWN_CHANNEL: Known = (404, 10_003, "Unknown Channel");
/// Nobody of that id is in the guild.
pub const UNKNOWN_MEMBER: Known = (404, 10_007, "Unknown Member");
/// No such message, or only one person sees it.
pub const UNKNOWN_MESSAGE: Known = (404, 10_008, "Unknown Message");
/// Nobody has that id.
pub const UNKNOWN_USER: Known = (404, 10_013, "Unknown User");
/// The interaction has had no first answer yet, so there is nothing to edit.
pub const UNKNOWN_WEBHOOK: Known = (404, 10_015, "Unknown Webhook");
/// No such interaction, or its three seconds are over.
pub const UNKNOWN_INTERACTION: Known = (404, 10_062, "Unknown interaction");
/// No such application command.
pub const UNKNOWN_COMMAND: Known = (404, 10_063, "Unknown application command");
/// More new commands than a day allows.
pub const TOO_MANY_COMMANDS: Known = (400, 30_034, "Max number of daily application command creates has been reached (200)");
/// A first answer was given before.
pub const ACKNOWLEDGED: Known = (400, 40_060, "Interaction has already been acknowledged.");
/// Requests without a bot's User-Agent end before the API.
pub const NO_AGENT: Known = (403, 40_333, "internal network error");
/// The bot may not see it.
pub const MISSING_ACCESS: Known = (403, 50_001, "Missing Access");
/// Somebody else's message.
pub const ANOTHERS_MESSAGE: Known = (403, 50_005, "Cannot edit a message authored by another user");
/// Neither content nor embeds.
pub const EMPTY_MESSAGE: Known = (400, 50_006, "Cannot send an empty message");
/// The bot may see it, and not do this.
pub const MISSING_PERMISSIONS: Known = (403, 50_013, "Missing Permissions");
/// The token of an interaction is unknown, or fifteen minutes old.
pub const WEBHOOK_TOKEN: Known = (401, 50_027, "Invalid Webhook Token");
/// A body that is no JSON.
pub const NO_JSON: Known = (400, 50_109, "The request body contains invalid JSON.");
/// A wrong or missing token.
pub const UNAUTHORIZED: Known = (401, 0, "401: Unauthorized");
/// No such route, or one that is not imitated.
pub const NOT_FOUND: Known = (404, 0, "404: Not Found");

impl From<Known> for Refusal {
    fn from((status, code, message): Known) -> Self {
        Self { status, code, message: message.to_owned(), errors: None }
    }
}

impl Refusal {
    /// A form that is wrong where `errors` says.
    pub fn form(errors: Value) -> Self {
        Self { status: 400, code: 50_035, message: "Invalid Form Body".to_owned(), errors: Some(errors) }
    }

    /// What Discord can do and this one cannot: a test shall see that it leaves what is imitated.
    pub fn not_imitated(what: &str) -> Self {
        Self { status: 501, code: 0, message: format!("the stand-in does not imitate {what}"), errors: None }
    }

    /// The body that is sent.
    pub fn body(&self) -> Value {
        let mut body = json!({"message": self.message, "code": self.code});
        if let Some(errors) = &self.errors {
            body["errors"] = errors.clone();
        }
        body
    }
}
