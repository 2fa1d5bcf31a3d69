//! `/docs`: the guides, and the reference of the API, made from the same operations as the router.

mod reference;
mod samples;
mod schema;

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use pages::Nav;
use pages::docs::guides::{self, Guide};
use pages::docs::{ChapterPage, Entry, GuidePage, Home, Side, SideLink, at_home};

use self::reference::Chapter;
use super::Page;
use super::frame::frame;
use super::session::Visitor;
use crate::app::App;
use crate::error::ApiError;

/// The guide about errors, and where in it the table of all codes goes.
const ERRORS: &str = "errors";
const ERROR_CODES: &str = "<!-- error codes -->";
/// Longest question that is looked for, in characters.
const LONGEST_QUERY: usize = 100;

/// `GET /docs`, `GET /docs/reference`: everything there is, or what fits `?q=`.
///
/// # Errors
/// 500, 503.
pub async fn show(
    State(app): State<Arc<App>>,
    Visitor(visitor): Visitor,
    RawQuery(search): RawQuery,
) -> Result<Page<Home>, ApiError> {
    let layout = frame(&app, visitor.as_ref(), "Documentation", Nav::Docs).await?;
    let search = search.unwrap_or_default();
    let query = form_urlencoded::parse(search.as_bytes()).find(|(name, _)| name == "q");
    let query = query.map(|(_, text)| text).unwrap_or_default();
    let query: String = query.trim().chars().take(LONGEST_QUERY).collect();
    let small = query.to_lowercase();
    let fits = |words: &str| small.split_whitespace().all(|word| words.contains(word));
    let guides: Vec<Entry> = guides::all()
        .iter()
        .map(|guide| {
            let mut words = guide.words.clone();
            if guide.slug == ERRORS {
                words.push_str(&reference::error_names());
            }
            Entry {
                href: format!("/docs/{}", guide.slug),
                title: guide.title.clone(),
                about: guide.about.to_owned(),
                fits: fits(&words),
                words,
                ..Entry::default()
            }
        })
        .collect();
    let chapters: Vec<(String, Vec<Entry>)> = reference::chapters()
        .iter()
        .map(|chapter| {
            let entries =
                chapter.entries.iter().map(|entry| Entry { fits: fits(&entry.words), ..entry.clone() });
            (chapter.title.to_owned(), entries.collect())
        })
        .collect();
    let entries = chapters.iter().flat_map(|(_, entries)| entries).chain(&guides);
    let found = entries.filter(|entry| entry.fits).count();
    let side = side("");
    Ok(Page(Home { layout, side, base_url: app.config.public_url(), query, guides, chapters, found }))
}

/// `GET /docs/{page}`: a guide.
///
/// # Errors
/// 404, 500, 503.
pub async fn guide(
    State(app): State<Arc<App>>,
    Visitor(visitor): Visitor,
    Path(slug): Path<String>,
) -> Result<Page<GuidePage>, ApiError> {
    let guide = guides::find(&slug).ok_or_else(|| ApiError::not_found("page"))?;
    let layout = frame(&app, visitor.as_ref(), &guide.title, Nav::Docs).await?;
    let mut html = at_home(&guide.html, &app.config.public_url());
    if guide.slug == ERRORS {
        html = html.replace(ERROR_CODES, reference::error_table());
    }
    Ok(Page(GuidePage {
        layout,
        side: side(&format!("/docs/{slug}")),
        title: guide.title.clone(),
        html,
        next: after(guides::all(), |one| one.slug == slug).map(guide_link),
    }))
}

/// `GET /docs/reference/{chapter}`.
///
/// # Errors
/// 404, 500, 503.
pub async fn chapter(
    State(app): State<Arc<App>>,
    Visitor(visitor): Visitor,
    Path(slug): Path<String>,
) -> Result<Page<ChapterPage>, ApiError> {
    let chapter = reference::chapters().iter().find(|chapter| chapter.slug == slug);
    let chapter = chapter.ok_or_else(|| ApiError::not_found("page"))?;
    let layout = frame(&app, visitor.as_ref(), chapter.title, Nav::Docs).await?;
    Ok(Page(ChapterPage {
        layout,
        side: side(&chapter.href()),
        title: chapter.title.to_owned(),
        about: chapter.about.clone(),
        html: at_home(&chapter.html, &app.config.public_url()),
        next: after(reference::chapters(), |one| one.slug == slug).map(chapter_link),
    }))
}

/// The one after the one that is meant.
fn after<T>(all: &[T], is_it: impl Fn(&T) -> bool) -> Option<&T> {
    all.iter().skip_while(|one| !is_it(one)).nth(1)
}

fn guide_link(guide: &Guide) -> SideLink {
    SideLink { href: format!("/docs/{}", guide.slug), label: guide.title.clone(), ..SideLink::default() }
}

fn chapter_link(chapter: &Chapter) -> SideLink {
    SideLink { href: chapter.href(), label: chapter.title.to_owned(), ..SideLink::default() }
}

/// The navigation, as it looks on the page of this address.
fn side(at: &str) -> Side {
    let open = |link: SideLink, inside: &dyn Fn() -> Vec<(String, String)>| {
        let current = link.href == at;
        SideLink { current, inside: if current { inside() } else { Vec::new() }, ..link }
    };
    let guides = guides::all().iter().map(|guide| open(guide_link(guide), &|| guide.headings.clone()));
    let chapters =
        reference::chapters().iter().map(|chapter| open(chapter_link(chapter), &|| chapter.inside()));
    Side { guides: guides.collect(), chapters: chapters.collect() }
}
