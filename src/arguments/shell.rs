//! What can be written behind `completions` and `man`, and what they write: both are read off the command line itself.

use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;
use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use planner::read::gpus::GpuCatalogue;
use planner::read::spec::Shelf;

use super::CommandLine;
use crate::failure::Failure;
use crate::output;
use crate::program::FITS;

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  memplan completions bash > ~/.local/share/bash-completion/completions/memplan
  memplan completions zsh > ~/.zfunc/_memplan
  memplan completions fish > ~/.config/fish/completions/memplan.fish";

const MAN_EXAMPLES: &str = "\
Examples:
  memplan man | man -l -                       read it
  memplan man plan | man -l -                  that of a command
  memplan man -o ~/.local/share/man/man1       all pages, memplan.1, memplan-plan.1, ...";

/// `memplan completions`.
#[derive(Debug, Args)]
#[command(after_help = COMPLETIONS_EXAMPLES)]
pub struct CompletionsArguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// `memplan man`.
#[derive(Debug, Args)]
#[command(after_help = MAN_EXAMPLES)]
pub struct ManArguments {
    /// The command whose page is printed [default: memplan's own]
    #[arg(conflicts_with = "output")]
    command: Option<String>,
    /// Write all pages to this folder
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// Prints the completions for a shell.
pub fn completions(arguments: &CompletionsArguments) -> Result<u8, Failure> {
    let mut script = Vec::new();
    let mut program = with_names(CommandLine::command())?;
    clap_complete::generate(arguments.shell, &mut program, "memplan", &mut script);
    output::print_data(&String::from_utf8_lossy(&script))?;
    Ok(FITS)
}

/// The command line with the names of GPUs and built-in models where it takes any: shells complete them.
fn with_names(program: Command) -> Result<Command, Failure> {
    let gpus: Vec<String> =
        GpuCatalogue::load(None)?.iter().map(|gpu| gpu.key.clone()).chain(["local".to_owned()]).collect();
    let families = Shelf::default().families().map_err(|error| Failure::new(error, None))?;
    let models: Vec<String> = families.iter().flat_map(|family| family.configurations.keys().cloned()).collect();
    Ok(program.mut_subcommands(|command| {
        command.mut_args(|argument| match argument.get_id().as_str() {
            "gpu" => argument.value_parser(PossibleValuesParser::new(gpus.clone())),
            "model" => argument.value_parser(PossibleValuesParser::new(models.clone())),
            _ => argument,
        })
    }))
}

/// Prints a page of the manual, or writes all.
pub fn man(arguments: &ManArguments) -> Result<u8, Failure> {
    let mut program = CommandLine::command();
    program.build();
    if let Some(folder) = &arguments.output {
        let failed = |error| Failure::new(format!("{}: cannot be written: {error}", folder.display()), None);
        std::fs::create_dir_all(folder).map_err(failed)?;
        write_pages(program.disable_help_subcommand(true), folder)?;
        return Ok(FITS);
    }
    let page = match &arguments.command {
        None => program,
        Some(name) => {
            let unknown = || {
                Failure::new(
                    format!("there is no command `{name}`"),
                    Some("`memplan --help` lists the commands".to_owned()),
                )
            };
            program.find_subcommand(name).cloned().ok_or_else(unknown)?
        }
    };
    let mut text = Vec::new();
    Man::new(page).render(&mut text).map_err(|error| Failure::new(error, None))?;
    output::print_data(&String::from_utf8_lossy(&text))?;
    Ok(FITS)
}

/// Writes a command's page, and those of the commands below it.
fn write_pages(command: Command, folder: &Path) -> Result<(), Failure> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        write_pages(below.clone(), folder)?;
    }
    let page = Man::new(command);
    output::write_whole(&folder.join(page.get_filename()), |mut file| page.render(&mut file))
}
