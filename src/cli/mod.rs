//! The command line: one file a command.

mod apply;
mod asking;
mod bench;
mod compare;
mod completing;
mod completions;
mod dashboard;
mod destroy;
mod doctor;
mod drain;
mod error;
mod exit;
mod explain;
mod fmt;
mod init;
mod lock;
mod logs;
mod man;
mod manifest_word;
mod meant;
mod origin;
mod output;
mod plan;
mod profile;
mod proxy;
mod report;
mod restart;
mod run;
mod saved;
mod schema;
mod selection;
mod send_load;
mod status;
mod stop;
mod transfer;
mod validate;
mod wait;
mod watch;
mod workspace;

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

pub use error::Error;
pub use exit::Exit;

use crate::manifest::{Given, Variables};
use crate::quantity::Seconds;
use crate::rehearsal::published_arms;
use crate::simulator;
use crate::view::{self, Format, Screen};

/// Terraform for LLM serving experiments you can trust
///
/// A YAML manifest declares nodes, vLLM instances, a proxy and benchmarks. `plan` shows what
/// differs from it, `apply` makes it so over SSH and measures, `destroy` removes it.
#[derive(Debug, Parser)]
#[command(name = "replica", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
    0  everything is as declared, or nothing was to do
    1  it failed
    2  changes are pending (plan --detailed-exitcode, status --exit-code);
       doctor --exit-code: it found something; fmt --check: a file would be written otherwise
    3  a saved plan no longer holds: plan again
    4  a node could not be reached; the rest is as declared
    5  another run holds the lock
    6  partly applied: applying again goes on from there
    7  a benchmark's result cannot be believed; compare --strict: it is inconclusive
    8  a benchmark missed its objective; compare: an arm is worse
   64  the command line is wrong
   65  the manifest is wrong
  130  interrupted";

/// What every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of every command")]
struct Global {
    /// Read this SSH configuration instead of ~/.ssh/config, as `ssh -F` does
    #[arg(long, global = true, value_name = "FILE")]
    ssh_config: Option<PathBuf>,
    /// Keep results in this folder [default: results beside the manifest]
    #[arg(long, global = true, value_name = "DIR")]
    results: Option<PathBuf>,
    /// Look here for replica binaries of other architectures
    #[arg(long, global = true, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Fill in `${NAME}` in the manifest; without it, the environment says
    #[arg(long = "var", global = true, value_name = "NAME=VALUE")]
    variables: Vec<Given>,
    /// Wait so long for a lock that another run has: `30s`, `10m`
    #[arg(
        long,
        global = true,
        value_name = "TIME",
        default_value = "0s",
        hide_default_value = true
    )]
    lock_timeout: Seconds,
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    json: bool,
    /// Print a JSON document a line for each thing that happens; the last one is that of --json
    #[arg(long, global = true, conflicts_with = "json")]
    json_events: bool,
    /// Change at most so many things at once [default: all that wait for nothing]
    #[arg(long, global = true, value_name = "N")]
    parallelism: Option<NonZeroUsize>,
    /// Go ahead without asking
    #[arg(short = 'y', long, global = true)]
    auto_approve: bool,
    /// Show more: what is kept, formulas; twice, what is said to the nodes
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

impl Global {
    /// Whether the result is to be one JSON document, for who has another form of it.
    fn is_json(&self) -> bool {
        self.format() != Format::Text
    }

    fn format(&self) -> Format {
        match (self.json_events, self.json) {
            (true, _) => Format::Events,
            (false, true) => Format::Document,
            (false, false) => Format::Text,
        }
    }

    fn variables(&self) -> Variables {
        Variables::of_caller(&self.variables)
    }

    fn screen(&self) -> Screen {
        Screen::new(self.verbose > 0, self.format())
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Args),
    Validate(validate::Args),
    Fmt(fmt::Args),
    Plan(plan::Args),
    Apply(apply::Args),
    Destroy(destroy::Args),
    Restart(restart::Args),
    Drain(drain::DrainArgs),
    Undrain(drain::UndrainArgs),
    Wait(wait::Args),
    Watch(watch::Args),
    Status(status::Args),
    Doctor(doctor::Args),
    Logs(logs::Args),
    Output(output::Args),
    Bench(Box<bench::Args>),
    Compare(compare::Args),
    Report(report::Args),
    Profile(profile::Args),
    Explain(explain::Args),
    Schema(schema::Args),
    Dashboard(dashboard::Args),
    Completions(completions::Args),
    Man(man::Args),
    Proxy(Box<proxy::Args>),
    /// Say one thing to a running proxy: a JSON request on the standard input
    #[command(hide = true)]
    ProxyControl(proxy::ControlArgs),
    /// Run a simulated vLLM server (started on nodes by `apply`)
    Simulate(simulator::Args),
    #[command(hide = true)]
    SimulateEngineCore,
    /// Send the requests of a measurement from here
    #[command(hide = true)]
    SendLoad,
    /// Offer the files of a model to another node
    #[command(hide = true)]
    CopyOffer,
    /// Fetch the files of a model from another node
    #[command(hide = true)]
    CopyFetch,
    /// Measure the way from another node
    #[command(hide = true)]
    CopyMeasure,
}

