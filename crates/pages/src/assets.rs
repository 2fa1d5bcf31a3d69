//! The files under `/static/`, embedded, each with its content type and entity tag.
//!
//! Every address carries the hash of the whole set (`/static/app.css?v=…`), and the `import` lines of the
//! scripts are given the same one, so that an answer may be cached for ever and a new build is never mixed
//! with an old one.

use std::borrow::Cow;
use std::sync::LazyLock;

/// One file as it is sent.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    /// The content.
    pub bytes: &'static [u8],
    /// For the header `Content-Type`.
    pub content_type: &'static str,
    /// For the header `ETag`, quotes included.
    pub etag: &'static str,
}

/// The file of this name (`app.css`; a leading `/static/` is understood too), if there is one.
#[must_use]
pub fn asset(path: &str) -> Option<Asset> {
    let name = path.strip_prefix("/static/").unwrap_or(path);
    SET.files.iter().find(|file| file.name == name).map(|file| Asset {
        bytes: &file.bytes,
        content_type: file.content_type,
        etag: &file.etag,
    })
}

/// The address of an asset with the hash of this build: `/static/app.css?v=1f0c…`.
#[must_use]
pub fn asset_url(name: &str) -> String {
    format!("/static/{name}?v={}", SET.version)
}

const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

const FILES: &[(&str, &str, &[u8])] = &[
    ("app.css", CSS, include_bytes!("../static/app.css")),
    ("theme.js", JS, include_bytes!("../static/theme.js")),
    ("app.js", JS, include_bytes!("../static/app.js")),
    ("api.js", JS, include_bytes!("../static/api.js")),
    ("chat.js", JS, include_bytes!("../static/chat.js")),
    ("job_page.js", JS, include_bytes!("../static/job_page.js")),
    ("quote.js", JS, include_bytes!("../static/quote.js")),
    ("docs.css", CSS, include_bytes!("../static/docs.css")),
    ("docs.js", JS, include_bytes!("../static/docs.js")),
    ("dom.js", JS, include_bytes!("../static/dom.js")),
    ("image.js", JS, include_bytes!("../static/image.js")),
    ("job.js", JS, include_bytes!("../static/job.js")),
    ("live.js", JS, include_bytes!("../static/live.js")),
    ("market.css", CSS, include_bytes!("../static/market.css")),
    ("market.js", JS, include_bytes!("../static/market.js")),
    ("markdown.js", JS, include_bytes!("../static/markdown.js")),
    ("money.js", JS, include_bytes!("../static/money.js")),
    ("plot.js", JS, include_bytes!("../static/plot.js")),
    ("favicon.svg", SVG, include_bytes!("../static/favicon.svg")),
    ("icons.svg", SVG, include_bytes!("../static/icons.svg")),
    ("logo.svg", SVG, include_bytes!("../static/logo.svg")),
];

struct File {
    name: &'static str,
    content_type: &'static str,
    bytes: Cow<'static, [u8]>,
    etag: String,
}

struct Set {
    version: String,
    files: Vec<File>,
}

static SET: LazyLock<Set> = LazyLock::new(|| {
    let mut hash = FNV_START;
    for (name, _, bytes) in FILES {
        hash = fnv(fnv(hash, name.as_bytes()), bytes);
    }
    let version = format!("{hash:016x}");
    let files = FILES
        .iter()
        .map(|(name, content_type, bytes)| {
            let bytes = if *content_type == JS { versioned(bytes, &version) } else { Cow::Borrowed(*bytes) };
            let etag = format!("\"{:016x}\"", fnv(FNV_START, &bytes));
            File { name, content_type, bytes, etag }
        })
        .collect();
    Set { version, files }
});

/// The script with `from "./x.js"` turned into `from "./x.js?v=…"`.
fn versioned(script: &'static [u8], version: &str) -> Cow<'static, [u8]> {
    let Ok(text) = std::str::from_utf8(script) else { return Cow::Borrowed(script) };
    let mut out = String::with_capacity(text.len() + 64);
    for line in text.split_inclusive('\n') {
        if line.starts_with("import ") {
            out.push_str(&line.replace(".js\"", &format!(".js?v={version}\"")));
        } else {
            out.push_str(line);
        }
    }
    Cow::Owned(out.into_bytes())
}

const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a: tells builds apart; nothing here has to withstand an adversary.
fn fnv(start: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(start, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_found_by_name_and_by_path() {
        for (name, _, _) in FILES {
            let file = asset(name).expect("listed");
            assert!(!file.bytes.is_empty(), "{name} is empty");
            assert!(file.etag.starts_with('"') && file.etag.ends_with('"'));
            assert!(asset(&format!("/static/{name}")).is_some());
        }
        assert!(asset("../Cargo.toml").is_none());
        assert!(asset("").is_none());
    }

    #[test]
    fn imports_carry_the_same_version_as_the_pages() {
        let version = asset_url("x").split_once("?v=").expect("version").1.to_owned();
        let app = String::from_utf8(asset("app.js").expect("app.js").bytes.to_vec()).expect("utf-8");
        for line in app.lines().filter(|line| line.starts_with("import ")) {
            assert!(line.contains(&format!(".js?v={version}\"")), "{line}");
        }
    }

    #[test]
    fn the_listing_is_the_folder() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/static");
        for entry in std::fs::read_dir(folder).expect("static/") {
            let name = entry.expect("entry").file_name().into_string().expect("name");
            assert!(FILES.iter().any(|(listed, _, _)| *listed == name), "{name} is not listed");
        }
    }
}
