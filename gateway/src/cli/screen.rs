//! What commands know of the terminal that they write to: its width, whether it shows colours.
//!
//! Never here: what is written.

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How often a command that waits looks whether anybody still reads what it prints.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Where a command writes. The default is no terminal: no width to fit, no colours, no progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Screen {
    /// Columns that a line has; `None` if lines may be as long as they are.
    pub width: Option<u16>,
    /// Whether colours are shown.
    pub colors: bool,
    /// Whether somebody watches how far the command is, on standard error.
    pub progress: bool,
}

impl Screen {
    /// The screen of the process. Colours need a terminal and that the person allows them.
    pub fn of_process(allows_colors: bool) -> Self {
        let is_terminal = io::stdout().is_terminal();
        let size = is_terminal.then(|| rustix::termios::tcgetwinsize(io::stdout()).ok()).flatten();
        Self {
            // A terminal that does not know its width says 0.
            width: size.map(|size| size.ws_col).filter(|columns| *columns > 0),
            colors: is_terminal && allows_colors,
            progress: io::stderr().is_terminal(),
        }
    }

    /// A bar of `length` steps, which is drawn only if somebody watches, and cleared when it is dropped.
    pub fn bar(self, length: u64) -> ProgressBar {
        let target =
            if self.progress { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(length), target);
        let bar = bar.with_finish(ProgressFinish::AndClear);
        match ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} (left: {eta})") {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        }
    }
}

/// Waits until nobody reads standard output any more, as after `| head -1`: a program that has nothing to
/// write would not notice.
///
/// # Cancel safety
///
/// Safe to drop.
pub(super) async fn output_closed() {
    loop {
        let stdout = io::stdout();
        let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
        let is_known = poll(&mut watched, Some(&Timespec::default())).is_ok();
        if is_known && watched.iter().any(|output| output.revents().contains(PollFlags::ERR)) {
            return;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