/// Runs the command line and returns its exit code.
pub fn main(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let words: Vec<_> = words.into_iter().collect();
    match completing::answered(&words) {
        Ok(true) => return Exit::Done.into(),
        Ok(false) => {}
        Err(error) => return usage(&error, Format::Text),
    }
    let words = with_two_dashes(words);
    let cli = match Cli::try_parse_from(&words) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, asked_format(&words)),
    };
    // Before any thread: it overwrites its own arguments.
    if matches!(cli.command, Command::SimulateEngineCore) {
        return simulator::engine_core();
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            cli.global.screen().error(&error, &[]);
            return Exit::Failed.into();
        }
    };
    let code = runtime.block_on(run(&cli));
    // A thread that still reads a terminal or a pipe is not waited for.
    runtime.shutdown_background();
    code
}

async fn run(cli: &Cli) -> ExitCode {
    trace(cli);
    let global = &cli.global;
    let done = match &cli.command {
        Command::Init(args) => init::run(global, args).await,
        Command::Validate(args) => validate::run(global, args),
        Command::Fmt(args) => fmt::run(global, args),
        Command::Plan(args) => plan::run(global, args).await,
        Command::Apply(args) => apply::run(global, args).await,
        Command::Destroy(args) => destroy::run(global, args).await,
        Command::Restart(args) => restart::run(global, args).await,
        Command::Drain(args) => drain::drain(global, args).await,
        Command::Undrain(args) => drain::undrain(global, args).await,
        Command::Wait(args) => wait::run(global, args).await,
        Command::Watch(args) => watch::run(global, args).await,
        Command::Status(args) => status::run(global, args).await,
        Command::Doctor(args) => doctor::run(global, args).await,
        Command::Logs(args) => logs::run(global, args).await,
        Command::Output(args) => output::run(global, args).await,
        Command::Bench(args) => bench::run(global, args).await,
        Command::Compare(args) => compare::run(global, args).await,
        Command::Report(args) => report::run(global, args),
        Command::Profile(args) => profile::run(global, args),
        Command::Explain(args) => explain::run(global, args),
        Command::Schema(args) => schema::run(global, args),
        Command::Dashboard(args) => dashboard::run(global, args),
        Command::Completions(args) => completions::run(global, args),
        Command::Man(args) => man::run(global, args),
        Command::Proxy(args) => proxy::run(global, args).await,
        Command::ProxyControl(args) => proxy::control(args).await,
        Command::Simulate(args) => return simulator::run(args.clone(), published_arms).await,
        Command::SimulateEngineCore => return simulator::engine_core(),
        Command::SendLoad => Ok(send_load::run().await),
        Command::CopyOffer => transfer::offer().await,
        Command::CopyFetch => transfer::fetch().await,
        Command::CopyMeasure => transfer::measure().await,
    };
    match done {
        Ok(exit) => exit.into(),
        Err(error) => {
            report(global, &error);
            error.exit().into()
        }
    }
}

fn report(global: &Global, error: &Error) {
    let screen = global.screen();
    if screen.is_json() {
        // Who cannot read the document reads the line below.
        let _ = screen.document(&error.document());
    }
    match error {
        Error::Manifest(error) => screen.say(&view::error::manifest(
            &error.render(screen.talk().colour),
            screen.talk(),
        )),
        other => screen.error(other, &other.hints()),
    }
}

/// Shows what is said to the nodes where that was asked for. The node's own programs have logs of
/// their own.
fn trace(cli: &Cli) {
    if cli.global.verbose < 2 || matches!(cli.command, Command::Proxy(_) | Command::Simulate(_)) {
        return;
    }
    let screen = cli.global.screen();
    let filter = tracing_subscriber::EnvFilter::new("replica=debug,russh=info");
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || screen.writer())
        .init();
}

/// Terraform's users write `-auto-approve` and `-target=ADDRESS`; clap wants two dashes.
fn with_two_dashes(words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    const LONG: [&str; 14] = [
        "auto-approve",
        "check",
        "destroy",
        "detailed-exitcode",
        "diff",
        "json",
        "json-events",
        "lock-timeout",
        "no-bench",
        "out",
        "parallelism",
        "replace",
        "target",
        "var",
    ];
    let is_long = |rest: &str| {
        let name = rest.split_once('=').map_or(rest, |(name, _)| name);
        LONG.contains(&name)
    };
    words
        .into_iter()
        .map(
            |word| match word.to_str().and_then(|text| text.strip_prefix('-')) {
                Some(rest) if is_long(rest) => format!("--{rest}").into(),
                _ => word,
            },
        )
        .collect()
}

/// What is to be printed, of words that could not be read.
fn asked_format(words: &[OsString]) -> Format {
    let says = |flag: &str| words.iter().any(|word| word == flag);
    if says("--json-events") {
        Format::Events
    } else if says("--json") {
        Format::Document
    } else {
        Format::Text
    }
}

/// Prints help and usage errors as clap words them; a usage error has its own exit code.
fn usage(error: &clap::Error, format: Format) -> ExitCode {
    use clap::error::ErrorKind::{DisplayHelp, DisplayVersion};
    let screen = Screen::new(false, format);
    let dressed = |coloured| {
        let text = error.render();
        if coloured {
            text.ansi().to_string()
        } else {
            text.to_string()
        }
    };
    if matches!(error.kind(), DisplayHelp | DisplayVersion) {
        // Where nobody reads it, nobody misses it.
        let _ = screen.result(&dressed(screen.out().colour));
        return Exit::Done.into();
    }
    screen.say(&dressed(screen.talk().colour));
    if screen.is_json() {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        let message = first.trim_start_matches("error: ").to_owned();
        let _ = screen.document(&Error::Usage(message).document());
    }
    Exit::Usage.into()
}

/// The whole command line, for completions.
fn command() -> clap::Command {
    Cli::command()
}
