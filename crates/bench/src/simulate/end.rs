//! The end of a run: nothing is broken any more, everything that was begun comes to its end, and then nobody may have lost or kept
//! anything (I7, I4).

use server::purchases::State;
use server::purchases::provider::Payment;
use types::time::SECOND_MS;

use super::check::is_idle;
use super::drive::Stage;
use super::world::World;
use crate::Result;

/// How often everything is tried before it counts as stuck.
const ROUNDS: usize = 4000;

impl World {
    /// Lets everything come to its end, and looks at all there is.
    pub async fn wind_down(&mut self) -> Result<()> {
        self.calm = true;
        self.log.say("from here on nothing goes wrong any more");
        for round in 0..ROUNDS {
            if self.is_over() {
                self.check().await?;
                self.check_paid()?;
                return self.check_everything().await;
            }
            self.wind_down_once(round).await?;
            self.check().await?;
        }
        let jobs: Vec<i64> =
            self.model.jobs.iter().filter(|(_, job)| job.is_open()).map(|(id, _)| *id).collect();
        let holds = self.model.books.holds();
        Err(format!("I7: after {ROUNDS} rounds jobs {jobs:?} and holds {holds:?} are still open").into())
    }

    async fn wind_down_once(&mut self, round: usize) -> Result<()> {
        while let Some(mut process) = self.take(|one| one.asleep) {
            process.asleep = false;
            self.put(process);
        }
        while self.processes().any(|one| one.replaced) {
            self.kill().await?;
        }
        while self.start().await? {}
        for slot in 0..self.slots.len() {
            self.pass_time(20);
            if let Some(mut process) = self.slots[slot].process.take() {
                self.beat_of(&mut process).await?;
                self.put(process);
            }
        }
        for process in self.processes() {
            // What waits need not be waited for; what runs may still be done.
            let waiting = process.drives.values().filter(|drive| !matches!(drive.stage, Stage::Running(_)));
            waiting.for_each(|drive| drive.live.cancel());
        }
        let mut moved = self.take_over().await?;
        moved |= self.resume().await?;
        moved |= self.commit().await?;
        moved |= self.answer()?;
        moved |= self.provider().await?;
        moved |= self.island();
        moved |= self.turn();
        moved |= self.deliver().await?;
        if !moved || round % 50 == 49 {
            // What nobody drives is ended when its time has passed.
            self.pass_time(600 * SECOND_MS);
            self.expire().await?;
            self.forgotten().await?;
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        let told = self.deliveries.iter().all(|delivery| delivery.heard && delivery.copies == 0);
        let ended = !self.model.jobs.values().any(super::model::jobs::Job::is_open);
        told && ended && self.model.books.holds().is_empty() && self.processes().all(is_idle)
    }

    /// Whoever paid has the credits, and nobody else (I4).
    fn check_paid(&self) -> Result<()> {
        for (session, known) in self.shop.sessions() {
            let purchase =
                self.model.purchase_by_session(&session).and_then(|id| self.model.purchases.get(&id));
            let granted = purchase.is_some_and(|one| one.state == State::Granted);
            let right = purchase.is_some_and(|one| one.amount == known.amount.get());
            if granted != (known.payment == Payment::Paid && right) {
                return Err(format!("I4: {session} is {known:?} and the purchase {purchase:?}").into());
            }
        }
        Ok(())
    }
}
