//! The guides: files of the repository's `docs/api`, in the order of the navigation.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use super::markdown::render;

/// One guide.
#[derive(Clone, Debug)]
pub struct Guide {
    /// The last part of its address.
    pub slug: &'static str,
    /// Its heading.
    pub title: String,
    /// What it is about, in one sentence.
    pub about: &'static str,
    /// Its text, as markup.
    pub html: String,
    /// Its headings: anchor and words.
    pub headings: Vec<(String, String)>,
    /// The words in it, in small letters, to search in.
    pub words: String,
}

macro_rules! guide {
    ($slug:literal, $about:literal) => {
        ($slug, $about, include_str!(concat!("../../../../docs/api/", $slug, ".md")))
    };
}

const SOURCES: &[(&str, &str, &str)] = &[
    guide!("quickstart", "From nothing to the first answer in five minutes."),
    guide!("authentication", "Keys, what each may do, and how to keep them safe."),
    guide!("chat", "Chat, images and models with the OpenAI libraries you have."),
    guide!("tools", "Functions for models, answers as JSON, texts as vectors."),
    guide!("jobs", "Submit, wait, stream, cancel; what happens in between."),
    guide!("batches", "Up to a hundred inputs in one request."),
    guide!("prices", "What a job costs, how to bid, and how to know before."),
    guide!("credits", "Balance, statement, purchases, auto top-up."),
    guide!("account", "Who you are, and the proof of it that spending needs."),
    guide!("usage", "What was spent and earned, by day, Cargo, key and Island."),
    guide!("webhooks", "Be told when something happens, and know that it was us."),
    guide!("idempotency", "Repeat any request without doing it twice."),
    guide!("errors", "Every error code, why it happens and what to do."),
    guide!("limits", "How often, how large, how many."),
    guide!("islands", "Prices, pauses, pairing and payouts of your machines."),
];

static ALL: LazyLock<Vec<Guide>> = LazyLock::new(|| {
    SOURCES
        .iter()
        .map(|(slug, about, text)| {
            let page = render(text);
            Guide {
                slug,
                title: page.title,
                about,
                html: page.html,
                headings: page.headings,
                words: words(text),
            }
        })
        .collect()
});

/// Each word of a text once, in small letters.
fn words(text: &str) -> String {
    let text = text.to_lowercase();
    let words = text.split(|letter: char| !letter.is_alphanumeric() && !"_-".contains(letter));
    let words: BTreeSet<&str> = words.filter(|word| word.len() > 2).collect();
    words.into_iter().collect::<Vec<_>>().join(" ")
}

/// All guides.
#[must_use]
pub fn all() -> &'static [Guide] {
    &ALL
}

/// The guide of this address.
#[must_use]
pub fn find(slug: &str) -> Option<&'static Guide> {
    all().iter().find(|guide| guide.slug == slug)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_the_folder() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/api");
        for entry in std::fs::read_dir(folder).expect("docs/api") {
            let name = entry.expect("entry").file_name().into_string().expect("name");
            assert!(find(name.trim_end_matches(".md")).is_some(), "{name} is not listed");
        }
    }

    #[test]
    fn links_and_anchors_lead_somewhere() {
        for guide in all() {
            for link in guide.html.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
                let Some(rest) = link.strip_prefix("/docs/") else { continue };
                let (page, anchor) = rest.split_once('#').unwrap_or((rest, ""));
                if page.starts_with("reference") {
                    continue;
                }
                let target = find(page).unwrap_or_else(|| panic!("{} links to {link}", guide.slug));
                // The codes are put in by the server.
                let there = anchor.is_empty()
                    || target.slug == "errors"
                    || target.html.contains(&format!("id=\"{anchor}\""));
                assert!(there, "{} links to {link}", guide.slug);
            }
        }
    }

    #[test]
    fn each_has_a_title_and_a_sentence() {
        for guide in all() {
            assert!(!guide.title.is_empty() && guide.about.ends_with('.'), "{}", guide.slug);
        }
    }
}
