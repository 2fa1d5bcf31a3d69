//! The four pictures of an economy.

use super::agents::{CARGOS, DAY, TICK_MINUTES};
use super::record::{Band, PERIODS, Period, credits};
use super::svg::{Picture, Plot};
use super::world::World;
use crate::stats::{count, ratio};

const WIDTH: f64 = 860.0;
const STROKES: [&str; 3] = ["s0", "s1", "s2"];
const FILLS: [&str; 3] = ["f0", "f1", "f2"];

/// (name of the file, content) of each.
pub fn all(world: &World, days: usize) -> Vec<(&'static str, String)> {
    let days = days_of(days);
    vec![
        ("economy-prices.svg", prices(world, days)),
        ("economy-dispersion.svg", dispersion(world, days)),
        ("economy-served.svg", served(world, days)),
        ("economy-earnings.svg", earnings(world)),
    ]
}

fn days_of(days: usize) -> f64 {
    count(u64::try_from(days).unwrap_or(u64::MAX))
}

/// When a period was in the middle, in days.
fn time(period: usize) -> f64 {
    (days_of(period) + 0.5) / days_of(PERIODS)
}

/// (time, what there is of it) of each period in which there is something.
fn series<T>(periods: &[Period], of: impl Fn(&Period) -> Option<T>) -> Vec<(f64, T)> {
    periods.iter().enumerate().filter_map(|(place, period)| Some((time(place), of(period)?))).collect()
}

/// For each Cargo what jobs cost: the middle, and where four of five lay.
fn prices(world: &World, days: f64) -> String {
    let mut picture = Picture::new(WIDTH, 660.0, "Clearing prices of each Cargo over time");
    let mut top = 0.0;
    for (cargo, kind) in CARGOS.iter().enumerate() {
        let bands = series(world.record.periods(cargo), Period::cleared);
        let highest = bands.iter().map(|(_, band)| band.high).fold(0.0, f64::max);
        let plot = Plot {
            place: [0.0, top, WIDTH, 220.0],
            x: [0.0, days],
            y: [0.0, highest.max(0.01) * 1.05],
            title: kind.name.to_owned(),
            labels: ["day", "credits a job"],
        };
        top += 220.0;
        picture.frame(&plot);
        let band: Vec<_> = bands.iter().map(|(time, Band { low, high, .. })| (*time, *low, *high)).collect();
        picture.band(&plot, FILLS[cargo], &band);
        let middle: Vec<_> = bands.iter().map(|(time, band)| (*time, band.middle)).collect();
        picture.line(&plot, STROKES[cargo], &middle);
        picture.legend(&plot, &[(FILLS[cargo], "median; band: four of five jobs")]);
    }
    picture.svg()
}

/// How far prices lie apart.
fn dispersion(world: &World, days: f64) -> String {
    let mut picture = Picture::new(WIDTH, 520.0, "How far apart prices and asks lie, over time");
    let names: Vec<(&str, &str)> =
        FILLS.iter().zip(&CARGOS).map(|(fill, cargo)| (*fill, cargo.name)).collect();
    let cleared: fn(&Period) -> Option<Band> = Period::cleared;
    let mut top = 0.0;
    for (title, of) in [("clearing prices", cleared), ("asks, taken or not", Period::asked)] {
        let lines: Vec<Vec<(f64, f64)>> = (0..CARGOS.len())
            .map(|cargo| series(world.record.periods(cargo), |period| of(period).map(Band::dispersion)))
            .collect();
        let highest = lines.iter().flatten().map(|(_, value)| *value).fold(0.1, f64::max);
        let plot = Plot {
            place: [0.0, top, WIDTH, 260.0],
            x: [0.0, days],
            y: [0.0, highest * 1.05],
            title: format!("Dispersion: {title}"),
            labels: ["day", "(p90 − p10) / median"],
        };
        top += 260.0;
        picture.frame(&plot);
        for (line, class) in lines.iter().zip(STROKES) {
            picture.line(&plot, class, line);
        }
        picture.legend(&plot, &names);
    }
    picture.svg()
}

