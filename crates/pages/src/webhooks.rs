//! `/settings/webhooks`: where events are sent; and the page of one webhook with what was sent to it.

use askama::Template;

use crate::layout::{Badge, Layout, When};

/// All webhooks of a user.
#[derive(Clone, Debug, Template)]
#[template(path = "webhooks.html")]
pub struct Webhooks {
    /// The frame.
    pub layout: Layout,
    /// The webhooks.
    pub webhooks: Vec<WebhookRow>,
    /// A secret that was just made, shown this once.
    pub new_secret: Option<NewSecret>,
    /// The form of the next one.
    pub form: WebhookForm,
    /// Whether there may be another.
    pub full: bool,
}

/// One webhook.
#[derive(Clone, Debug, Template)]
#[template(path = "webhook.html")]
pub struct Webhook {
    /// The frame.
    pub layout: Layout,
    /// For the forms.
    pub id: String,
    /// Where events are sent.
    pub url: String,
    /// How it does.
    pub state: Badge,
    /// A sentence about that, if there is something to say.
    pub note: Option<String>,
    /// Whether events are sent.
    pub enabled: bool,
    /// The form that changes it.
    pub form: WebhookForm,
    /// What was sent to it, newest first.
    pub deliveries: Vec<DeliveryRow>,
    /// Where older ones are.
    pub older: Option<String>,
}

/// A webhook in the list.
#[derive(Clone, Debug)]
pub struct WebhookRow {
    /// For links.
    pub id: String,
    /// Where events are sent.
    pub url: String,
    /// What its owner says of it; may be empty.
    pub description: String,
    /// `all events`, or how many types.
    pub events: String,
    /// How it does.
    pub state: Badge,
}

/// A secret that was just made.
#[derive(Clone, Debug)]
pub struct NewSecret {
    /// Whose: the address.
    pub url: String,
    /// The secret.
    pub secret: String,
}

/// What is in the form of a webhook.
#[derive(Clone, Debug, Default)]
pub struct WebhookForm {
    /// The address.
    pub url: String,
    /// What is wrong with it.
    pub url_error: Option<String>,
    /// The description.
    pub description: String,
    /// What is wrong with that.
    pub description_error: Option<String>,
    /// Every type of event.
    pub events: Vec<EventBox>,
}

/// A type of event that can be ticked.
#[derive(Clone, Debug)]
pub struct EventBox {
    /// `job.completed`
    pub name: String,
    /// What it means.
    pub says: String,
    /// It is ticked.
    pub ticked: bool,
}

/// The sending of an event.
#[derive(Clone, Debug)]
pub struct DeliveryRow {
    /// For the form that sends it again.
    pub id: String,
    /// `job.completed`
    pub kind: String,
    /// The event: `evt_…`.
    pub event: String,
    /// When it was written.
    pub created: When,
    /// How far it is.
    pub state: Badge,
    /// `2 tries, last 200 after 35 ms`
    pub tries: String,
    /// When it is tried next.
    pub next: Option<When>,
    /// What went wrong.
    pub error: Option<String>,
    /// The beginning of the answer.
    pub answer: Option<String>,
    /// What is sent.
    pub body: String,
}

impl WebhookForm {
    /// Whether the types of events are to be seen at once.
    pub(crate) fn shows_events(&self) -> bool {
        self.events.iter().any(|event| event.ticked)
    }
}
