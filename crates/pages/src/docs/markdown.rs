//! The Markdown of our own files, and of the descriptions in our own code, as markup. It is never given what users wrote.

use std::fmt::Write;

use pulldown_cmark::{CodeBlockKind, CowStr, Event, Options, Parser, Tag, TagEnd, html};

use super::tabs::{Panel, Tabs};

/// A rendered page.
#[derive(Clone, Debug, Default)]
pub(super) struct Rendered {
    /// The words of its first heading, which is not in the markup.
    pub title: String,
    /// The rest.
    pub html: String,
    /// Its further headings: anchor and words.
    pub headings: Vec<(String, String)>,
}

/// A few words or paragraphs with emphasis, code and links, as markup.
#[must_use]
pub fn inline(text: &str) -> String {
    render(text).html
}

pub(super) fn render(text: &str) -> Rendered {
    let mut page = Page::default();
    let mut events = Parser::new_ext(text, Options::ENABLE_TABLES);
    while let Some(event) = events.next() {
        match event {
            Event::Start(Tag::CodeBlock(kind)) => {
                let code: String = until(&mut events, |end| matches!(end, TagEnd::CodeBlock)).1;
                page.code(&kind, &code);
            }
            Event::Start(Tag::Heading { level, .. }) => {
                let (inside, words) = until(&mut events, |end| matches!(end, TagEnd::Heading(_)));
                page.heading(level as u8, inside, words);
            }
            Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
                let dest_url = CowStr::from(address(&dest_url));
                page.push(Event::Start(Tag::Link { link_type, dest_url, title, id }));
            }
            Event::Start(Tag::Table(columns)) => {
                let label = page.rendered.headings.last().map_or("Table", |(_, words)| words);
                let open = format!(
                    r#"<div class="table-box" tabindex="0" role="group" aria-label="{}">"#,
                    escape(label)
                );
                page.push(Event::Html(open.into()));
                page.push(Event::Start(Tag::Table(columns)));
            }
            Event::End(TagEnd::Table) => {
                page.push(Event::End(TagEnd::Table));
                page.push(Event::Html("</div>".into()));
            }
            event => page.push(event),
        }
    }
    page.end()
}

/// What comes before an end, and its words alone.
fn until<'a>(events: &mut Parser<'a>, is_end: impl Fn(&TagEnd) -> bool) -> (Vec<Event<'a>>, String) {
    let (mut inside, mut words) = (Vec::new(), String::new());
    for event in events {
        match &event {
            Event::End(end) if is_end(end) => break,
            Event::Text(text) | Event::Code(text) => words.push_str(text),
            _ => {}
        }
        inside.push(event);
    }
    (inside, words)
}

#[derive(Default)]
struct Page<'a> {
    rendered: Rendered,
    events: Vec<Event<'a>>,
    /// Blocks of code that follow each other: one example in several languages.
    group: Vec<Panel>,
    groups: usize,
}

impl<'a> Page<'a> {
    fn push(&mut self, event: Event<'a>) {
        self.close_group();
        self.events.push(event);
    }

