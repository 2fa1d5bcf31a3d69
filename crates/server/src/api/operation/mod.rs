//! One operation of the API, said once: the router, the check of who may call it, the OpenAPI document and the tests of every
//! route are all made from this. So there is no route that is not described, none that nobody guards, and no description of
//! what is not there. Each file of `api` lists its own with `operations()`.

pub mod document;
pub mod failures;
mod guard;

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, MethodRouter, on};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::Value;

pub use guard::Repeatable;

use crate::app::App;

/// One operation.
#[derive(Clone)]
pub struct Operation {
    /// How it is called.
    pub method: Method,
    /// Where, below its bases, with `{parameters}`.
    pub path: &'static str,
    /// Under which prefixes.
    pub bases: &'static [&'static str],
    /// Its stable name: `operationId`.
    pub name: &'static str,
    /// What it does, in a few words.
    pub summary: &'static str,
    /// More of that: Markdown.
    pub description: &'static str,
    /// The chapter of the documentation it stands in.
    pub tag: &'static str,
    /// Who may call it.
    pub access: Access,
    /// How its calls are counted.
    pub pace: Pace,
    /// What becomes of a call that is repeated with the same `Idempotency-Key`.
    pub repeat: Repeat,
    /// What the path and the query say.
    pub parameters: Vec<Parameter>,
    /// The body it reads.
    pub body: Option<Shape>,
    /// Its answers.
    pub answers: Vec<Answers>,
    /// The codes of the errors it may answer with, besides those that every operation of its kind may.
    pub errors: Vec<&'static str>,
    handler: MethodRouter<Arc<App>>,
}

/// Who may call an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody.
    Public,
    /// A key with the scope `read`.
    Read,
    /// A key with the scope `write`: it may spend.
    Write,
    /// A key that may manage keys, webhooks and Islands; it need not be able to spend.
    Manage,
    /// An Island, with its token; the handler looks at that.
    Island,
    /// A provider, by the signature of what it sends; the handler looks at that.
    Signed,
}

/// How calls are counted against the limit of requests per minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Each counts.
    Usual,
    /// Looking after one's jobs: the helpers of existing clients ask each second, so ten times as many are allowed, apart.
    Polling,
}

/// What becomes of a repeated call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// It changes nothing (or is public), so it is simply answered again.
    Plain,
    /// The first answer is given again.
    Answer,
    /// The first answer is given again, and lies sealed in the database because it shows a secret.
    Sealed,
    /// The answer is how the job ends that the first call made.
    Job,
}

/// Something in the path or the query.
#[derive(Clone)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// `path`, `query` or `header`.
    pub place: &'static str,
    /// What it means, with its unit and default.
    pub description: &'static str,
    /// What it may be.
    pub schema: fn(&mut SchemaGenerator) -> Schema,
}

/// The shape of a body.
#[derive(Clone)]
pub struct Shape {
    /// Its media type.
    pub media: &'static str,
    /// What it looks like.
    pub schema: fn(&mut SchemaGenerator) -> Schema,
    /// One that works.
    pub example: Option<Value>,
}

/// An answer that is no error.
#[derive(Clone)]
pub struct Answers {
    /// The status.
    pub status: u16,
    /// When it is given.
    pub description: &'static str,
    /// What it looks like; nothing if it has no body.
    pub shape: Option<Shape>,
}

/// The fields that a body may have.
#[derive(Clone, Debug)]
pub struct Known(pub Arc<[String]>);

const BELOW_API: &[&str] = &["/api/v1"];
/// Where OpenAI's clients look, and where the rest of our API is.
const OPENAI: &[&str] = &["/v1", "/api/v1"];
const AT_ROOT: &[&str] = &[""];

impl Operation {
    /// An operation with its handler. Reading asks for the scope `read`, anything else for `write`, and is repeatable.
    pub fn new<H, T>(method: Method, path: &'static str, name: &'static str, handler: H) -> Self
    where
        H: Handler<T, Arc<App>>,
        T: 'static,
    {
        let reads = method == Method::GET;
        let filter = MethodFilter::try_from(method.clone()).unwrap_or(MethodFilter::GET);
        Self {
            method,
            path,
            bases: BELOW_API,
            name,
            summary: "",
            description: "",
            tag: "",
            access: if reads { Access::Read } else { Access::Write },
            pace: Pace::Usual,
            repeat: if reads { Repeat::Plain } else { Repeat::Answer },
            parameters: Vec::new(),
            body: None,
            answers: Vec::new(),
            errors: Vec::new(),
            handler: on(filter, handler),
        }
    }

