//! What is sent and answered here, for the documentation. What is sent is read field by field: an Island may know more fields
//! than stand here, and they go to it as they come.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use types::id::JobId;
use types::money::MicroCredits;

use crate::jobs::message::ToolCall;
use crate::jobs::{Job, Usage};

/// A chat to be answered. Fields that do not stand here go to the Island's model as they come.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read by the OpenAPI document only; the handler reads the fields one by one")]
pub struct ChatRequest {
    /// The slug of a chat Cargo; behind a slash one of the models it is served with. `default` is the first chat Cargo.
    #[schemars(length(min = 1, max = 300))]
    model: Option<String>,
    /// The conversation so far.
    #[schemars(length(min = 1, max = 128))]
    messages: Vec<ChatMessage>,
    /// Whether the answer comes in pieces, as server-sent events.
    stream: Option<bool>,
    /// What a stream tells besides.
    stream_options: Option<StreamOptions>,
    /// The most tokens the answer may have.
    #[schemars(range(min = 0, max = 4096))]
    max_tokens: Option<i64>,
    /// The same by its newer name.
    #[schemars(range(min = 0, max = 4096))]
    max_completion_tokens: Option<i64>,
    /// How much chance there is in the answer.
    #[schemars(range(min = 0, max = 2))]
    temperature: Option<f64>,
    /// How much of the likely words the model chooses from.
    #[schemars(range(min = 0, max = 1))]
    top_p: Option<f64>,
    /// Tools that the model may call.
    #[schemars(length(min = 1, max = 128))]
    tools: Option<Vec<Tool>>,
    /// Whether it must call one: `auto`, `none`, `required`, or an object that names a function.
    #[schemars(with = "Option<Choice>")]
    tool_choice: Option<Value>,
    /// Whether it may call several at once.
    parallel_tool_calls: Option<bool>,
    /// Whether the answer is to be JSON, and of which form.
    response_format: Option<Form>,
    /// The most the whole request may cost, in credits: a number or a decimal string. The header `X-Bid-Price` says the same.
    #[schemars(with = "Option<Amount>")]
    bid_price: Option<Value>,
    /// The same by another name.
    #[schemars(with = "Option<Amount>")]
    max_price: Option<Value>,
    /// Where the Island must stand.
    #[schemars(length(min = 1, max = 64))]
    region: Option<String>,
}

/// An amount of credits: a number, or a decimal string.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "read by the OpenAPI document only")]
enum Amount {
    /// As a number.
    Number(f64),
    /// As text, which stays exact.
    Text(String),
}

/// `auto`, `none`, `required`, or an object that names a function.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "read by the OpenAPI document only")]
enum Choice {
    /// A word.
    Word(String),
    /// A function by its name.
    Named(serde_json::Map<String, Value>),
}

/// A message of a conversation.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read by the OpenAPI document only")]
struct ChatMessage {
    /// `system`, `developer`, `user`, `assistant` or `tool`.
    #[schemars(length(min = 1, max = 32))]
    role: String,
    /// What is said, at most 32 KiB. Null where an assistant only called tools.
    content: Option<Content>,
    /// What tools an assistant called.
    #[schemars(length(max = 128))]
    tool_calls: Option<Vec<serde_json::Map<String, Value>>>,
    /// Which call a message of a tool answers.
    tool_call_id: Option<String>,
}

/// What is said: text, or parts of it.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "read by the OpenAPI document only")]
enum Content {
    /// Text.
    Text(String),
    /// Parts, of the types `text` and `image_url`.
    Parts(Vec<serde_json::Map<String, Value>>),
}

/// What a stream tells besides.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read by the OpenAPI document only")]
struct StreamOptions {
    /// Usage and cost come in a chunk of their own at the end, without choices, instead of in the last one.
    include_usage: Option<bool>,
}

/// A function that the model may call.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read by the OpenAPI document only")]
struct Tool {
    /// `function`.
    #[serde(rename = "type")]
    #[schemars(regex(pattern = "^function$"))]
    kind: String,
    /// What it is called and what it takes.
    function: ToolFunction,
}

/// What a function is called and what it takes.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read by the OpenAPI document only")]
struct ToolFunction {
    /// Its name.
    #[schemars(length(min = 1, max = 64))]
    name: String,
    /// What it does.
    description: Option<String>,
    /// What it takes, as a JSON schema.
    parameters: Option<serde_json::Map<String, Value>>,
}

/// The form of an answer.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read by the OpenAPI document only")]
struct Form {
    /// `text`, `json_object` or `json_schema`.
    #[serde(rename = "type")]
    #[schemars(regex(pattern = "^(text|json_object|json_schema)$"))]
    kind: String,
    /// With `json_schema`: its name and the schema itself.
    json_schema: Option<serde_json::Map<String, Value>>,
}

/// Images to be made.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read by the OpenAPI document only")]
pub struct ImageRequest {
    /// The slug of an image Cargo; without it, or with `default`, the first.
    #[schemars(length(min = 1, max = 300))]
    model: Option<String>,
    /// What the picture shows, at most 8 KiB.
    #[schemars(length(min = 1, max = 8192))]
    prompt: String,
    /// Width and height in pixels, such as `1024x1024`, or `auto`.
    size: Option<String>,
    /// Always 1.
    #[schemars(range(min = 1, max = 1))]
    n: Option<i64>,
    /// Always `b64_json`.
    #[schemars(regex(pattern = "^b64_json$"))]
    response_format: Option<String>,
    /// What it must not show.
    negative_prompt: Option<String>,
    /// How many steps it takes.
    #[schemars(range(min = 1, max = 150))]
    steps: Option<i64>,
    /// What its chance begins with.
    seed: Option<u32>,
    /// The most it may cost, in credits. The header `X-Bid-Price` says the same.
    #[schemars(with = "Option<Amount>")]
    bid_price: Option<Value>,
}

