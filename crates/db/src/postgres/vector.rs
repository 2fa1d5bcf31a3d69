//! From the SQL of one row to the SQL of many.
//!
//! What is written once for each row, such as `UPDATE t SET n = $2 WHERE id = $1`, runs here as one statement that takes
//! an array for each parameter: `UPDATE t SET n = given.given_2 FROM unnest($1::int8[], $2::int8[]) AS given (given_1,
//! given_2) WHERE id = given.given_1`. So the number of statements does not depend on the number of rows.
//!
//! This is no SQL parser: it knows four shapes and refuses everything else by name.
//!
//! * `INSERT INTO table [(columns)] VALUES (expressions) [ON CONFLICT …]`. Behind `ON CONFLICT` a parameter must be one
//!   that `VALUES` has as it is, because there it is written as the column's `excluded` value.
//! * `UPDATE table SET … WHERE …`, without `FROM`
//! * `DELETE FROM table WHERE …`, without `USING`
//! * `SELECT …`, which may contain anything

use crate::DbError;

/// The relation that holds the parameters. No statement of ours may use this word for anything else.
const GIVEN: &str = "given";

/// A statement over arrays.
#[derive(Debug, PartialEq, Eq)]
pub struct Vector {
    /// The SQL.
    pub sql: String,
    /// Whether it answers rows; the first column is then the number of the row of parameters it belongs to, from 1.
    pub answers: bool,
    /// If it does nothing but insert its parameters as they are.
    pub plain: Option<PlainInsert>,
}

/// An `INSERT` of parameters.
#[derive(Debug, PartialEq, Eq)]
pub struct PlainInsert {
    /// The table's name.
    pub table: String,
    /// The columns' names, with commas.
    pub columns: String,
    /// Which parameter each column takes, from 0.
    pub places: Vec<usize>,
}

/// Rewrites `sql` for arrays of `types`, the types of its parameters in order.
pub fn of(sql: &str, types: &[&str]) -> Result<Vector, DbError> {
    let refuse = |why: &str| DbError::Other(format!("this statement cannot run as a vector, {why}: {sql}"));
    let tokens = scan(sql).map_err(refuse)?;
    let text = Text { sql, tokens: &tokens };
    let refused_word = ["returning", GIVEN].iter().find(|word| text.find(0, word).is_some());
    if let Some(word) = refused_word {
        return Err(refuse(&format!("it uses the word {word}")));
    }
    let written = match text.word(0) {
        "insert" => insert(text, types),
        "update" => update(text, types),
        "delete" => delete(text, types),
        "select" => select(text, types),
        _ => Err("it is neither INSERT, UPDATE, DELETE nor SELECT"),
    };
    Ok(Vector {
        sql: written.map_err(refuse)?,
        answers: text.word(0) == "select",
        plain: plain_insert(text, types.len()),
    })
}

/// `INSERT INTO table (columns) VALUES (parameters)` and nothing else.
fn plain_insert(text: Text<'_>, parameters: usize) -> Option<PlainInsert> {
    let values = text.find(0, "values").filter(|_| text.word(0) == "insert")?;
    let (first, end) = text.parentheses(values + 1)?;
    let open = text.tokens.iter().position(|token| token.kind == Kind::Open).filter(|open| *open < values)?;
    let (from, to) = text.parentheses(open)?;
    let place = |(from, to): (usize, usize)| match text.tokens.get(from)?.kind {
        Kind::Parameter(number) if to == from + 1 && number <= parameters => number.checked_sub(1),
        _ => None,
    };
    let places: Vec<usize> = text.split(first, end).into_iter().map(place).collect::<Option<_>>()?;
    let whole = end + 1 == text.tokens.len() && to + 1 == values;
    let complete = whole && text.split(from, to).len() == places.len();
    complete.then(|| PlainInsert {
        table: text.between(2, open).to_owned(),
        columns: text.between(from, to).to_owned(),
        places,
    })
}

