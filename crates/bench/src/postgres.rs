//! A PostgreSQL server for measurements: one that was given, or one of our own.

use std::cell::RefCell;

use pg_temp::PgTemp;
use tokio_postgres::NoTls;

use crate::{Result, note};

/// A server, and the databases made on it.
#[derive(Debug)]
pub struct Server {
    /// Leads to any database that is always there.
    admin: String,
    made: RefCell<Vec<String>>,
    /// Our own, which ends when this is dropped.
    own: Option<PgTemp>,
}

impl Server {
    /// The server at `given`, or a new one with default settings.
    pub fn start(given: Option<&str>) -> Result<Self> {
        let (admin, own) = match given {
            Some(given) => (given.to_owned(), None),
            None => {
                note("starting PostgreSQL");
                let own = PgTemp::start()?;
                (own.socket_url("postgres"), Some(own))
            }
        };
        Ok(Self { admin, made: RefCell::default(), own })
    }

    /// Whether its processes can be looked at from here.
    pub const fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// Makes an empty database whose name begins with `name`; answers its URL.
    pub async fn create(&self, name: &str) -> Result<String> {
        let number = self.made.borrow().len();
        let name = format!("bench_{name}_{}_{number}", std::process::id());
        self.run(&format!("CREATE DATABASE {name}")).await?;
        let url = with_database(&self.admin, &name);
        self.made.borrow_mut().push(name);
        Ok(url)
    }

    /// Removes all databases that were made.
    pub async fn drop_all(&self) -> Result<()> {
        let made = self.made.take();
        for name in &made {
            self.run(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await?;
        }
        Ok(())
    }

    async fn run(&self, sql: &str) -> Result<()> {
        let (client, connection) = tokio_postgres::connect(&self.admin, NoTls).await?;
        let traffic = tokio::task::spawn_local(connection);
        client.batch_execute(sql).await?;
        drop(client);
        Ok(traffic.await??)
    }
}

/// The URL of another database on the same server.
fn with_database(url: &str, name: &str) -> String {
    let (rest, options) = url.split_once('?').map_or((url, None), |(rest, options)| (rest, Some(options)));
    let host = rest.find("://").map_or(0, |scheme| scheme + 3);
    let server = rest[host..].find('/').map_or(rest, |slash| &rest[..host + slash]);
    match options {
        Some(options) => format!("{server}/{name}?{options}"),
        None => format!("{server}/{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_other_databases() {
        let cases = [
            ("postgres://u:p@host:5433/postgres", "postgres://u:p@host:5433/x"),
            ("postgres://host", "postgres://host/x"),
            ("postgresql:///postgres?host=/tmp/a&user=b", "postgresql:///x?host=/tmp/a&user=b"),
        ];
        for (url, expected) in cases {
            assert_eq!(with_database(url, "x"), expected);
        }
    }
}