/// Texts whose vectors are wanted.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read by the OpenAPI document only")]
pub struct EmbeddingRequest {
    /// The slug of a Cargo of vectors; without it, or with `default`, the first.
    #[schemars(length(min = 1, max = 300))]
    model: Option<String>,
    /// A text of at most 32 KiB, or up to 2,048 of them. Numbers of tokens are not taken.
    input: Texts,
    /// How many numbers each vector is to have, where the model leaves a choice.
    #[schemars(range(min = 1, max = 8192))]
    dimensions: Option<i64>,
    /// `float` (the default) or `base64`: little-endian numbers of 32 bits.
    #[schemars(regex(pattern = "^(float|base64)$"))]
    encoding_format: Option<String>,
    /// The most it may cost, in credits. The header `X-Bid-Price` says the same.
    #[schemars(with = "Option<Amount>")]
    bid_price: Option<Value>,
}

/// One text or several.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "read by the OpenAPI document only")]
enum Texts {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

/// What was used and what it cost.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct TokenUsage {
    /// Tokens of what was asked. Zero where nobody counted.
    pub prompt_tokens: i64,
    /// Tokens of the answer. Zero where nobody counted.
    pub completion_tokens: i64,
    /// Both together.
    pub total_tokens: i64,
    /// What it cost, in credits.
    pub credits_used: MicroCredits,
}

impl TokenUsage {
    /// What a job used. Token counts always, because clients read them without asking.
    pub fn of(job: &Job) -> Self {
        let Usage { prompt_tokens, completion_tokens } = job.usage;
        let (prompt_tokens, completion_tokens) = (prompt_tokens.unwrap_or(0), completion_tokens.unwrap_or(0));
        let total_tokens = prompt_tokens.saturating_add(completion_tokens);
        Self { prompt_tokens, completion_tokens, total_tokens, credits_used: job.charge }
    }
}

/// An answered chat.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ChatCompletion {
    /// `chatcmpl-` and the id of the job.
    pub id: String,
    /// `chat.completion`.
    pub object: &'static str,
    /// When the job came, in seconds since 1970.
    pub created: i64,
    /// The Cargo's slug.
    pub model: String,
    /// One.
    pub choices: Vec<ChatChoice>,
    /// What it used and cost.
    pub usage: TokenUsage,
}

/// An answer.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ChatChoice {
    /// 0.
    pub index: u32,
    /// What the model says.
    pub message: AssistantMessage,
    /// Always null.
    pub logprobs: Option<Value>,
    /// Why it ended: `stop`, `length`, `tool_calls`, …
    pub finish_reason: String,
}

/// What a model says.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct AssistantMessage {
    /// `assistant`.
    pub role: &'static str,
    /// The text. Null where the model only calls tools.
    pub content: Option<String>,
    /// Why it does not answer.
    pub refusal: Option<String>,
    /// Which tools it calls.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// How it came to its answer, where the Island's model tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
}

/// A piece of an answer, as the `data:` of one event. The last event is `data: [DONE]`.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read by the OpenAPI document only; chunks are written by hand")]
pub struct ChatCompletionChunk {
    /// `chatcmpl-` and the id of the job.
    id: String,
    /// `chat.completion.chunk`.
    object: String,
    /// When the job came, in seconds since 1970.
    created: i64,
    /// The Cargo's slug.
    model: String,
    /// One with `index`, `delta` and `finish_reason`; none in a chunk of usage.
    choices: Vec<serde_json::Map<String, Value>>,
    /// In the last chunk what it used and cost.
    usage: Option<TokenUsage>,
}

/// An image that was made.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ImageList {
    /// When the job came, in seconds since 1970.
    pub created: i64,
    /// One.
    pub data: Vec<ImageData>,
    /// `png`, `jpeg` or `webp`.
    pub output_format: String,
    /// Width and height in pixels.
    pub size: String,
    /// The job.
    pub job_id: JobId,
    /// What it cost.
    pub usage: TokenUsage,
}

/// An image.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ImageData {
    /// The file in base64.
    pub b64_json: String,
    /// Always null: what was asked for is what was drawn.
    pub revised_prompt: Option<String>,
}

/// Vectors of texts.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct EmbeddingList {
    /// `list`.
    pub object: &'static str,
    /// A vector for each text, in their order.
    pub data: Vec<Embedding>,
    /// The Cargo's slug.
    pub model: String,
    /// The job.
    pub job_id: JobId,
    /// What it used and cost.
    pub usage: TokenUsage,
}

/// The vector of a text.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Embedding {
    /// `embedding`.
    pub object: &'static str,
    /// Which of the texts, from 0.
    pub index: usize,
    /// Its numbers.
    pub embedding: Numbers,
}

/// Numbers as such, or packed.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Numbers {
    /// As such.
    Plain(Vec<f32>),
    /// Little-endian, of 32 bits, in base64.
    Packed(String),
}

/// All models.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ModelList {
    /// `list`.
    pub object: &'static str,
    /// The Cargos, each followed by the models that it is served with at present.
    pub data: Vec<Model>,
}

/// A model: a Cargo, or behind a slash a model that it is served with.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Model {
    /// What to send as `model`.
    pub id: String,
    /// `model`.
    pub object: &'static str,
    /// Always the same: Cargos have no age.
    pub created: i64,
    /// `archipelago`.
    pub owned_by: &'static str,
}
