//! Parses, runs, exits.

use std::process::ExitCode;

fn main() -> ExitCode {
    replica::cli::main(std::env::args_os())
}
