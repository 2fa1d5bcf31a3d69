//! `pg_temp`: a PostgreSQL server for tests that are not written in Rust. Prints the address of an empty database, and another for
//! each line it reads; ends, and takes the server with it, when there is nothing more to read.

use std::io::{BufRead, Write};
use std::process::ExitCode;

use pg_temp::{PgTemp, Settings};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // There is nobody else to tell.
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let server = PgTemp::start_with(&Settings { careless: true, ..Settings::default() })?;
    let mut output = std::io::stdout();
    let mut lines = std::io::stdin().lock().lines();
    loop {
        writeln!(output, "{}", server.fresh_database()?)?;
        output.flush()?;
        if lines.next().transpose()?.is_none() {
            return Ok(());
        }
    }
}
