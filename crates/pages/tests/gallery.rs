//! Renders every page in every interesting state and checks what must hold on all of them.

mod samples;

use samples::{HOSTILE, all};

/// The opening tags of a page, without comments and text.
fn tags(html: &str) -> impl Iterator<Item = &str> {
    html.split('<').skip(1).filter_map(|rest| rest.split_once('>').map(|(tag, _)| tag))
}

/// The names of the attributes of an opening tag.
fn attributes(tag: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut rest = tag.split_once(char::is_whitespace).map_or("", |(_, rest)| rest);
    while let Some(start) = rest.find(|c: char| !c.is_whitespace() && c != '/') {
        rest = &rest[start..];
        let end = rest.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(rest.len());
        names.push(&rest[..end]);
        rest = &rest[end..];
        if let Some(value) = rest.strip_prefix("=\"") {
            rest = value.split_once('"').map_or("", |(_, after)| after);
        }
    }
    names
}

#[test]
fn nothing_a_user_typed_becomes_markup() {
    let mut seen = 0;
    for (name, html) in all().unwrap() {
        assert!(!html.contains(HOSTILE), "{name}: not escaped");
        seen += usize::from(html.contains("alert("));
    }
    assert!(seen >= 8, "only {seen} samples carry hostile text");
}

#[test]
fn no_style_script_or_handler_is_inline() {
    for (name, html) in all().unwrap() {
        assert!(!html.contains("<style"), "{name}: <style>");
        assert!(!html.contains("javascript:"), "{name}: javascript:");
        for tag in tags(&html) {
            if tag.starts_with("script") {
                assert!(tag.contains(" src=\"/static/"), "{name}: inline script");
            }
            for attribute in attributes(tag) {
                assert!(
                    !attribute.starts_with("on") && attribute != "style",
                    "{name}: {attribute} in <{tag}>"
                );
            }
        }
    }
}

#[test]
fn every_post_form_carries_the_token() {
    for (name, html) in all().unwrap() {
        for form in html.split("<form").skip(1).filter_map(|rest| rest.split("</form>").next()) {
            let tag = form.split('>').next().unwrap();
            if tag.contains("method=\"post\"") {
                assert!(form.contains("name=\"csrf\" value=\"sample-csrf\""), "{name}: a form without csrf");
                assert!(tag.contains("action=\"/"), "{name}: a form without a local address");
            } else if tag.contains("method=\"get\"") {
                // What only looks changes nothing, and its address is nobody's secret.
                assert!(!form.contains("csrf") && tag.contains("action=\"/"), "{name}: <form{tag}>");
            } else {
                assert!(
                    tag.contains("data-composer") || tag.contains("data-image-form"),
                    "{name}: <form{tag}>"
                );
            }
        }
    }
}

#[test]
fn every_page_has_one_heading_a_title_a_language_and_a_main_part() {
    for (name, html) in all().unwrap() {
        assert!(html.starts_with("<!doctype html>"), "{name}");
        assert_eq!(html.matches("<h1").count(), 1, "{name}: h1");
        assert_eq!(html.matches("<main ").count(), 1, "{name}: main");
        assert_eq!(html.matches("<title>").count(), 1, "{name}: title");
        assert!(!html.contains("<title> ·"), "{name}: empty title");
        assert!(html.contains("<html lang=\"en\">"), "{name}: language");
        assert!(html.contains("name=\"viewport\""), "{name}: viewport");
    }
}

#[test]
fn ids_are_unique_and_labels_lead_somewhere() {
    for (name, html) in all().unwrap() {
        let ids: Vec<&str> = html.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        for id in &ids {
            assert_eq!(ids.iter().filter(|other| *other == id).count(), 1, "{name}: id {id} twice");
        }
        for attribute in
            [" for=\"", " aria-labelledby=\"", " aria-describedby=\"", "data-copy=\"", "href=\"#"]
        {
            for target in html.split(attribute).skip(1).filter_map(|rest| rest.split('"').next()) {
                assert!(ids.contains(&target), "{name}: {attribute}{target} leads nowhere");
            }
        }
    }
}

#[test]
fn every_asset_that_is_asked_for_is_there() {
    for (name, html) in all().unwrap() {
        for address in html.split("\"/static/").skip(1).filter_map(|rest| rest.split(['"', '?']).next()) {
            assert!(pages::asset(address).is_some(), "{name}: {address}");
        }
    }
}

#[test]
fn the_balance_is_in_the_account_menu_without_scripts() {
    let pages = all().unwrap();
    let page = |name: &str| &pages.iter().find(|(other, _)| *other == name).unwrap().1;
    let rich = page("exchange");
    let menu = rich.split("account-menu").nth(1).unwrap();
    assert!(menu.contains("<span>Credits</span>") && menu.contains(">494.00<"));
    assert!(rich.contains("class=\"num tone\""));
    assert!(page("exchange_empty").contains("class=\"num tone low\""));
    assert!(page("chat").contains("data-nudge hidden"), "the nudge is there but hidden");
    assert!(page("chat_failed").contains("data-nudge>"), "the nudge shows below ten credits");
    assert!(page("image_empty").contains("data-nudge>"));
    assert!(page("credits").contains("Buy for $4.99</button>"));
    assert!(page("exchange_empty").contains("TEST MODE"));
    assert!(!rich.contains("TEST MODE"));
}