fn insert(text: Text<'_>, types: &[&str]) -> Result<String, &'static str> {
    let values = text.find(0, "values").ok_or("it has no VALUES")?;
    let (first, end) = text.parentheses(values + 1).ok_or("VALUES is not followed by one row")?;
    let rest = end + 1;
    if rest < text.tokens.len() && text.word(rest) != "on" {
        return Err("something other than ON CONFLICT follows VALUES");
    }
    let expressions = text.split(first, end);
    // INSERT INTO table ( columns ) VALUES: the parenthesis before VALUES, if there is one, has the columns.
    let columns = match text.tokens.iter().position(|token| token.kind == Kind::Open) {
        Some(open) if open < values => {
            text.parentheses(open).map(|(from, to)| text.split(from, to)).unwrap_or_default()
        }
        _ => Vec::new(),
    };
    let excluded = |number: usize| {
        let position = expressions.iter().position(|&(from, to)| {
            to == from + 1 && text.tokens.get(from).is_some_and(|token| token.kind == Kind::Parameter(number))
        })?;
        let &(from, to) = columns.get(position)?;
        Some(format!("excluded.{}", text.between(from, to)))
    };
    Ok(format!(
        "{}SELECT {} FROM {} {}",
        text.written(0, values, given)?,
        text.written(first, end, given)?,
        unnest(types, false),
        text.written(rest, text.tokens.len(), excluded)
            .map_err(|_| "a parameter behind ON CONFLICT is not the value of a named column")?,
    ))
}

fn update(text: Text<'_>, types: &[&str]) -> Result<String, &'static str> {
    with_source(text, "FROM", types)
}

fn delete(text: Text<'_>, types: &[&str]) -> Result<String, &'static str> {
    with_source(text, "USING", types)
}

/// Puts the parameters in front of `WHERE`, where no other source may be.
fn with_source(text: Text<'_>, keyword: &str, types: &[&str]) -> Result<String, &'static str> {
    let condition = text.find(0, "where").ok_or("it has no WHERE")?;
    // The FROM of DELETE FROM is the second word.
    if text.find(2, keyword).is_some_and(|source| source < condition) {
        return Err("it names another source of rows");
    }
    Ok(format!(
        "{}{keyword} {} {}",
        text.written(0, condition, given)?,
        unnest(types, false),
        text.written(condition, text.tokens.len(), given)?
    ))
}

/// Rows of parameters that find nothing are not among the answers, so each answer says which one it belongs to.
fn select(text: Text<'_>, types: &[&str]) -> Result<String, &'static str> {
    let inner = text.written(0, text.tokens.len(), given)?;
    let source = unnest(types, true);
    Ok(format!("SELECT {GIVEN}.{GIVEN}_at, q.* FROM {source} CROSS JOIN LATERAL ({inner}) AS q"))
}

fn given(number: usize) -> Option<String> {
    Some(format!("{GIVEN}.{GIVEN}_{number}"))
}

fn unnest(types: &[&str], numbered: bool) -> String {
    let list = |item: &dyn Fn(usize, &str) -> String| {
        let items: Vec<String> = (1..).zip(types).map(|(number, of)| item(number, of)).collect();
        items.join(", ")
    };
    let arrays = list(&|number, of| format!("${number}::{of}[]"));
    let columns = list(&|number, _| format!("{GIVEN}_{number}"));
    if numbered {
        return format!("unnest({arrays}) WITH ORDINALITY AS {GIVEN} ({columns}, {GIVEN}_at)");
    }
    format!("unnest({arrays}) AS {GIVEN} ({columns})")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A keyword or a name without quotes.
    Word,
    /// `$1`
    Parameter(usize),
    Open,
    Close,
    Comma,
    /// Anything else that is one unit, such as a text, a number or an operator's character.
    Other,
}

/// A piece of SQL and how deep in parentheses it is.
#[derive(Clone, Copy, Debug)]
struct Token {
    kind: Kind,
    depth: usize,
    from: usize,
    to: usize,
}

#[derive(Clone, Copy)]
struct Text<'a> {
    sql: &'a str,
    tokens: &'a [Token],
}

impl<'a> Text<'a> {
    /// The word at `position` in lower case letters; empty if there is none.
    fn word(self, position: usize) -> &'a str {
        const KNOWN: [&str; 9] =
            ["insert", "update", "delete", "select", "values", "where", "from", "using", "on"];
        let Some(token) = self.tokens.get(position).filter(|token| token.kind == Kind::Word) else {
            return "";
        };
        let written = self.sql.get(token.from..token.to).unwrap_or_default();
        KNOWN.into_iter().find(|known| known.eq_ignore_ascii_case(written)).unwrap_or(written)
    }

    /// Where `word` first stands outside of parentheses, from position `start` on.
    fn find(self, start: usize, word: &str) -> Option<usize> {
        (start..self.tokens.len()).find(|&position| {
            self.tokens.get(position).is_some_and(|token| token.depth == 0)
                && self.word(position).eq_ignore_ascii_case(word)
        })
    }

    /// What the parenthesis that opens at `open` contains: the position of its first token and of its end.
    fn parentheses(self, open: usize) -> Option<(usize, usize)> {
        let depth = self.tokens.get(open).filter(|token| token.kind == Kind::Open)?.depth;
        let inside = self.tokens.get(open + 1..)?;
        let length = inside.iter().position(|token| token.kind == Kind::Close && token.depth == depth)?;
        Some((open + 1, open + 1 + length))
    }

    /// The items of a list between two positions.
    fn split(self, from: usize, to: usize) -> Vec<(usize, usize)> {
        let depth = self.tokens.get(from).map_or(0, |token| token.depth);
        let commas = (from..to).filter(|&position| {
            self.tokens.get(position).is_some_and(|token| token.kind == Kind::Comma && token.depth == depth)
        });
        let mut items = Vec::new();
        let mut start = from;
        for comma in commas.chain([to]) {
            items.push((start, comma));
            start = comma + 1;
        }
        items
    }

    /// The SQL from one token to another, as it is.
    fn between(self, from: usize, to: usize) -> &'a str {
        let start = self.tokens.get(from).map_or(self.sql.len(), |token| token.from);
        let end = self.tokens.get(to).map_or(self.sql.len(), |token| token.from);
        self.sql.get(start..end).unwrap_or_default().trim_end()
    }

    /// The SQL from one token to another with every parameter written anew.
    fn written(
        self,
        from: usize,
        to: usize,
        parameter: impl Fn(usize) -> Option<String>,
    ) -> Result<String, &'static str> {
        let mut result = String::new();
        for position in from..to {
            let Some(token) = self.tokens.get(position) else { break };
            match token.kind {
                Kind::Parameter(number) => {
                    result.push_str(&parameter(number).ok_or("a parameter stands where it cannot")?);
                }
                _ => result.push_str(self.sql.get(token.from..token.to).unwrap_or_default()),
            }
            let next = self.tokens.get(position + 1).map_or(self.sql.len(), |token| token.from);
            if next > token.to {
                result.push(' ');
            }
        }
        Ok(result)
    }
}

/// Cuts SQL into tokens.
fn scan(sql: &str) -> Result<Vec<Token>, &'static str> {
    let bytes = sql.as_bytes();
    let mut tokens: Vec<Token> = Vec::new();
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let from = at;
        let follows = |wanted: u8| bytes.get(from + 1) == Some(&wanted);
        let kind = match byte {
            _ if byte.is_ascii_whitespace() => {
                at += 1;
                continue;
            }
            b'\'' | b'"' => {
                at = quoted(bytes, at).ok_or("a quotation does not end")?;
                Kind::Other
            }
            b'$' => {
                at = run(bytes, at + 1, |byte| byte.is_ascii_digit());
                let number = sql.get(from + 1..at).and_then(|digits| digits.parse().ok());
                Kind::Parameter(number.ok_or("it has a $ without a number")?)
            }
            _ if in_word(byte) => {
                at = run(bytes, at, in_word);
                if bytes.get(at) == Some(&b'\'') {
                    return Err("it has a text with a prefix");
                }
                if byte.is_ascii_digit() { Kind::Other } else { Kind::Word }
            }
            b';' => return Err("it has a semicolon"),
            b'-' if follows(b'-') => return Err("it has a comment"),
            b'/' if follows(b'*') => return Err("it has a comment"),
            _ => {
                at += 1;
                match byte {
                    b'(' => Kind::Open,
                    b')' => Kind::Close,
                    b',' => Kind::Comma,
                    _ => Kind::Other,
                }
            }
        };
        if kind == Kind::Close {
            depth = depth.checked_sub(1).ok_or("a parenthesis is missing")?;
        }
        tokens.push(Token { kind, depth, from, to: at });
        depth += usize::from(kind == Kind::Open);
    }
    if depth == 0 { Ok(tokens) } else { Err("a parenthesis is missing") }
}

