//! Letters to owners of Islands about their machines.

use super::{Content, Kind, Letter, Line};

/// An Island is gone.
#[derive(Clone, Debug)]
pub struct IslandGone {
    /// What people reach the server by.
    pub site: String,
    /// What it is called.
    pub island: Line,
    /// When it was last seen: `2026-11-22 12:00 UTC`.
    pub last_seen: Line,
}

impl Letter for IslandGone {
    fn kind(&self) -> Kind {
        Kind::IslandGone
    }

    fn content(&self) -> Content {
        Content::new(&self.site, format!("Your Island {} is offline", self.island))
            .say("It gets no jobs, and earns nothing, until it connects again. Is the machine on, and is the program `island` running?")
            .fact("Island", &self.island)
            .fact("Last seen", &self.last_seen)
            .link("See your Islands", format!("{}/islands", self.site))
            .say("You can switch these letters off under Settings.")
    }
}

/// It is back.
#[derive(Clone, Debug)]
pub struct IslandBack {
    /// What people reach the server by.
    pub site: String,
    /// What it is called.
    pub island: Line,
    /// Since when it was gone: `2026-11-22 12:00 UTC`.
    pub since: Line,
}

impl Letter for IslandBack {
    fn kind(&self) -> Kind {
        Kind::IslandBack
    }

    fn content(&self) -> Content {
        Content::new(&self.site, format!("Your Island {} is back", self.island))
            .say("It is connected again and gets jobs.")
            .fact("Island", &self.island)
            .fact("It was offline since", &self.since)
            .link("See your Islands", format!("{}/islands", self.site))
    }
}
