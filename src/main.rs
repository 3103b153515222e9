//! Parses, runs, exits.

use std::process::ExitCode;

use clap::Parser;
use replica::simulator;

#[derive(Parser)]
enum Command {
    /// Serve a simulated model
    Simulate(simulator::Args),
    #[command(hide = true, name = simulator::ENGINE_CORE_COMMAND)]
    SimulateEngineCore,
}

fn main() -> ExitCode {
    match Command::parse() {
        Command::SimulateEngineCore => simulator::engine_core(),
        Command::Simulate(args) => match tokio::runtime::Runtime::new() {
            Ok(runtime) => runtime.block_on(simulator::run(args)),
            Err(_) => ExitCode::FAILURE,
        },
    }
}
