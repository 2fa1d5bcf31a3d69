//! The program in the test's own process, for what cannot be seen or done from outside.

use std::sync::Arc;

use db::OpenOptions;
use server::accounts::{NewUser, User, find_or_create};
use server::app::{App, CommitQueue, open_database};
use server::config::Config;
use server::telemetry::Metrics;
use server::{audit, identity, nodes};
use tempfile::TempDir;
use types::rng::SystemRandom;
use types::time::{Clock, SystemClock};

use super::database;

/// The program, not serving; the committer runs when [`Inside::commit`] was called.
pub struct Inside {
    pub app: Arc<App>,
    queue: Option<CommitQueue>,
    _folder: TempDir,
}

impl Inside {
    pub async fn open(options: OpenOptions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = database::fresh(folder.path());
        Self::on(database, folder, options).await
    }

    /// Another coordinator on the same database.
    pub async fn beside(&self) -> Self {
        let database = self.app.config.database.url.clone();
        Self::on(database, tempfile::tempdir().unwrap(), OpenOptions::server()).await
    }

    async fn on(database: String, folder: TempDir, options: OpenOptions) -> Self {
        let mut config = Config::load(None, []).unwrap();
        config.data_dir = folder.path().to_path_buf();
        config.database.url = database;
        let db = open_database(&config, options).await.unwrap();
        let now = SystemClock.now();
        let claim = nodes::claim(&db, &config, &SystemRandom, now).await.unwrap();
        let (app, queue) = App::build(config, db, claim, false, Metrics::detached()).await.unwrap();
        Self { app, queue: Some(queue), _folder: folder }
    }

    /// Lets the committer run.
    pub fn commit(&mut self) {
        tokio::spawn(server::jobs::commit::run(Arc::clone(&self.app), self.queue.take().unwrap()));
    }

    /// A verified user.
    pub async fn user(&self, name: &str) -> User {
        let user = self.newcomer(name).await;
        self.verify(&user).await;
        user
    }

    /// A user who is not verified.
    pub async fn newcomer(&self, name: &str) -> User {
        let (email, new) = (format!("{name}@example.org"), NewUser::new(&self.app.ids, self.app.clock.now()));
        self.app.db.tx("user", async move |tx| find_or_create(tx, &email, new).await).await.unwrap()
    }

    /// Verifies a user by the operator's word.
    pub async fn verify(&self, user: &User) {
        let now = self.app.clock.now();
        let (user, id) = (user.id, self.app.ids.next(now));
        let verify = async move |tx: &mut db::Tx<'_>| identity::verify_by_operator(tx, user, id, now).await;
        self.app.db.tx("verify", verify).await.unwrap();
    }

    /// What must hold at the end of every test.
    pub async fn finish(self) {
        assert_eq!(audit::run(&self.app.db, Arc::new(|_: &str| {})).await.unwrap(), []);
    }
}
