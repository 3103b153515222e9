//! The simulator as a process of its own, without the command line that will have it: this test
//! binary, asked for one of the two tests below.

use std::process::ExitCode;

use crate::simulator::{Args, engine_core, run};

/// How the test binary becomes the engine's process.
pub(in crate::simulator) const ENGINE_CORE: [&str; 4] = [
    "--exact",
    "simulator::tests::entry::engine_core_entry",
    "--ignored",
    "--nocapture",
];
/// What must be set, so that `--ignored` alone starts nothing.
pub(in crate::simulator) const ENGINE_CORE_VARIABLE: &str = "REPLICA_TEST_ENGINE_CORE";

/// The same for the API server; the variable holds its arguments.
pub(super) const API_SERVER: [&str; 4] = [
    "--exact",
    "simulator::tests::entry::api_server_entry",
    "--ignored",
    "--nocapture",
];
pub(super) const API_SERVER_VARIABLE: &str = "REPLICA_TEST_SIMULATE";

#[test]
#[ignore = "is a process of other tests"]
fn engine_core_entry() {
    if std::env::var_os(ENGINE_CORE_VARIABLE).is_some() {
        leave(engine_core());
    }
}

#[test]
#[ignore = "is a process of other tests"]
fn api_server_entry() {
    if let Ok(line) = std::env::var(API_SERVER_VARIABLE) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
        leave(runtime.block_on(run(Args::typed(&line))));
    }
}

/// Leaves with the code that `main` would leave with.
fn leave(code: ExitCode) {
    let number = [(ExitCode::SUCCESS, 0), (ExitCode::from(2), 2)]
        .into_iter()
        .find(|(known, _)| *known == code);
    std::process::exit(number.map_or(1, |(_, number)| number))
}
