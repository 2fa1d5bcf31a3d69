//! Usage as one file, a line for each job that has ended, however many: read and written page by page, as statements are
//! (`credits::export`). Each page is one short read of so many jobs, whatever the filter leaves of them.

use std::time::Duration;

use db::DbError;
use serde::Serialize;
use types::id::{ApiKeyId, Id, IslandId, JobId, UserId};
use types::money::MicroCredits;
use types::time::Timestamp;
use types::units::Units;

use super::{Names, names_of, store};
use crate::app::App;
use crate::credits::export::{Format, write_text};
use crate::jobs::Usage;

/// Jobs looked at in one read.
const PAGE: u32 = 500;
/// How long to wait before a page is tried again that a busy database refused.
const PAUSES: [Duration; 3] = [Duration::from_millis(50), Duration::from_millis(250), Duration::from_secs(1)];

/// A job that has ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Which one.
    pub job: JobId,
    /// When it ended.
    pub at: Timestamp,
    /// The Cargo's number.
    pub workload: i64,
    /// The key it came with; nothing if it was asked for on a page.
    pub key: Option<ApiKeyId>,
    /// The last Island tried.
    pub island: Option<IslandId>,
    /// That Island's name.
    pub island_name: Option<String>,
    /// How much of the Cargo was charged for.
    pub units: Units,
    /// Tokens.
    pub usage: Usage,
    /// The most it might have cost.
    pub bid: MicroCredits,
    /// What it cost.
    pub charge: MicroCredits,
    /// How it ended.
    pub status: String,
    /// Why it failed.
    pub error_code: Option<String>,
}

/// Which jobs a file is of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter {
    /// Ended at or after this.
    pub from: Option<Timestamp>,
    /// Ended before this.
    pub to: Option<Timestamp>,
    /// Of this Cargo.
    pub workload: Option<i64>,
    /// With this key; 0 stands for pages.
    pub key: Option<i64>,
    /// On this Island.
    pub island: Option<IslandId>,
}

/// Why a file is broken off.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The program stops.
    #[error("the server is restarting")]
    Stopping,
}

/// A file that is being written.
#[derive(Debug)]
pub struct Export {
    user: UserId,
    filter: Filter,
    format: Format,
    names: Option<Names>,
    /// Jobs before this one come next; nothing after the last.
    before: Option<JobId>,
    empty: bool,
}

/// A line as programs read it.
#[derive(Serialize)]
struct Entry<'a> {
    job_id: JobId,
    at: Timestamp,
    workload: Option<&'a str>,
    workload_name: Option<&'a str>,
    key_id: Option<ApiKeyId>,
    key_name: Option<&'a str>,
    host_id: Option<IslandId>,
    host_name: Option<&'a str>,
    status: &'a str,
    error_code: Option<&'a str>,
    units: Units,
    prompt_tokens: Option<i64>,
    completion_tokens: Option<i64>,
    bid: MicroCredits,
    credits: MicroCredits,
    credits_micros: i64,
}

const HEADER: &str = "at,workload,workload_name,key_name,host_name,status,error_code,units,prompt_tokens,\
completion_tokens,bid,credits,credits_micros,job_id,key_id,host_id\r\n";

impl Filter {
    fn wants(&self, job: &Ended) -> bool {
        self.from.is_none_or(|from| job.at >= from)
            && self.to.is_none_or(|to| job.at < to)
            && self.workload.is_none_or(|workload| job.workload == workload)
            && self.key.is_none_or(|key| job.key.map_or(0, ApiKeyId::get) == key)
            && self.island.is_none_or(|island| job.island == Some(island))
    }
}

