use clap::Args;
use clap::CommandFactory;
use clap_complete::Shell;

use crate::app::App;
use crate::args::Cli;
use crate::error::CommandError;

/// Print the JSON Schema of strongroom.toml
#[derive(Args)]
pub(crate) struct SchemaArgs {}

pub(crate) fn schema(app: &App, _args: &SchemaArgs) -> Result<(), CommandError> {
    let schema = strongroom_core::manifest::Manifest::json_schema();
    app.ui.print_json(schema.as_value())
}

/// Print completions for a shell
#[derive(Args)]
#[command(after_help = "Example:
  strongroom completions bash > ~/.local/share/bash-completion/completions/strongroom")]
pub(crate) struct CompletionsArgs {
    /// Which shell
    shell: Shell,
}

pub(crate) fn completions(app: &App, args: &CompletionsArgs) -> Result<(), CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "strongroom", &mut script);
    app.ui.print_bytes(&script)
}

/// Print the manual page
#[derive(Args)]
pub(crate) struct ManArgs {}

pub(crate) fn man(app: &App, _args: &ManArgs) -> Result<(), CommandError> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command())
        .render(&mut page)
        .map_err(|error| CommandError::failed(format!("the page cannot be made: {error}")))?;
    app.ui.print_bytes(&page)
}
