//! What OpenAI's clients send and get, for the document of the API. What is sent may have other fields too: they go to the Island
//! as they came, or are left alone. The handlers read and write these by hand.
#![expect(dead_code, reason = "read by the OpenAPI document only")]

use schemars::JsonSchema;
use serde_json::{Map, Value};
use types::id::JobId;

use crate::api::job_shapes::UsageBody;
use crate::api::words::{Bid, Trust};
use crate::error::ErrorObject;
use crate::jobs::message::ToolCall;

/// What all of these requests may say about their job.
#[derive(JsonSchema)]
pub struct Terms {
    /// Which Cargo: its slug, `default` for the first that fits, or one of the models that `GET /v1/models` lists.
    #[schemars(length(max = 265))]
    model: Option<String>,
    /// The most the request may cost, in credits. The header `X-Bid-Price` says the same.
    #[schemars(with = "Option<Bid>")]
    bid_price: Option<Value>,
    /// The same as `bid_price`.
    #[schemars(with = "Option<Bid>")]
    max_price: Option<Value>,
    /// Where the Island must stand.
    #[schemars(length(min = 1, max = 64))]
    region: Option<String>,
    /// How far the Island must be trusted.
    #[schemars(with = "Option<Trust>")]
    min_trust: Option<String>,
}

/// A chat to be completed.
#[derive(JsonSchema)]
pub struct ChatRequest {
    /// The conversation so far.
    #[schemars(length(min = 1, max = 128))]
    messages: Vec<ChatMessage>,
    /// Whether the answer comes piece by piece.
    stream: Option<bool>,
    /// How it is streamed.
    stream_options: Option<StreamOptions>,
    /// Most tokens of the answer.
    #[schemars(range(min = 1, max = 4096))]
    max_tokens: Option<i64>,
    /// The same by its newer name.
    #[schemars(range(min = 0, max = 4096))]
    max_completion_tokens: Option<i64>,
    /// How freely the model chooses its words.
    #[schemars(range(min = 0, max = 2))]
    temperature: Option<f64>,
    /// From how many of the likely words it chooses.
    #[schemars(range(min = 0, max = 1))]
    top_p: Option<f64>,
    /// Tools that the model may call.
    #[schemars(length(min = 1, max = 128))]
    tools: Option<Vec<Tool>>,
    /// Whether it must call one: `auto`, `none`, `required`, or an object that names a function.
    #[schemars(with = "Option<ToolChoice>")]
    tool_choice: Option<Value>,
    /// Whether it may call several at once.
    parallel_tool_calls: Option<bool>,
    /// Whether the answer is to be JSON, and of which form.
    response_format: Option<AnswerForm>,
    #[serde(flatten)]
    terms: Terms,
}

/// A function that the model may call.
#[derive(JsonSchema)]
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
struct ToolFunction {
    /// Its name.
    #[schemars(length(min = 1, max = 64))]
    name: String,
    /// What it does.
    description: Option<String>,
    /// What it takes, as a JSON schema.
    parameters: Option<Map<String, Value>>,
}

/// `auto`, `none`, `required`, or an object that names a function.
#[derive(JsonSchema)]
#[serde(untagged)]
enum ToolChoice {
    /// A word.
    Word(String),
    /// A function by its name.
    Named(Map<String, Value>),
}

/// The form of an answer.
#[derive(JsonSchema)]
struct AnswerForm {
    /// `text`, `json_object` or `json_schema`.
    #[serde(rename = "type")]
    #[schemars(regex(pattern = "^(text|json_object|json_schema)$"))]
    kind: String,
    /// With `json_schema`: its name, and the schema itself.
    json_schema: Option<Map<String, Value>>,
}

/// How a completion is streamed.
#[derive(JsonSchema)]
struct StreamOptions {
    /// Whether the last piece says what was used.
    include_usage: Option<bool>,
}

/// A message of a conversation.
#[derive(JsonSchema)]
struct ChatMessage {
    /// Who says it: `system`, `user`, `assistant` or `tool`.
    role: String,
    /// What: a text, or parts of one.
    #[schemars(with = "Option<ChatContent>")]
    content: Option<Value>,
    /// What tools an assistant called.
    #[schemars(length(max = 128))]
    tool_calls: Option<Vec<Map<String, Value>>>,
    /// Which call a message of a tool answers.
    tool_call_id: Option<String>,
}

/// A text, or parts of one.
#[derive(JsonSchema)]
#[serde(untagged)]
enum ChatContent {
    /// A text.
    Text(String),
    /// Parts, such as `{"type": "text", "text": …}`.
    Parts(Vec<Map<String, Value>>),
}

/// A completed chat.
#[derive(JsonSchema)]
pub struct ChatCompletion {
    /// Its name: `chatcmpl-` and the job.
    id: String,
    /// `chat.completion`.
    object: String,
    /// When it was asked for, in seconds since 1970.
    created: i64,
    /// The Cargo that answered.
    model: String,
    /// One.
    choices: Vec<ChatChoice>,
    /// What it used and cost.
    usage: UsageBody,
}