impl<'a> Entry<'a> {
    fn new(job: &'a Ended, names: &'a Names) -> Self {
        let workload = names.workloads.get(&job.workload);
        Self {
            job_id: job.job,
            at: job.at,
            workload: workload.map(|(slug, _)| slug.as_str()),
            workload_name: workload.map(|(_, name)| name.as_str()),
            key_id: job.key,
            key_name: job.key.and_then(|key| names.keys.get(&key.get())).map(String::as_str),
            host_id: job.island,
            host_name: job.island_name.as_deref(),
            status: &job.status,
            error_code: job.error_code.as_deref(),
            units: job.units,
            prompt_tokens: job.usage.prompt_tokens,
            completion_tokens: job.usage.completion_tokens,
            bid: job.bid,
            credits: job.charge,
            credits_micros: job.charge.get(),
        }
    }

    fn write_csv(&self, out: &mut String) {
        let number = |number: Option<i64>| number.map(|number| number.to_string()).unwrap_or_default();
        out.push_str(&self.at.to_string());
        for text in [self.workload, self.workload_name, self.key_name, self.host_name] {
            out.push(',');
            write_text(out, text.unwrap_or_default());
        }
        let rest = [
            self.status.to_owned(),
            self.error_code.unwrap_or_default().to_owned(),
            serde_json::to_string(&self.units).unwrap_or_default(),
            number(self.prompt_tokens),
            number(self.completion_tokens),
            self.bid.to_string(),
            self.credits.to_string(),
            self.credits_micros.to_string(),
            self.job_id.to_string(),
            self.key_id.map(|key| key.to_string()).unwrap_or_default(),
            self.host_id.map(|host| host.to_string()).unwrap_or_default(),
        ];
        for text in rest {
            out.push(',');
            out.push_str(&text);
        }
        out.push_str("\r\n");
    }
}

impl Export {
    /// A file of the jobs of a user that a filter wants, newest first.
    #[must_use]
    pub fn new(user: UserId, filter: Filter, format: Format) -> Self {
        let before = Some(JobId::from_i64(i64::MAX));
        Self { user, filter, format, names: None, before, empty: true }
    }

    /// The next part of the file; nothing after its end.
    ///
    /// # Errors
    /// An [`ExportError`]; then there is no more of it.
    pub async fn part(&mut self, app: &App) -> Result<Option<String>, ExportError> {
        let mut text = String::new();
        if self.names.is_none() {
            self.names = Some(names_of(app, self.user, Vec::new()).await?);
            text.push_str(if self.format == Format::Csv { HEADER } else { "[" });
        }
        while text.is_empty() || (self.empty && self.before.is_some()) {
            let Some(before) = self.before.take() else { return Ok(None) };
            let page = self.read(app, before).await?;
            if page.len() == usize::try_from(PAGE).unwrap_or(usize::MAX) {
                self.before = page.last().map(|(id, _)| *id);
            }
            self.write(&page, &mut text);
            if self.before.is_none() && self.format == Format::Json {
                text.push_str(if self.empty { "]\n" } else { "\n]\n" });
            }
        }
        Ok(Some(text))
    }

    fn write(&mut self, page: &[(JobId, Option<Ended>)], text: &mut String) {
        let Some(names) = &self.names else { return };
        for job in page.iter().filter_map(|(_, job)| job.as_ref()).filter(|job| self.filter.wants(job)) {
            let entry = Entry::new(job, names);
            match self.format {
                Format::Csv => entry.write_csv(text),
                Format::Json => {
                    text.push_str(if self.empty { "\n" } else { ",\n" });
                    text.push_str(&serde_json::to_string(&entry).unwrap_or_default());
                }
            }
            self.empty = false;
        }
    }

    async fn read(&self, app: &App, before: JobId) -> Result<Vec<(JobId, Option<Ended>)>, ExportError> {
        let user = self.user;
        let mut pauses = PAUSES.into_iter();
        loop {
            if app.is_stopping() {
                return Err(ExportError::Stopping);
            }
            // One page at a time, of all the files that are being written.
            let turn = app.exports.acquire().await;
            let page = app
                .db
                .read("usage_export", async move |tx| store::jobs_before(tx, user, before, PAGE).await)
                .await;
            drop(turn);
            match page {
                Err(error) if error.is_transient() => match pauses.next() {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => return Err(error.into()),
                },
                page => return Ok(page?),
            }
        }
    }
}
