//! The simulator as a process of its own, without the command line that will have it: this test
//! binary, asked for one of the two tests below.

use std::process::ExitCode;

use crate::simulator::{Args, engine_core, run};

/// How the test binary becomes the engine's process.
pub(in crate::simulator) const ENGINE_CORE: [&str; 3] = [
    "--exact",
    "simulator::tests::entry::engine_core_entry",
    "--nocapture",
];
/// What must be set for it: a plain run of the tests starts nothing.
pub(in crate::simulator) const ENGINE_CORE_VARIABLE: &str = "REPLICA_TEST_ENGINE_CORE";

/// The same for the API server; the variable holds its arguments.
pub(super) const API_SERVER: [&str; 3] = [
    "--exact",
    "simulator::tests::entry::api_server_entry",
    "--nocapture",
];
pub(super) const API_SERVER_VARIABLE: &str = "REPLICA_TEST_SIMULATE";

#[test]
fn engine_core_entry() {
    if std::env::var_os(ENGINE_CORE_VARIABLE).is_some() {
        leave(engine_core());
    }
}

#[test]
fn api_server_entry() {
    if let Ok(line) = std::env::var(API_SERVER_VARIABLE) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
        leave(runtime.block_on(run(Args::typed(&line), String::new)));
    }
}

/// Leaves with the code that `main` would leave with.
#[expect(
    clippy::disallowed_methods,
    reason = "the test is a process of its own here"
)]
fn leave(code: ExitCode) {
    let number = [(ExitCode::SUCCESS, 0), (ExitCode::from(2), 2)]
        .into_iter()
        .find(|(known, _)| *known == code);
    std::process::exit(number.map_or(1, |(_, number)| number))
}
