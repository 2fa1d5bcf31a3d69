//! Reads what an Island says, within what it may say.
//!
//! An Island that sends more than it may about its attempts is read more slowly. Offers that change too often are taken
//! later, the newest of them. A flood of anything else, or of words about attempts that are not its own, ends the connection.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use types::id::AttemptId;
use types::island_protocol::{FromIsland, Offer, ToIsland};
use types::time::Timestamp;

use super::connection::{About, Source, next};
use super::limits::Bucket;
use super::session::{End, Heard, Link, Said, Session};
use super::{offers, shorten, upkeep};
use crate::app::App;
use crate::jobs::{Image, Usage};

/// Longest text an Island may say about an error, in characters.
const MAX_TEXT: usize = 500;
/// Missed beats after which an Island is gone (incident 96).
const MISSED_BEATS: u64 = 3;
/// Bytes an Island may send in a second before it is read more slowly, and at once.
const BYTES: (u32, u32) = (64 * 1024 * 1024, 64 * 1024 * 1024);
/// Changes of offers that are taken in a minute, and at once. Later ones wait; the newest counts.
const OFFERS: (u32, u32) = (30, 10);
/// Messages that are not about attempts, in a second and at once. More end the connection.
const UNNUMBERED: (u32, u32) = (10, 200);
/// Words about attempts that are not the Island's own, in a second and at once. More end the connection.
const OFFENCES: (u32, u32) = (10, 500);

/// One connection's reader.
pub(super) struct Reader<'a> {
    app: &'a Arc<App>,
    session: &'a Arc<Session>,
    link: &'a Arc<Link>,
    about: About,
    numbered: Bucket,
    bytes: Bucket,
    offers: Bucket,
    unnumbered: Bucket,
    offences: Bucket,
    /// Offers that came too soon, and when they are taken.
    later: Option<(Instant, Vec<Offer>)>,
}

/// A message, told apart.
enum Message {
    Numbered(AttemptId, Said),
    Other(FromIsland),
}

/// What to do after a message.
enum Next {
    Read,
    Pause(Duration),
    Leave,
}

impl<'a> Reader<'a> {
    pub fn new(app: &'a Arc<App>, session: &'a Arc<Session>, link: &'a Arc<Link>, about: About) -> Self {
        let now = app.clock.now();
        let per_second = |(rate, burst)| Bucket::per_second(rate, burst, now);
        let messages = app.config.islands.messages_per_second;
        Self {
            app,
            session,
            link,
            about,
            numbered: per_second((messages, messages)),
            bytes: per_second(BYTES),
            offers: Bucket::per_minute(OFFERS.0, OFFERS.1, now),
            unnumbered: per_second(UNNUMBERED),
            offences: per_second(OFFENCES),
            later: None,
        }
    }

