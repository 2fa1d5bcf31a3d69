//! `island check`.

use std::process::ExitCode;

use island::Finding;
use types::time::SystemClock;

use super::{CommandResult, runtime, say, wants_colour};
use crate::Common;

pub(crate) fn run(common: &Common) -> CommandResult {
    let setting = common.setting()?;
    if let Some(path) = &setting.file {
        say(&format!("Configuration: {}", path.path().display()))?;
    }
    let colour = wants_colour(&std::io::stdout());
    let mut notes = 0;
    let mut tell = |finding: Finding, text: String| {
        notes += usize::from(finding == Finding::Note);
        let (mark, paint) = match finding {
            Finding::Good => ("ok  ", "32"),
            Finding::Note => ("note", "33"),
            Finding::Bad => ("BAD ", "31"),
        };
        // If nobody reads, the exit code still says it.
        let _ = if colour {
            say(&format!("\x1b[{paint}m{mark}\x1b[0m {text}"))
        } else {
            say(&format!("{mark} {text}"))
        };
    };
    let state = setting.state.as_ref();
    let good = runtime()?.block_on(island::check(&setting.config, state, &SystemClock, &mut tell));
    if good && notes == 0 {
        say("\nReady: start `island` to serve.")?;
    } else if good {
        say("\nReady, but read the notes above. Start `island` to serve.")?;
    } else {
        say("\nNot ready: see what is marked BAD above.")?;
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
