//! The database of a test: a file in its folder, or one of its own on a PostgreSQL server that all tests share.
//! `ARCHIPELAGO_TEST_DATABASE` says which: `sqlite` (when it says nothing) or `postgres`.

use std::path::Path;

use pg_temp::PgTemp;

/// Whether tests run on PostgreSQL.
pub fn on_postgres() -> bool {
    match std::env::var("ARCHIPELAGO_TEST_DATABASE").as_deref() {
        Ok("postgres") => true,
        Ok("sqlite") | Err(_) => false,
        Ok(other) => panic!("ARCHIPELAGO_TEST_DATABASE is {other}; it must be sqlite or postgres"),
    }
}

/// The `database.url` of an empty database for a test with this data directory.
pub fn fresh(folder: &Path) -> String {
    if on_postgres() {
        return PgTemp::shared().unwrap().fresh_database().unwrap();
    }
    format!("sqlite:{}", folder.join("archipelago.db").display())
}