/// How many jobs an hour were done, how many were not, and how busy the Islands were.
fn served(world: &World, days: f64) -> String {
    let mut picture = Picture::new(WIDTH, 520.0, "Jobs done and not done, and utilisation, over time");
    let length = (0..CARGOS.len()).map(|cargo| world.record.periods(cargo).len()).max().unwrap_or(0);
    let hours = 24.0 / days_of(PERIODS);
    let sum = |place: usize, of: fn(&Period) -> u64| {
        let all = (0..CARGOS.len()).filter_map(|cargo| world.record.periods(cargo).get(place));
        count(all.map(of).sum()) / hours
    };
    let bars: Vec<(f64, f64)> =
        (0..length).map(|place| (sum(place, Period::served), sum(place, |period| period.unserved))).collect();
    let highest = bars.iter().map(|(done, not)| done + not).fold(1.0, f64::max);
    let plot = Plot {
        place: [0.0, 0.0, WIDTH, 260.0],
        x: [0.0, days],
        y: [0.0, highest * 1.05],
        title: "Jobs of all Cargos".to_owned(),
        labels: ["day", "jobs an hour"],
    };
    picture.frame(&plot);
    for (place, (done, not)) in bars.into_iter().enumerate() {
        let half = 0.42 / days_of(PERIODS);
        let across = [time(place) - half, time(place) + half];
        picture.bar(&plot, "f0", across, [0.0, done]);
        picture.bar(&plot, "f1", across, [done, done + not]);
    }
    picture.legend(&plot, &[("f0", "done"), ("f1", "not done in time")]);
    let plot = Plot {
        place: [0.0, 260.0, WIDTH, 260.0],
        x: [0.0, days],
        y: [0.0, 100.0],
        title: "Utilisation".to_owned(),
        labels: ["day", "% of the slots online"],
    };
    picture.frame(&plot);
    for (cargo, class) in STROKES.iter().enumerate() {
        let busy = |period: &Period| ratio(count(period.worked) * 100.0, count(period.online));
        picture.line(&plot, class, &series(world.record.periods(cargo), busy));
    }
    let names: Vec<(&str, &str)> =
        FILLS.iter().zip(&CARGOS).map(|(fill, cargo)| (*fill, cargo.name)).collect();
    picture.legend(&plot, &names);
    picture.svg()
}

/// What each Island earned beside what it cost.
fn earnings(world: &World) -> String {
    let mut picture = Picture::new(WIDTH, 480.0, "What each Island earned beside what it cost");
    let points: Vec<(usize, f64, f64)> = world
        .islands
        .iter()
        .filter(|island| island.spent > 0)
        .map(|island| (island.cargo, credits(island.spent), credits(island.earned)))
        .collect();
    let most = points.iter().map(|(_, spent, _)| *spent).fold(1.0, f64::max) * 1.05;
    let highest = points.iter().map(|(.., earned)| *earned).fold(1.0, f64::max) * 1.05;
    let plot = Plot {
        place: [0.0, 0.0, WIDTH, 480.0],
        x: [0.0, most],
        y: [0.0, highest],
        title: "Earnings beside cost, one dot an Island".to_owned(),
        labels: ["spent on electricity and wear, credits", "earned after the fee, credits"],
    };
    picture.frame(&plot);
    let even = most.min(highest);
    picture.line(&plot, "s3 dash", &[(0.0, 0.0), (even, even)]);
    for (cargo, spent, earned) in points {
        picture.dot(&plot, FILLS[cargo], (spent, earned), 4.0);
    }
    let mut names: Vec<(&str, &str)> =
        FILLS.iter().zip(&CARGOS).map(|(fill, cargo)| (*fill, cargo.name)).collect();
    names.push(("f3", "dashed: no gain, no loss"));
    picture.legend(&plot, &names);
    picture.svg()
}

/// Steps are of whole minutes, and days of whole periods.
const _: () = assert!(DAY * 3 == 24 * 60 && TICK_MINUTES == 3);
