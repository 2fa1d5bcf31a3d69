//! A browser without a screen: it keeps cookies, sends forms as pages give them, and follows no link by itself.

use std::collections::BTreeMap;
use std::path::Path;

use reqwest::RequestBuilder;
use reqwest::redirect::Policy;
use tokio::time::timeout;

use super::PATIENCE;

pub struct Browser {
    http: reqwest::Client,
    url: String,
    cookies: BTreeMap<String, String>,
}

/// What was answered: status, where to go on to, page.
pub struct Page {
    pub status: u16,
    pub location: String,
    pub text: String,
}

impl Browser {
    pub fn new(url: &str) -> Self {
        let http = reqwest::Client::builder().redirect(Policy::none()).build().unwrap();
        Self { http, url: url.to_owned(), cookies: BTreeMap::new() }
    }

    /// The server is elsewhere now.
    pub fn moved_to(&mut self, url: &str) {
        self.url = url.to_owned();
    }

    pub async fn get(&mut self, path: &str) -> Page {
        self.ask(self.http.get(format!("{}{path}", self.url))).await
    }

    /// Opens a page and sends a form that stands on it.
    pub async fn send(&mut self, page: &str, to: &str, fields: &[(&str, &str)]) -> Page {
        let text = self.get(page).await.text;
        // The pages of the sandbox have it in the form only.
        let places = ["<meta name=\"csrf\" content=\"", "name=\"csrf\" value=\""];
        let found = places.iter().find_map(|place| text.split_once(place));
        let (_, csrf) = found.expect("the page has a token");
        let csrf = csrf.split('"').next().unwrap();
        let mut body = format!("csrf={csrf}");
        for (name, value) in fields {
            body += &format!("&{name}={}", value.replace('@', "%40"));
        }
        let request = self.http.post(format!("{}{to}", self.url)).body(body);
        self.ask(request.header("content-type", "application/x-www-form-urlencoded")).await
    }

    /// Signs in by the link in the mail, which the server has written into its data directory.
    pub async fn sign_in(&mut self, email: &str, data_dir: &Path) {
        let mails = data_dir.join("mail");
        // An earlier link is used up.
        drop(std::fs::remove_dir_all(&mails));
        let sent = self.send("/login", "/login", &[("email", email)]).await;
        assert_eq!(sent.status, 200, "{}", sent.text);
        // Other letters may come in at any time.
        let mails = std::fs::read_dir(&mails).unwrap().map(|file| file.unwrap().path());
        let mut texts = mails.map(|mail| std::fs::read_to_string(mail).unwrap());
        let mail = texts.find(|mail| mail.contains("Subject: Sign in")).unwrap();
        let link = mail.lines().find(|line| line.starts_with("http://")).unwrap();
        let followed = self.get(&path_of(link)).await;
        assert_eq!(followed.status, 303, "{}", followed.text);
        assert_eq!(self.get("/settings").await.status, 200);
    }

    /// A form, to be filled in.
    pub fn post(&self, path: &str) -> RequestBuilder {
        self.http.post(format!("{}{path}", self.url))
    }

    /// A page, to be asked for with more than cookies.
    pub fn http_get(&self, path: &str) -> RequestBuilder {
        self.http.get(format!("{}{path}", self.url))
    }

    /// Its cookies, as it sends them.
    pub fn cookie(&self) -> String {
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        cookies.join("; ")
    }

    pub async fn ask(&mut self, request: RequestBuilder) -> Page {
        let sent = request.header("cookie", self.cookie()).send();
        let response = timeout(PATIENCE, sent).await.expect("an answer in time").unwrap();
        for cookie in response.headers().get_all("set-cookie") {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        let location = response.headers().get("location").map_or("", |value| value.to_str().unwrap());
        Page {
            status: response.status().as_u16(),
            location: path_of(location),
            text: timeout(PATIENCE, response.text()).await.expect("a whole page in time").unwrap(),
        }
    }
}

/// An address without its host.
pub fn path_of(url: &str) -> String {
    match url.split_once("://").and_then(|(_, rest)| rest.split_once('/')) {
        Some((_, path)) => format!("/{path}"),
        None => url.to_owned(),
    }
}