fn in_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

/// Where the quotation that begins at `at` ends. A doubled quotation mark stands for itself.
fn quoted(bytes: &[u8], at: usize) -> Option<usize> {
    let mark = bytes.get(at)?;
    let mut at = at + 1;
    loop {
        let here = bytes.get(at)?;
        if here != mark {
            at += 1;
        } else if bytes.get(at + 1) == Some(mark) {
            at += 2;
        } else {
            return Some(at + 1);
        }
    }
}

fn run(bytes: &[u8], from: usize, belongs: impl Fn(u8) -> bool) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    from + rest.iter().position(|&byte| !belongs(byte)).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::of;

    fn rewritten(sql: &str, types: &[&str]) -> String {
        of(sql, types).unwrap().sql.trim_end().to_owned()
    }

    fn refused(sql: &str) -> String {
        of(sql, &["int8"]).unwrap_err().to_string()
    }

    #[test]
    fn insert_takes_its_values_from_the_arrays() {
        assert_eq!(
            rewritten("INSERT INTO t (a, b, c) VALUES ($2, 'x, $1', f($1, 2))", &["int8", "text"]),
            "INSERT INTO t (a, b, c) SELECT given.given_2, 'x, $1', f(given.given_1, 2) \
             FROM unnest($1::int8[], $2::text[]) AS given (given_1, given_2)"
        );
        assert_eq!(
            rewritten("insert into t values ($1, NULL)", &["int8"]),
            "insert into t SELECT given.given_1, NULL FROM unnest($1::int8[]) AS given (given_1)"
        );
    }

    #[test]
    fn an_insert_of_nothing_but_parameters_is_plain() {
        let plain =
            of("INSERT INTO s.t (a, \"b\") VALUES ($2, $1)", &["int8", "text"]).unwrap().plain.unwrap();
        let shape = (plain.table.as_str(), plain.columns.as_str(), plain.places.as_slice());
        assert_eq!(shape, ("s.t", "a, \"b\"", [1, 0].as_slice()));
        let others = [
            "INSERT INTO t VALUES ($1, $2)",
            "INSERT INTO t (a, b) VALUES ($1, $2 + 1)",
            "INSERT INTO t (a, b, c) VALUES ($1, $2, 'x')",
            "INSERT INTO t (a, b, c) VALUES ($1, $2)",
            "INSERT INTO t (a, b) VALUES ($1, $2) ON CONFLICT (a) DO NOTHING",
            "UPDATE t SET a = $1 WHERE b = $2",
        ];
        for other in others {
            assert_eq!(of(other, &["int8", "int8"]).unwrap().plain, None, "{other}");
        }
    }

    #[test]
    fn behind_on_conflict_a_parameter_is_the_excluded_value() {
        assert_eq!(
            rewritten(
                "INSERT INTO t (a, \"b c\") VALUES ($1, $2)
                 ON CONFLICT (a) DO UPDATE SET \"b c\" = t.\"b c\" + $2 WHERE t.a <> $1",
                &["int8", "int8"]
            ),
            "INSERT INTO t (a, \"b c\") SELECT given.given_1, given.given_2 \
             FROM unnest($1::int8[], $2::int8[]) AS given (given_1, given_2) \
             ON CONFLICT (a) DO UPDATE SET \"b c\" = t.\"b c\" + excluded.\"b c\" WHERE t.a <> excluded.a"
        );
        let hidden = refused("INSERT INTO t (a, b) VALUES ($1, $1 + 1) ON CONFLICT (a) DO UPDATE SET b = $2");
        assert!(hidden.contains("behind ON CONFLICT"), "{hidden}");
        let unnamed = refused("INSERT INTO t VALUES ($1) ON CONFLICT (a) DO UPDATE SET b = $1");
        assert!(unnamed.contains("behind ON CONFLICT"), "{unnamed}");
    }

    #[test]
    fn update_and_delete_get_the_arrays_in_front_of_where() {
        assert_eq!(
            rewritten(
                "UPDATE t SET n = coalesce(n, $2), s = 'where' WHERE id = $1 AND n IN (0, 1)",
                &["int8", "int8"]
            ),
            "UPDATE t SET n = coalesce(n, given.given_2), s = 'where' \
             FROM unnest($1::int8[], $2::int8[]) AS given (given_1, given_2) \
             WHERE id = given.given_1 AND n IN (0, 1)"
        );
        assert_eq!(
            rewritten("DELETE FROM t WHERE id=$1 AND ä IS DISTINCT FROM 1", &["text"]),
            "DELETE FROM t USING unnest($1::text[]) AS given (given_1) \
             WHERE id=given.given_1 AND ä IS DISTINCT FROM 1"
        );
    }

    #[test]
    fn select_says_which_row_it_answers() {
        let vector = of("SELECT a.x FROM a WHERE a.id = $1 AND (SELECT $1 > 0)", &["int8"]).unwrap();
        assert!(vector.answers);
        assert_eq!(
            vector.sql.replace(" )", ")"),
            "SELECT given.given_at, q.* FROM unnest($1::int8[]) WITH ORDINALITY AS given (given_1, given_at) \
             CROSS JOIN LATERAL (SELECT a.x FROM a WHERE a.id = given.given_1 AND (SELECT given.given_1 > 0)) AS q"
        );
    }

    #[test]
    fn everything_else_is_refused_by_name() {
        let cases = [
            ("TRUNCATE t", "neither INSERT"),
            ("WITH x AS (SELECT 1) SELECT * FROM x", "neither INSERT"),
            ("", "neither INSERT"),
            ("INSERT INTO t (a) SELECT $1", "no VALUES"),
            ("INSERT INTO t VALUES ($1), ($1)", "ON CONFLICT follows"),
            ("INSERT INTO t VALUES ($1) RETURNING a", "returning"),
            ("UPDATE t SET n = $1", "no WHERE"),
            ("UPDATE t SET n = $1 FROM u WHERE t.id = u.id", "another source"),
            ("DELETE FROM t USING u WHERE t.id = $1", "another source"),
            ("DELETE FROM t WHERE id = $1; DELETE FROM u", "semicolon"),
            ("DELETE FROM t WHERE id = $1 -- all", "comment"),
            ("DELETE FROM t /* all */ WHERE id = $1", "comment"),
            ("DELETE FROM t WHERE id = E'\\''", "prefix"),
            ("DELETE FROM t WHERE id = $$x$$", "without a number"),
            ("DELETE FROM t WHERE id = 'x", "does not end"),
            ("DELETE FROM t WHERE (id = $1", "parenthesis"),
            ("DELETE FROM t WHERE id = $1)", "parenthesis"),
            ("SELECT given FROM t WHERE id = $1", "given"),
        ];
        for (sql, why) in cases {
            let error = refused(sql);
            assert!(error.contains(why), "{sql}: {error}");
        }
    }
}
