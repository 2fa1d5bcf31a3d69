//! Encrypted connections, to a server with a certificate for `localhost`.

use std::path::PathBuf;

use db::{Db, DbError, OpenOptions};
use pg_temp::{PgTemp, Settings};

const KEY: &str = include_str!("tls/server.key");
const CERTIFICATE: &str = include_str!("tls/server.pem");

/// A server that can encrypt.
fn server() -> PgTemp {
    let server = PgTemp::start_with(&Settings { careless: true, ..Settings::default() }).unwrap();
    for (name, text) in [("server.key", KEY), ("server.crt", CERTIFICATE)] {
        // Only the server's own user may write there, and only it may read a key.
        let write = format!(
            "COPY (SELECT unnest(string_to_array('{text}', E'\\n'))) TO PROGRAM 'umask 077; cat > {name}'"
        );
        server.psql("postgres", &write).unwrap();
    }
    server.psql("postgres", "ALTER SYSTEM SET ssl = on").unwrap();
    server.stop().unwrap();
    server.start_again().unwrap();
    server
}

fn roots() -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/tls/root.pem");
    path.display().to_string().replace('/', "%2F")
}

async fn encrypted(url: &str) -> Result<bool, DbError> {
    let db = Db::open(url, OpenOptions::command()).await?;
    let ask = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let reader: bool = db.read("ssl", async |tx| tx.query_one(ask, &[]).await?.get(0)).await?;
    let writer: bool = db.tx("ssl", async |tx| tx.query_one(ask, &[]).await?.get(0)).await?;
    assert_eq!(reader, writer);
    Ok(writer)
}

#[tokio::test]
async fn a_server_that_proves_who_it_is_is_spoken_to_in_private() {
    let (server, roots) = (server(), roots());
    let at = |host: &str, settings: &str| {
        format!("postgres://postgres@{host}:{}/postgres{settings}", server.port())
    };
    for mode in ["require", "verify-full"] {
        let url = at("localhost", &format!("?sslmode={mode}&sslrootcert={roots}"));
        assert!(encrypted(&url).await.unwrap(), "{mode}");
    }
    assert!(!encrypted(&at("localhost", "?sslmode=disable")).await.unwrap());
    assert!(!encrypted(&at("localhost", "")).await.unwrap());
    // Not to the roots of this machine, and not for this name.
    for url in [
        at("localhost", "?sslmode=require"),
        at("127.0.0.1", &format!("?sslmode=require&sslrootcert={roots}")),
    ] {
        let error = encrypted(&url).await.unwrap_err().to_string();
        assert!(error.contains("certificate"), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_cannot_encrypt_is_not_spoken_to() {
    let url = PgTemp::shared().and_then(PgTemp::fresh_database).unwrap();
    let error = encrypted(&format!("{url}?sslmode=require&sslrootcert={}", roots())).await.unwrap_err();
    assert!(error.to_string().contains("TLS"), "{error}");
}
