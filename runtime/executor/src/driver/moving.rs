//! A run goes on with another version of its workflow, when nothing of it is under way: the fact is written, and the
//! driver ends; what drives the run from then on is made from the journal, as after a crash.

use super::{Driver, Exit};
use crate::inbox::Moving;
use crate::migrate::{self, MigrateFault};
use heddle_core::run::event::Event;
use heddle_core::run::migrate::Unmovable;
use heddle_store::IndexChange;

impl Driver {
    /// Does what was asked for first, if it can be done now.
    pub(super) async fn move_on(&mut self) -> Result<Option<Exit>, Exit> {
        if self.draining || !self.attempts.is_empty() || matches!(self.run.may_move(), Err(Unmovable::Busy)) {
            return Ok(None);
        }
        // What is proved is what is on disk.
        while let Some((seq, result)) = futures_util::StreamExt::next(&mut self.appends).await {
            self.committed(seq, result).await?;
        }
        if !self.attempts.is_empty() || self.run.may_move() == Err(Unmovable::Busy) {
            return Ok(None);
        }
        let (message, moving) = self.moving.remove(0);
        let Moving { by, version } = moving;
        let tenant = self.run.accepted().map(|accepted| accepted.tenant.clone()).unwrap_or_default();
        let wanted =
            migrate::Wanted { tenant: &tenant, run: &self.run, from: &self.snapshot, version: &version };
        let moved = migrate::prepare(&self.shared, wanted).await;
        let word = version.to_string().into();
        let now = self.shared.now();
        let (event, index, exit) = match moved {
            Ok(snapshot) => {
                self.blobs.push(snapshot.blob());
                let index =
                    IndexChange::Moved { version: version.to_string().into(), snapshot: snapshot.digest };
                let event = Event::RunMigrated { by, version: word, snapshot: snapshot.digest };
                (event, Some(index), Some(Exit::Moved))
            }
            // It ends, and is told nothing any more.
            Err(MigrateFault::Unmovable(Unmovable::Ended)) => return Ok(None),
            Err(MigrateFault::Read(fault)) => {
                tracing::error!(run = %self.run.id, %fault, "a run that is to go on with another version cannot be read");
                (Event::MigrationRefused { by, version: word, why: fault.to_string().into() }, None, None)
            }
            Err(fault) => {
                (Event::MigrationRefused { by, version: word, why: fault.told().into() }, None, None)
            }
        };
        self.consumed.push(message);
        self.run.apply(&event, now).map_err(Exit::Illegal)?;
        self.hand_over(now, vec![event], index);
        while let Some((seq, result)) = futures_util::StreamExt::next(&mut self.appends).await {
            self.committed(seq, result).await?;
        }
        Ok(exit)
    }
}