    /// Something to look at.
    pub fn get<H: Handler<T, Arc<App>>, T: 'static>(
        path: &'static str,
        name: &'static str,
        handler: H,
    ) -> Self {
        Self::new(Method::GET, path, name, handler)
    }

    /// Something to make or do.
    pub fn post<H: Handler<T, Arc<App>>, T: 'static>(
        path: &'static str,
        name: &'static str,
        handler: H,
    ) -> Self {
        Self::new(Method::POST, path, name, handler)
    }

    /// Something to set.
    pub fn put<H: Handler<T, Arc<App>>, T: 'static>(
        path: &'static str,
        name: &'static str,
        handler: H,
    ) -> Self {
        Self::new(Method::PUT, path, name, handler)
    }

    /// Something to change.
    pub fn patch<H: Handler<T, Arc<App>>, T: 'static>(
        path: &'static str,
        name: &'static str,
        handler: H,
    ) -> Self {
        Self::new(Method::PATCH, path, name, handler)
    }

    /// Something to end.
    pub fn delete<H: Handler<T, Arc<App>>, T: 'static>(
        path: &'static str,
        name: &'static str,
        handler: H,
    ) -> Self {
        Self::new(Method::DELETE, path, name, handler)
    }

    /// Whether it asks for an API key.
    #[must_use]
    pub const fn is_keyed(&self) -> bool {
        matches!(self.access, Access::Read | Access::Write | Access::Manage)
    }

    /// The fields that its body may have, if others shall be refused.
    #[must_use]
    pub fn known_fields(&self) -> Option<Known> {
        let body = self.body.as_ref()?;
        let mut generator = SchemaGenerator::default();
        let schema = (body.schema)(&mut generator);
        let definitions = generator.take_definitions(true);
        let schema = match schema.get("$ref").and_then(Value::as_str) {
            Some(name) => definitions.get(name.rsplit('/').next()?)?.clone(),
            None => schema.to_value(),
        };
        if schema.get("additionalProperties") != Some(&Value::Bool(false)) {
            return None;
        }
        Some(Known(schema.get("properties")?.as_object()?.keys().cloned().collect()))
    }

    /// Under `/v1` too.
    #[must_use]
    pub fn openai(self) -> Self {
        Self { bases: OPENAI, ..self }
    }

    /// Not below the API, but at the root.
    #[must_use]
    pub fn at_root(self) -> Self {
        Self { bases: AT_ROOT, ..self }
    }

    /// What it does, in a few words, and more of that in Markdown.
    #[must_use]
    pub fn says(self, summary: &'static str, description: &'static str) -> Self {
        Self { summary, description, ..self }
    }

    /// The chapter it stands in.
    #[must_use]
    pub fn tag(self, tag: &'static str) -> Self {
        Self { tag, ..self }
    }

    /// Who may call it.
    #[must_use]
    pub fn access(self, access: Access) -> Self {
        let repeat = match access {
            // There is nobody whose key it could be, or nothing that could happen twice.
            Access::Public | Access::Read | Access::Island | Access::Signed => Repeat::Plain,
            Access::Write | Access::Manage => self.repeat,
        };
        Self { access, repeat, ..self }
    }

    /// Asked again and again while a job runs.
    #[must_use]
    pub fn polling(self) -> Self {
        Self { pace: Pace::Polling, ..self }
    }

    /// What becomes of a repeated call.
    #[must_use]
    pub fn repeat(self, repeat: Repeat) -> Self {
        Self { repeat, ..self }
    }

    /// Something in the path.
    #[must_use]
    pub fn in_path<T: JsonSchema>(mut self, name: &'static str, description: &'static str) -> Self {
        self.parameters.push(Parameter { name, place: "path", description, schema: schema_of::<T> });
        self
    }

    /// Something in the query.
    #[must_use]
    pub fn query<T: JsonSchema>(mut self, name: &'static str, description: &'static str) -> Self {
        self.parameters.push(Parameter { name, place: "query", description, schema: schema_of::<T> });
        self
    }

    /// A header that is read.
    #[must_use]
    pub fn header<T: JsonSchema>(mut self, name: &'static str, description: &'static str) -> Self {
        self.parameters.push(Parameter { name, place: "header", description, schema: schema_of::<T> });
        self
    }

    /// The JSON it reads, with an example that works.
    #[must_use]
    pub fn body<T: JsonSchema>(self, example: Value) -> Self {
        let body = Shape { media: "application/json", schema: schema_of::<T>, example: Some(example) };
        Self { body: Some(body), ..self }
    }

    /// An answer in JSON.
    #[must_use]
    pub fn answers<T: JsonSchema>(self, status: u16, description: &'static str) -> Self {
        self.answers_as::<T>(status, "application/json", description)
    }

    /// An answer of another media type.
    #[must_use]
    pub fn answers_as<T: JsonSchema>(
        mut self,
        status: u16,
        media: &'static str,
        description: &'static str,
    ) -> Self {
        let shape = Some(Shape { media, schema: schema_of::<T>, example: None });
        self.answers.push(Answers { status, description, shape });
        self
    }

    /// An answer without a body: another protocol from then on.
    #[must_use]
    pub fn switches(mut self, description: &'static str) -> Self {
        self.answers.push(Answers { status: 101, description, shape: None });
        self
    }

    /// Errors that not every operation has, by code.
    #[must_use]
    pub fn errors(mut self, codes: &[&'static str]) -> Self {
        self.errors.extend(codes);
        self
    }
}

fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// The routes of these operations, each behind its guard.
pub fn router(app: &Arc<App>, operations: Vec<Operation>) -> Router<Arc<App>> {
    let mut router = Router::new();
    for operation in operations {
        let gate = guard::Gate {
            app: Arc::clone(app),
            access: operation.access,
            pace: operation.pace,
            repeat: operation.repeat,
            known: operation.known_fields(),
        };
        let guarded = operation.handler.layer(from_fn_with_state(gate, guard::guard));
        for base in operation.bases {
            router = router.route(&format!("{base}{}", operation.path), guarded.clone());
        }
    }
    router
}
