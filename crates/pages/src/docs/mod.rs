//! `/docs`: where to begin, the guides, and the reference of the API.
//!
//! Guides are Markdown files of the repository ([`guides`]), turned into markup once. The reference comes as view structs
//! whose body is rendered once too; only the frame around both differs from visitor to visitor.

pub mod guides;
mod markdown;
mod tabs;

use askama::Template;

use crate::layout::Layout;

pub use markdown::inline;
pub use tabs::{Panel, Tabs};

/// What stands in guides for the address of the coordinator that shows them.
pub const BASE_URL: &str = "https://archipelago.example";

/// Puts the address of this very coordinator into a rendered page.
#[must_use]
pub fn at_home(html: &str, base_url: &str) -> String {
    html.replace(BASE_URL, &markdown::escape(base_url))
}

/// The navigation beside every page of the documentation.
#[derive(Clone, Debug, Default)]
pub struct Side {
    /// The guides.
    pub guides: Vec<SideLink>,
    /// The chapters of the reference.
    pub chapters: Vec<SideLink>,
}

/// One link of it.
#[derive(Clone, Debug, Default)]
pub struct SideLink {
    /// Where it leads.
    pub href: String,
    /// Its words.
    pub label: String,
    /// It is the page that is shown.
    pub current: bool,
    /// The headings of that page, if it is shown: anchor and words.
    pub inside: Vec<(String, String)>,
}

/// `/docs`.
#[derive(Clone, Debug, Template)]
#[template(path = "docs_home.html")]
pub struct Home {
    /// The frame.
    pub layout: Layout,
    /// The navigation.
    pub side: Side,
    /// Address of this coordinator, without a trailing slash.
    pub base_url: String,
    /// What was searched for.
    pub query: String,
    /// The guides.
    pub guides: Vec<Entry>,
    /// The chapters of the reference with their operations.
    pub chapters: Vec<(String, Vec<Entry>)>,
    /// How many entries fit what was searched for.
    pub found: usize,
}

/// Something that can be found.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// Its anchor in the overview, if it is an operation: its stable name.
    pub name: String,
    /// Where it is.
    pub href: String,
    /// What it is called.
    pub title: String,
    /// What it is about; of an operation its method and path.
    pub about: String,
    /// The method, of an operation.
    pub method: String,
    /// Everything it can be found by, in small letters.
    pub words: String,
    /// It fits what was searched for.
    pub fits: bool,
}

/// A guide, or another page of text.
#[derive(Clone, Debug, Template)]
#[template(path = "docs_guide.html")]
pub struct GuidePage {
    /// The frame.
    pub layout: Layout,
    /// The navigation.
    pub side: Side,
    /// Its heading.
    pub title: String,
    /// Its text, as markup.
    pub html: String,
    /// The page after it.
    pub next: Option<SideLink>,
}

/// A chapter of the reference.
#[derive(Clone, Debug, Template)]
#[template(path = "docs_chapter.html")]
pub struct ChapterPage {
    /// The frame.
    pub layout: Layout,
    /// The navigation.
    pub side: Side,
    /// Its name.
    pub title: String,
    /// What it is about, as markup.
    pub about: String,
    /// Its operations, as [`Operations`] renders them.
    pub html: String,
    /// The chapter after it.
    pub next: Option<SideLink>,
}

/// The operations of a chapter.
#[derive(Clone, Debug, Template)]
#[template(path = "docs_operations.html")]
pub struct Operations {
    /// In the order of the documentation.
    pub operations: Vec<OperationView>,
}

/// One operation.
#[derive(Clone, Debug, Default)]
pub struct OperationView {
    /// Its stable name, which is its anchor.
    pub name: String,
    /// `GET`.
    pub method: String,
    /// `/api/v1/jobs/{id}`.
    pub path: String,
    /// Another address of it.
    pub also: Option<String>,
    /// What it does, in a few words.
    pub summary: String,
    /// More of that, as markup.
    pub about: String,
    /// Who may call it.
    pub access: String,
    /// Calling it needs a key.
    pub needs_key: bool,
    /// It can be repeated with an `Idempotency-Key`.
    pub repeatable: bool,
    /// It may spend credits.
    pub spends: bool,
    /// What its path, query and headers say.
    pub parameters: Vec<ParameterView>,
    /// The body it reads.
    pub body: Option<BodyView>,
    /// Its answers.
    pub answers: Vec<AnswerView>,
    /// The codes of its errors, with their status.
    pub errors: Vec<(u16, String)>,
    /// How it is called, in several languages: rendered [`Tabs`].
    pub samples: String,
    /// It can be tried in a browser.
    pub can_try: bool,
}

/// Something in a path, a query or a header.
#[derive(Clone, Debug, Default)]
pub struct ParameterView {
    /// `path`, `query` or `header`.
    pub place: String,
    /// What it is.
    pub field: FieldView,
    /// What a form is filled with.
    pub example: String,
    /// The words it may be, if it is one of a few.
    pub choices: Vec<String>,
}

impl OperationView {
    fn has_parameters(&self) -> bool {
        self.parameters.iter().any(|parameter| !parameter.is_usual())
    }
}

/// A body that is read.
#[derive(Clone, Debug, Default)]
pub struct BodyView {
    /// Its media type.
    pub media: String,
    /// Its fields.
    pub fields: Vec<FieldView>,
    /// One that works, as text.
    pub example: String,
}

/// An answer.
#[derive(Clone, Debug, Default)]
pub struct AnswerView {
    /// Its status.
    pub status: String,
    /// When it is given, as markup.
    pub about: String,
    /// Its media type, if it has a body.
    pub media: String,
    /// Its fields.
    pub fields: Vec<FieldView>,
}

impl ParameterView {
    /// Every operation that can be repeated has this one; it is told once for all.
    fn is_usual(&self) -> bool {
        self.field.name == "Idempotency-Key"
    }
}

/// One field of a body, a parameter, or a value in a list.
#[derive(Clone, Debug, Default)]
pub struct FieldView {
    /// What stands before its name: `data.usage.`.
    pub within: String,
    /// Its own name.
    pub name: String,
    /// What it may be: `text`, `whole number or null`.
    pub kind: String,
    /// It must be there.
    pub required: bool,
    /// What it means, as markup.
    pub about: String,
    /// Its limits: `at most 100`.
    pub limits: Vec<String>,
}

/// The table of all error codes, for the guide about errors.
#[derive(Clone, Debug, Template)]
#[template(path = "docs_errors.html")]
pub struct ErrorTable {
    /// In the order of their status.
    pub codes: Vec<CodeView>,
}

/// One error code.
#[derive(Clone, Debug, Default)]
pub struct CodeView {
    /// The code, which is its anchor.
    pub code: String,
    /// The HTTP statuses it comes with.
    pub status: String,
    /// What it means, as markup.
    pub cause: String,
    /// What to do, as markup.
    pub cure: String,
    /// Further fields of the answer, and what they mean as markup.
    pub more: Vec<(String, String)>,
}
