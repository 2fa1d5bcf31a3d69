//! Connections: where to, how they are set up, and what they leave behind when they break.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Config, NoTls, Statement};

use super::copy::Copy;
use super::errors::with_causes;
use super::tls::{Tls, Wanted};
use crate::DbError;

/// How long one attempt to connect may take.
const CONNECT: Duration = Duration::from_secs(3);
/// When a silent peer is looked after, and when one that does not acknowledge what it was sent counts as gone.
const KEEPALIVE: Duration = Duration::from_secs(15);
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);
/// Most statements kept prepared on a connection, of each kind.
const STATEMENT_CACHE: usize = 256;

/// What every connection is told. Why each:
/// * `synchronous_commit`: nothing may be acknowledged before it is on disk; a server's own stricter setting stays.
/// * `lock_timeout`: a writer that waits longer for another process says that the database is busy, as with `SQLite`.
/// * `jit`: compiling a query takes longer than any query of ours.
/// * `client_min_messages`: notices are nobody's business.
const SETTINGS: &str = "
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';
    SET lock_timeout = '5s';
    SET jit = off;
    SET client_min_messages = warning;
";

/// What a writer is told besides.
/// * Joins: a writer looks rows up by their keys. A plan made while a table was small must not read all of it once
///   it is large.
/// * `idle_in_transaction_session_timeout`: a process that hangs must not keep the others from writing.
const WRITER_SETTINGS: &str = "
    SET enable_hashjoin = off;
    SET enable_mergejoin = off;
    SET enable_seqscan = off;
    SET plan_cache_mode = force_generic_plan;
    SET statement_timeout = '30s';
    SET idle_in_transaction_session_timeout = '10s';
";

/// What a reader is told besides: the audit may read for minutes, but a snapshot held for ever keeps the server from tidying up.
const READER_SETTINGS: &str = "
    SET statement_timeout = '15min';
    SET idle_in_transaction_session_timeout = '60s';
";

/// Ends a connection that broke while it was in a transaction, if the server has not noticed yet: it would keep everybody
/// from writing. One that is doing something is left to finish it.
const END_PREDECESSOR: &str = "
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE pid = $1 AND backend_start::text = $2 AND state LIKE 'idle in transaction%'";

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Writer,
    Reader,
}

/// Where to connect.
#[derive(Clone, Debug)]
pub struct Target {
    config: Config,
    pub role: Role,
    tls: Option<Tls>,
}

/// A server's process for one connection. Numbers are used again, so the moment belongs to it.
#[derive(Clone, Debug)]
pub struct Backend {
    pid: i32,
    since: String,
}

/// An open connection.
pub struct Link {
    pub client: Arc<Client>,
    pub backend: Backend,
    pub statements: Cache<Statement>,
    pub vectors: Cache<Prepared>,
    driver: JoinHandle<()>,
}

/// A statement over arrays.
#[derive(Clone)]
pub struct Prepared {
    /// What its arrays are made of.
    pub types: Arc<[Type]>,
    pub statement: Statement,
    /// Whether it answers rows.
    pub answers: bool,
    /// The same for many rows, if they are only inserted.
    pub copy: Option<Copy>,
}

impl Target {
    /// What `url` says.
    pub fn parse(url: &str, role: Role) -> Result<Self, DbError> {
        let Wanted { url, roots } = Wanted::parse(url)?;
        let mut config: Config = url.parse().map_err(|error| {
            DbError::Other(format!("the database's URL is wrong: {}", with_causes(&error)))
        })?;
        let tls = match config.get_ssl_mode() {
            SslMode::Require => Some(Tls::new(roots)?),
            _ => None,
        };
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        if config.get_application_name().is_none() {
            config.application_name(match role {
                Role::Writer => "archipelago writer",
                Role::Reader => "archipelago reader",
            });
        }
        config.keepalives_idle(KEEPALIVE).keepalives_interval(KEEPALIVE / 3).keepalives_retries(3);
        config.tcp_user_timeout(UNACKNOWLEDGED);
        Ok(Self { config, role, tls })
    }