    /// Reads until the connection ends, one way or another.
    pub async fn run(mut self, source: &mut Source) {
        let patience = Duration::from_secs(u64::from(self.app.config.islands.heartbeat_secs) * MISSED_BEATS);
        loop {
            let due = self.later.as_ref().map(|(at, _)| *at);
            let message = tokio::select! {
                message = timeout(patience, next(source)) => message,
                () = self.link.closing.notified() => return,
                () = self.link.changed.notified() => {
                    offers::put_in_book(self.app, self.session);
                    continue;
                }
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    if let Some((_, offers)) = self.later.take() {
                        self.take_offers(offers).await;
                    }
                    continue;
                }
            };
            let next = match message {
                Ok(Some(Ok((message, bytes)))) => self.take(message, bytes).await,
                Ok(Some(Err(error))) => {
                    let island = &self.session.island;
                    tracing::warn!(island = %island.id, error, "Island {} sent nonsense", island.name);
                    self.close("bad_message", "A message could not be read.")
                }
                Ok(None) | Err(_) => Next::Leave,
            };
            match next {
                Next::Read => tokio::task::coop::consume_budget().await,
                Next::Pause(pause) => tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = self.link.closing.notified() => return,
                },
                Next::Leave => return,
            }
        }
    }

    fn close(&self, code: &str, text: &str) -> Next {
        self.link.close(code, text);
        Next::Leave
    }

    async fn take(&mut self, message: FromIsland, bytes: usize) -> Next {
        let now = self.app.clock.now();
        let pause = self.bytes.spend(u32::try_from(bytes).unwrap_or(u32::MAX), now);
        let pause = match sort(self.session, message) {
            Message::Numbered(attempt, said) => {
                let pause = pause.max(self.numbered.spend(1, now));
                match self.session.hear(self.link, attempt, said, now) {
                    Heard::Fine => {}
                    Heard::Offence => {
                        self.session.profile.offended(now);
                        metrics::counter!("archipelago_island_offences_total").increment(1);
                        if !self.offences.take(1, now) {
                            let text = "Too many messages about attempts that are not this Island's.";
                            return self.close("too_many_messages", text);
                        }
                    }
                    Heard::Stale => return Next::Leave,
                }
                pause
            }
            Message::Other(other) => {
                if !self.unnumbered.take(1, now) {
                    return self.close("too_many_messages", "Too many messages; please wait a minute.");
                }
                self.take_unnumbered(other, now).await;
                pause
            }
        };
        pause.map_or(Next::Read, |pause| Next::Pause(Duration::from_millis(pause)))
    }

    async fn take_unnumbered(&mut self, message: FromIsland, now: Timestamp) {
        match message {
            FromIsland::Heartbeat { running } => self.session.heartbeat(self.link, &running, now),
            FromIsland::Offers { offers } => {
                if self.later.is_none() && self.offers.take(1, now) {
                    return self.take_offers(offers).await;
                }
                let at = self.later.take().map(|(at, _)| at);
                let soon = Duration::from_millis(self.offers.wait(1).max(1));
                self.later = Some((at.unwrap_or_else(|| Instant::now() + soon), offers));
            }
            FromIsland::Draining {} => {
                self.later = None;
                self.session.set_offered(Vec::new());
                offers::put_in_book(self.app, self.session);
                upkeep::note_seen(self.app, self.session, &self.about, false).await;
            }
            // A second introduction changes nothing; all else is numbered.
            _ => {}
        }
    }

    async fn take_offers(&mut self, offers: Vec<Offer>) {
        let (taken, mut refused_offers) = offers::check(self.app, &self.about.capabilities, offers);
        self.session.set_offered(taken);
        offers::put_in_book(self.app, self.session);
        refused_offers.extend(offers::hindered(self.app, self.session));
        self.link.send(ToIsland::OffersTaken { refused_offers });
        upkeep::note_seen(self.app, self.session, &self.about, false).await;
    }
}

/// Tells messages about attempts from others.
fn sort(session: &Session, message: FromIsland) -> Message {
    let (attempt, said) = match message {
        FromIsland::Output { attempt_id, seq, chunk } => (attempt_id, Said::Output { seq, text: chunk }),
        FromIsland::Delta { attempt_id, seq, delta } => (attempt_id, Said::Delta { seq, delta }),
        FromIsland::Embeddings { attempt_id, seq, vectors } => {
            (attempt_id, Said::Embeddings { seq, vectors })
        }
        FromIsland::Progress { attempt_id, step, total } => (attempt_id, Said::Progress { step, total }),
        FromIsland::Image { attempt_id, image_data, format, width, height, seed } => {
            // Looked at only where one is waited for, so that nobody is kept busy by others.
            let wanted = session.wants_image(attempt_id);
            if wanted && image_data.len() > session.output_bytes() {
                return Message::Numbered(attempt_id, Said::Ended(End::TooMuch));
            }
            let image = wanted.then(|| check_image(image_data, &format, (width, height), seed)).flatten();
            (attempt_id, Said::Image(image))
        }
        FromIsland::Done { attempt_id, usage, finish_reason } => {
            let reported = usage.unwrap_or_default();
            let count = |tokens: Option<u64>| tokens.map(|tokens| i64::try_from(tokens).unwrap_or(i64::MAX));
            let usage = Usage {
                prompt_tokens: count(reported.prompt_tokens),
                completion_tokens: count(reported.completion_tokens),
            };
            let finish_reason = finish_reason.map(|reason| shorten(&reason, 32));
            (attempt_id, Said::Ended(End::Done { usage, finish_reason }))
        }
        FromIsland::Failed { attempt_id, error, retryable } => {
            (attempt_id, Said::Ended(End::Failed { error: shorten(&error, MAX_TEXT), retryable }))
        }
        FromIsland::Rejected { attempt_id, .. } => (attempt_id, Said::Ended(End::Rejected)),
        other => return Message::Other(other),
    };
    Message::Numbered(attempt, said)
}

/// A picture that pages may show: of a known kind, of a possible size, in base64.
fn check_image(data: String, format: &str, (width, height): (u32, u32), seed: Option<u64>) -> Option<Image> {
    use base64::Engine as _;
    let decoded = base64::engine::general_purpose::STANDARD.decode(&data).ok()?;
    // The size that is paid for is the one in the file, and no other may be claimed.
    let header = types::image_header::read(&decoded)?;
    let size = 1..=16_384;
    let fine = header.format == format
        && (header.width, header.height) == (width, height)
        && size.contains(&width)
        && size.contains(&height);
    fine.then(|| Image { data, format: format.to_owned(), width, height, seed })
}