    fn heading(&mut self, level: u8, inside: Vec<Event<'a>>, words: String) {
        if level == 1 && self.rendered.title.is_empty() {
            self.rendered.title = words;
            return;
        }
        let id = slug(&words);
        self.push(Event::Html(format!(r#"<h{level} id="{id}">"#).into()));
        self.events.extend(inside);
        self.events.push(Event::Html(format!("</h{level}>\n").into()));
        if level == 2 {
            self.rendered.headings.push((id, words));
        }
    }

    fn code(&mut self, kind: &CodeBlockKind<'_>, code: &str) {
        let info = match kind {
            CodeBlockKind::Fenced(info) => info.split_whitespace().next().unwrap_or_default(),
            CodeBlockKind::Indented => "",
        };
        let code = code.trim_end().to_owned();
        if info == "output" {
            match self.group.last_mut() {
                // An empty one says that nothing is printed.
                Some(panel) => panel.output = Some(code).filter(|code| !code.is_empty()),
                None => self.group.push(Panel { label: "Output".to_owned(), code, output: None }),
            }
            return;
        }
        let label = label(info, &code);
        if label.is_empty() || self.group.iter().any(|panel| panel.label == label || panel.label.is_empty()) {
            self.close_group();
        }
        self.group.push(Panel { label: label.to_owned(), code, output: None });
    }

    fn close_group(&mut self) {
        if self.group.is_empty() {
            return;
        }
        self.groups += 1;
        let label = self.rendered.headings.last().map_or("Example", |(_, words)| words);
        let tabs = Tabs {
            id: format!("example-{}", self.groups),
            label: format!("Example: {label}"),
            panels: std::mem::take(&mut self.group),
        };
        self.events.push(Event::Html(tabs.html().into()));
    }

    fn end(mut self) -> Rendered {
        self.close_group();
        html::push_html(&mut self.rendered.html, self.events.into_iter());
        self.rendered
    }
}

/// What a block of code is called.
fn label(language: &str, code: &str) -> &'static str {
    match language {
        "bash" | "sh" if code.contains("curl ") => "curl",
        "bash" | "sh" => "Shell",
        "python" => "Python",
        "javascript" => "JavaScript",
        "json" => "JSON",
        "toml" => "TOML",
        _ => "",
    }
}

/// Guides link each other as files, so that they can be read in the repository too.
fn address(link: &str) -> String {
    let (file, anchor) = link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
    let page = match file.strip_suffix(".md") {
        Some("../islands") => "/docs/island".to_owned(),
        Some(page) if !page.contains('/') => format!("/docs/{page}"),
        _ => file.to_owned(),
    };
    anchor.map_or_else(|| page.clone(), |anchor| format!("{page}#{anchor}"))
}

/// The anchor of a heading.
pub(super) fn slug(words: &str) -> String {
    let mut slug = String::with_capacity(words.len());
    for letter in words.chars() {
        if letter.is_alphanumeric() || letter == '_' {
            slug.extend(letter.to_lowercase());
        } else if !slug.ends_with('-') && !slug.is_empty() && (letter == ' ' || letter == '-') {
            slug.push('-');
        }
    }
    slug.trim_end_matches('-').to_owned()
}

/// Text as markup.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' | '<' | '>' | '"' | '\'' => {
                let _ = write!(out, "&#{};", u32::from(letter));
            }
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_a_title_anchors_and_links_to_other_pages() {
        let page = render("# Jobs\n\nSee [this](errors.md#not_found).\n\n## What a `job` costs\n\nMore.\n");
        assert_eq!(page.title, "Jobs");
        assert_eq!(page.headings, [("what-a-job-costs".to_owned(), "What a job costs".to_owned())]);
        assert!(page.html.contains(r#"<a href="/docs/errors#not_found">this</a>"#), "{}", page.html);
        assert!(page.html.contains(r#"<h2 id="what-a-job-costs">What a <code>job</code> costs</h2>"#));
    }

    #[test]
    fn blocks_of_code_that_follow_each_other_are_one_example() {
        let text = "```bash run\ncurl x <y>\n```\n```output\n1\n```\n```python run\nx\n```\nText.\n```python run\ny\n```\n";
        let html = render(text).html;
        assert_eq!(html.matches("type=\"radio\"").count(), 2, "{html}");
        assert!(html.contains("curl x &#60;y&#62;"), "{html}");
        assert_eq!(html.matches("class=\"output\"").count(), 1);
        assert_eq!(html.matches("<figure class=\"code\">").count(), 1, "one that stands alone has no tabs");
    }

    #[test]
    fn tables_can_be_scrolled_to() {
        let html = render("## Limits\n\n| a | b |\n|---|---|\n| 1 | 2 |\n").html;
        assert!(html.contains(r#"role="group" aria-label="Limits"><table>"#), "{html}");
        assert!(html.trim_end().ends_with("</table>\n</div>"), "{html}");
    }
}
