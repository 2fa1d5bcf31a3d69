//! What the migrations make, learnt by running them in memory.

use std::sync::Arc;

use rusqlite::Connection;

use super::pages::Sum;
use crate::{DbError, MigrationSet, Row, Value, params, sqlite};

/// A table, and the statements a copy needs of it.
#[derive(Debug)]
pub struct Table {
    pub name: String,
    pub columns: Vec<String>,
    /// Which columns are its key.
    pub key: Vec<usize>,
    /// Whether its rows are never changed or deleted; a trigger sees to that.
    pub append_only: bool,
    /// What the migrations put into it.
    pub seed: Sum,
    /// The first page, with how many rows as its parameter.
    pub first: String,
    /// A further page: the key it comes after, then how many rows.
    pub next: String,
    /// Whether there is a row with a key.
    pub find: String,
    /// One row.
    pub insert: String,
}

/// Tables in the order in which they were made, so that each comes after those it refers to.
const TABLES: &str =
    "SELECT name FROM sqlite_schema WHERE type = 'table' AND substr(name, 1, 7) <> 'sqlite_' ORDER BY rowid";
const COLUMNS: &str = "SELECT name, pk FROM pragma_table_info($1) ORDER BY cid";
const APPEND_ONLY: &str = "SELECT 1 FROM sqlite_schema
    WHERE type = 'trigger' AND tbl_name = $1 AND upper(sql) LIKE '%BEFORE DELETE ON%'";

/// The tables that `sets` make.
pub fn of(sets: &[MigrationSet]) -> Result<Vec<Arc<Table>>, DbError> {
    let connection = Connection::open_in_memory()?;
    for migration in sets.iter().flat_map(|set| set.migrations) {
        sqlite::execute_script(&connection, migration.sqlite)?;
    }
    let names = sqlite::query(&connection, TABLES, &[])?;
    names.iter().map(|row| table(&connection, row.get(0)?).map(Arc::new)).collect()
}

/// A name as SQL has it.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn table(connection: &Connection, name: String) -> Result<Table, DbError> {
    let described = sqlite::query(connection, COLUMNS, &params![&name])?;
    let columns: Vec<String> = described.iter().map(|row| row.get(0)).collect::<Result<_, _>>()?;
    let places: Vec<i64> = described.iter().map(|row| row.get(1)).collect::<Result<_, _>>()?;
    let mut key: Vec<usize> = (0..places.len()).filter(|&column| places.get(column) > Some(&0)).collect();
    key.sort_by_key(|&column| places.get(column).copied());
    if key.is_empty() {
        return Err(DbError::Other(format!("the table {name} has no primary key, so it cannot be copied")));
    }
    let append_only = !sqlite::query(connection, APPEND_ONLY, &params![&name])?.is_empty();
    let mut table = Table {
        first: String::new(),
        next: String::new(),
        find: String::new(),
        insert: String::new(),
        name,
        columns,
        key,
        append_only,
        seed: Sum::default(),
    };
    table.write_statements();
    sqlite::query_each(connection, &format!("SELECT * FROM {}", quoted(&table.name)), &[], &mut |row| {
        table.seed.add(&row);
        true
    })?;
    Ok(table)
}

impl Table {
    fn write_statements(&mut self) {
        let name = quoted(&self.name);
        let columns = list(self.columns.iter().map(|column| quoted(column)));
        let key = list(self.key_names().map(|column| quoted(column)));
        let numbers = |count: usize| list((1..=count).map(|number| format!("${number}")));
        let (width, keys) = (self.columns.len(), self.key.len());
        let select = format!("SELECT {columns} FROM {name}");
        let found: Vec<String> = (1..)
            .zip(self.key_names())
            .map(|(number, column)| format!("{} = ${number}", quoted(column)))
            .collect();
        self.find = format!("SELECT 1 FROM {name} WHERE {}", found.join(" AND "));
        self.insert = format!("INSERT INTO {name} ({columns}) VALUES ({})", numbers(width));
        self.first = format!("{select} ORDER BY {key} LIMIT $1");
        self.next =
            format!("{select} WHERE ({key}) > ({}) ORDER BY {key} LIMIT ${}", numbers(keys), keys + 1);
    }

    fn key_names(&self) -> impl Iterator<Item = &String> {
        self.key.iter().filter_map(|&column| self.columns.get(column))
    }

    /// The key of a row.
    pub fn key_of<'r>(&self, row: &'r Row) -> impl Iterator<Item = &'r Value> {
        self.key.iter().filter_map(|&column| row.0.get(column))
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::{of, quoted};
    use crate::{Migration, MigrationSet};

    #[test]
    fn tables_are_known_by_what_migrations_make_of_them() {
        const SETS: &[MigrationSet] = &[MigrationSet {
            name: "part",
            migrations: &[
                Migration {
                    name: "one",
                    sqlite: "CREATE TABLE gone (id BIGINT PRIMARY KEY);
                        CREATE TABLE b (at BIGINT NOT NULL, who TEXT NOT NULL, PRIMARY KEY (who, at)) WITHOUT ROWID;",
                    postgres: "",
                },
                Migration {
                    name: "two",
                    sqlite: "DROP TABLE gone;
                        CREATE TABLE a (id BIGINT PRIMARY KEY, n BIGINT);
                        INSERT INTO a VALUES (1, 2), (2, NULL);
                        ALTER TABLE b ADD COLUMN \"a note\" TEXT;
                        CREATE TRIGGER kept BEFORE DELETE ON a BEGIN SELECT raise(ABORT, 'no'); END;",
                    postgres: "",
                },
            ],
        }];
        let tables = of(SETS).unwrap();
        let seen: Vec<(&str, &[usize], bool, i64)> = tables
            .iter()
            .map(|table| (table.name.as_str(), table.key.as_slice(), table.append_only, table.seed.rows))
            .collect();
        assert_eq!(seen, [("b", [1, 0].as_slice(), false, 0), ("a", [0].as_slice(), true, 2)]);
        let b = &tables[0];
        assert_eq!(b.find, r#"SELECT 1 FROM "b" WHERE "who" = $1 AND "at" = $2"#);
        assert_eq!(b.insert, r#"INSERT INTO "b" ("at", "who", "a note") VALUES ($1, $2, $3)"#);
        assert!(b.first.ends_with(r#"FROM "b" ORDER BY "who", "at" LIMIT $1"#), "{}", b.first);
        assert!(b.next.ends_with(r#"("who", "at") > ($1, $2) ORDER BY "who", "at" LIMIT $3"#), "{}", b.next);
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
    }

    #[test]
    fn a_table_without_a_key_is_refused() {
        const SETS: &[MigrationSet] = &[MigrationSet {
            name: "part",
            migrations: &[Migration { name: "one", sqlite: "CREATE TABLE a (id BIGINT)", postgres: "" }],
        }];
        assert!(of(SETS).unwrap_err().to_string().contains("no primary key"));
    }
}