/// An answer.
#[derive(JsonSchema)]
struct ChatChoice {
    /// 0.
    index: i64,
    /// The answer.
    message: ChatAnswer,
    /// Null.
    logprobs: Option<Value>,
    /// Why it ended: `stop`, `length`, `tool_calls` or what else the model says.
    finish_reason: String,
}

/// A message of the model.
#[derive(JsonSchema)]
struct ChatAnswer {
    /// `assistant`.
    role: String,
    /// What it says; null if it only calls tools.
    content: Option<String>,
    /// Why it does not answer.
    refusal: Option<String>,
    /// Which tools it calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<Vec<ToolCall>>,
    /// How it came to its answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<String>,
}

/// A piece of a streamed completion, or why it broke off. The last line is `data: [DONE]`.
#[derive(JsonSchema)]
#[serde(untagged)]
pub enum ChatEvent {
    /// A piece.
    Chunk(ChatChunk),
    /// Why it broke off.
    Error(ChatError),
}

/// Why a streamed completion broke off.
#[derive(JsonSchema)]
pub struct ChatError {
    /// What went wrong.
    error: ErrorObject,
}

/// A piece of a streamed completion.
#[derive(JsonSchema)]
pub struct ChatChunk {
    /// Its name: `chatcmpl-` and the job.
    id: String,
    /// `chat.completion.chunk`.
    object: String,
    /// When it was asked for, in seconds since 1970.
    created: i64,
    /// The Cargo that answers.
    model: String,
    /// One, or none in the piece that says what was used.
    choices: Vec<ChatDelta>,
    /// What it used and cost, in the last piece.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<UsageBody>,
}

/// A piece of an answer.
#[derive(JsonSchema)]
struct ChatDelta {
    /// 0.
    index: i64,
    /// What is new: `role`, `content`, `tool_calls`, …
    delta: Map<String, Value>,
    /// Null.
    logprobs: Option<Value>,
    /// Why it ended, in the last piece.
    finish_reason: Option<String>,
}

/// An image to be made.
#[derive(JsonSchema)]
pub struct ImageRequest {
    /// What it shows.
    #[schemars(length(min = 1))]
    prompt: String,
    /// How many: 1.
    #[schemars(range(min = 1, max = 1))]
    n: Option<i64>,
    /// Width and height in pixels, such as `1024x1024`, or `auto`.
    size: Option<String>,
    /// `b64_json`.
    response_format: Option<String>,
    /// What it shall not show.
    negative_prompt: Option<String>,
    /// How many steps the model makes.
    steps: Option<i64>,
    /// The same number gives the same image.
    seed: Option<i64>,
    /// How closely the model keeps to the prompt.
    guidance_scale: Option<f64>,
    #[serde(flatten)]
    terms: Terms,
}

/// Images that were made.
#[derive(JsonSchema)]
pub struct ImagesAnswer {
    /// When they were asked for, in seconds since 1970.
    created: i64,
    /// One.
    data: Vec<ImageData>,
    /// `png` or another.
    output_format: String,
    /// Width and height in pixels.
    size: String,
    /// The job that made it.
    job_id: JobId,
    /// What it used and cost.
    usage: UsageBody,
}

/// An image.
#[derive(JsonSchema)]
struct ImageData {
    /// Its bytes, in base64.
    b64_json: String,
    /// Null: prompts are not rewritten.
    revised_prompt: Option<String>,
}

/// Texts to be turned into vectors.
#[derive(JsonSchema)]
pub struct EmbeddingRequest {
    /// A text, or several.
    input: EmbeddingInput,
    /// `float` or `base64`.
    encoding_format: Option<String>,
    /// How long the vectors shall be, if the model can do that.
    #[schemars(range(min = 1))]
    dimensions: Option<i64>,
    #[serde(flatten)]
    terms: Terms,
}

/// A text, or several.
#[derive(JsonSchema)]
#[serde(untagged)]
enum EmbeddingInput {
    /// One.
    Text(String),
    /// Several.
    Texts(Vec<String>),
}

/// Vectors of texts.
#[derive(JsonSchema)]
pub struct Embeddings {
    /// `list`.
    object: String,
    /// One for each text, in order.
    data: Vec<Embedding>,
    /// The Cargo that answered.
    model: String,
    /// The job that made them.
    job_id: JobId,
    /// What it used and cost.
    usage: UsageBody,
}

/// The vector of a text.
#[derive(JsonSchema)]
struct Embedding {
    /// `embedding`.
    object: String,
    /// Which text, from 0.
    index: usize,
    /// The numbers, or in base64 as 32-bit floats, little-endian.
    embedding: EmbeddingVector,
}

/// A vector.
#[derive(JsonSchema)]
#[serde(untagged)]
enum EmbeddingVector {
    /// As numbers.
    Numbers(Vec<f64>),
    /// In base64.
    Packed(String),
}

/// All models.
#[derive(JsonSchema)]
pub struct ModelList {
    /// `list`.
    object: String,
    /// The Cargos, and behind a slash the models that Islands serve them with now.
    data: Vec<Model>,
}

/// A model.
#[derive(JsonSchema)]
pub struct Model {
    /// What to send as `model`.
    id: String,
    /// `model`.
    object: String,
    /// A moment in the past, in seconds since 1970; clients want one.
    created: i64,
    /// Whose it is.
    owned_by: String,
}