    /// Connects and sets the connection up. `predecessor` is the one this one takes the place of.
    pub async fn connect(&self, predecessor: Option<&Backend>) -> Result<Link, tokio_postgres::Error> {
        // What drives the connection ends when the client is dropped, or with an error of which the client learns, too.
        let (client, driver) = match &self.tls {
            Some(tls) => {
                let (client, connection) = self.config.connect(tls.clone()).await?;
                (client, tokio::spawn(async { drop(connection.await) }))
            }
            None => {
                let (client, connection) = self.config.connect(NoTls).await?;
                (client, tokio::spawn(async { drop(connection.await) }))
            }
        };
        client.batch_execute(SETTINGS).await?;
        client
            .batch_execute(match self.role {
                Role::Writer => WRITER_SETTINGS,
                Role::Reader => READER_SETTINGS,
            })
            .await?;
        let sql = "SELECT pid, backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()";
        let row = client.query_one(sql, &[]).await?;
        let backend = Backend { pid: row.try_get(0)?, since: row.try_get(1)? };
        if let Some(Backend { pid, since }) = predecessor {
            // If that is not allowed, the server's own timeout ends it.
            let _ = client.query(END_PREDECESSOR, &[pid, since]).await;
        }
        Ok(Link {
            client: Arc::new(client),
            backend,
            statements: Cache::default(),
            vectors: Cache::default(),
            driver,
        })
    }
}

impl Link {
    /// Says goodbye, so that the server need not find out.
    pub async fn close(self) {
        let Self { client, driver, statements, vectors, .. } = self;
        drop((statements, vectors, client));
        let _ = tokio::time::timeout(Duration::from_millis(200), driver).await;
    }
}

/// What was prepared, by its SQL; what was used longest ago makes room.
pub struct Cache<T> {
    entries: HashMap<String, (u64, T)>,
    uses: u64,
}

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self { entries: HashMap::new(), uses: 0 }
    }
}

impl<T: Clone> Cache<T> {
    pub fn get(&mut self, sql: &str) -> Option<T> {
        self.uses += 1;
        let (used, value) = self.entries.get_mut(sql)?;
        *used = self.uses;
        Some(value.clone())
    }

    pub fn put(&mut self, sql: &str, value: T) {
        if self.entries.len() >= STATEMENT_CACHE {
            let oldest = self.entries.iter().min_by_key(|(_, (used, _))| *used).map(|(sql, _)| sql.clone());
            oldest.map(|sql| self.entries.remove(&sql));
        }
        self.entries.insert(sql.to_owned(), (self.uses, value));
    }
}

#[cfg(test)]
mod tests {
    use super::{Cache, Role, STATEMENT_CACHE, Target};

    #[test]
    fn a_cache_forgets_what_was_used_longest_ago() {
        let mut cache = Cache::default();
        for number in 0..STATEMENT_CACHE {
            cache.get("nothing");
            cache.put(&number.to_string(), number);
        }
        assert_eq!(cache.get("0"), Some(0));
        cache.put("more", 7);
        assert_eq!(cache.entries.len(), STATEMENT_CACHE);
        assert_eq!((cache.get("0"), cache.get("1"), cache.get("more")), (Some(0), None, Some(7)));
    }

    #[test]
    fn a_wrong_url_is_explained_without_its_password() {
        for url in [
            "postgres://u:secret@h/d?sslmode=require&sslrootcert=/nowhere/root.pem",
            "postgres://u:secret@h/d?sslmode=verify-ca",
            "postgres://u:secret@h:port/d",
            "postgres://u:secret@h/d?x=1",
        ] {
            let error = Target::parse(url, Role::Writer).unwrap_err().to_string();
            assert!(!error.contains("secret") && error.len() > 20, "{error}");
        }
    }
}
