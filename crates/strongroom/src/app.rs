//! What every command gets: settings, the environment, the clock, the way to talk.

use strongroom_core::port::Clock;
use strongroom_core::time::Timestamp;

use crate::args::Global;
use crate::config::Settings;
use crate::env::Environment;
use crate::error::CommandError;
use crate::hardening::OriginalLimits;
use crate::ui::Manner;
use crate::ui::Ui;

pub(crate) struct App {
    pub(crate) global: Global,
    pub(crate) environment: Environment,
    pub(crate) settings: Settings,
    pub(crate) ui: Ui,
    /// The command's name, for the audit log.
    pub(crate) command: &'static str,
    pub(crate) limits: OriginalLimits,
}

impl App {
    pub(crate) fn new(
        global: Global,
        environment: Environment,
        command: &'static str,
        limits: OriginalLimits,
    ) -> Result<Self, CommandError> {
        let ui = ui_of(&global, &environment);
        let settings = Settings::load(&global, &environment)?;
        Ok(Self {
            global,
            environment,
            settings,
            ui,
            command,
            limits,
        })
    }

    /// Now.
    pub(crate) fn now(&self) -> Timestamp {
        SystemClock.time()
    }
}

/// The system's clock.
pub(crate) struct SystemClock;

impl SystemClock {
    pub(crate) fn time(&self) -> Timestamp {
        Timestamp::from_micros(jiff::Timestamp::now().as_microsecond())
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        self.time()
    }
}

pub(crate) fn ui_of(global: &Global, environment: &Environment) -> Ui {
    let manner = Manner {
        is_json: global.json,
        is_quiet: global.quiet,
        no_colour: global.no_color,
        non_interactive: global.non_interactive,
        says_yes: global.yes,
    };
    Ui::new(manner, environment)
}
