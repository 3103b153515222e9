//! What load generators are held against.
//!
//! `stopwatch serve PORT FIRST_MS GAP_MS` answers like vLLM by a timetable, and writes down when it
//! did: `GET /truth` hands out a line for each stream that has ended, and forgets them.
//!
//! `stopwatch ask PORT TOKENS (batch|closed|rate) NUMBER REQUESTS` is the least that a client can be:
//! one thread, connections that are open before, stamps at the read, and nothing is parsed until all
//! is over. It prints a line for each request.

mod client;
mod clock;
mod server;

use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let number = |word: &str| word.parse::<f64>().map_err(|_| format!("{word}: no number"));
    let done = match words[..] {
        ["serve", port, first, gap] => number(port).and_then(|port| {
            let script = server::Script::of(number(first)?, number(gap)?);
            server::serve(port as u16, script).map_err(|error| error.to_string())
        }),
        ["ask", port, tokens, how, much, requests] => number(port).and_then(|port| {
            let load = client::Load::of(how, number(much)?, number(requests)? as usize)
                .ok_or("batch, closed or rate?")?;
            let asked = client::ask(port as u16, number(tokens)? as usize, &load);
            asked.map_err(|error| error.to_string())
        }),
        _ => Err("stopwatch serve PORT FIRST_MS GAP_MS\n\
                  stopwatch ask PORT TOKENS (batch|closed|rate) NUMBER REQUESTS"
            .to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stopwatch: {error}");
            ExitCode::FAILURE
        }
    }
}
