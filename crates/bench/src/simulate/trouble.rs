//! What nobody wants: processes that are killed or fall asleep, clocks that jump.

use super::process::Process;
use super::world::World;
use crate::Result;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

impl World {
    /// A process is killed, wherever it is. One that was replaced ends by itself.
    pub async fn kill(&mut self) -> Result<bool> {
        let replaced = self.take(|one| one.replaced);
        let Some(process) = replaced.or_else(|| self.take(|_| true)) else { return Ok(false) };
        self.log.say(&format!(
            "{}: killed, with {} jobs, {} commands and {} answers on their way",
            process.name(),
            process.drives.len(),
            process.queue.len(),
            process.answers.len()
        ));
        process.kill().await;
        Ok(true)
    }

    /// A process falls asleep, or one that sleeps wakes up.
    pub fn sleep(&mut self) -> bool {
        // Most sleep for long enough to be missed.
        let asleep = if self.dice.percent(30) { self.take(|one| one.asleep) } else { None };
        let Some(mut process) = asleep.or_else(|| self.take(Process::serves)) else { return false };
        process.asleep = !process.asleep;
        let what = if process.asleep { "falls asleep" } else { "wakes up" };
        self.log.say(&format!("{}: {what}", process.name()));
        self.put(process);
        true
    }

    /// The clock of one machine, or of all, jumps forwards or backwards.
    pub async fn jump(&mut self) -> Result<bool> {
        let far = self.dice.one_of([1000, 10_000, MINUTE_MS, 10 * MINUTE_MS, HOUR_MS, DAY_MS, 9 * DAY_MS]);
        let by = self.dice.between(-far / 2, far);
        let all = self.dice.percent(50);
        let slot = self.dice.below(self.slots.len());
        for (index, one) in self.slots.iter().enumerate() {
            if all || index == slot {
                one.clock.advance_millis(by);
            }
        }
        let whose = if all { "all clocks".to_owned() } else { format!("the clock of slot {slot}") };
        self.log.say(&format!("{whose} jump by {by} ms"));
        self.beat_in_time(by > 0).await?;
        Ok(true)
    }
}
