//! What load generators are held against.
//!
//! `stopwatch serve PORT FIRST_MS GAP_MS` answers like vLLM by a timetable, and writes down when it
//! did: `GET /truth` hands out a line for each stream that has ended, and forgets them.
//!
//! `stopwatch ask PORT TOKENS (batch|closed|rate) NUMBER REQUESTS` is the least that a client can be:
//! one thread, connections that are open before, stamps at the read, and nothing is parsed until all
//! is over. It prints a line for each request.
//!
//! `stopwatch mock GAP_US PORT:NONCE…` is backends that cost next to nothing, and `stopwatch drive
//! PORT,… BODY HOW…` the clients of a proxy before them.

mod client;
mod clock;
mod drive;
mod http;
mod mock;
mod server;

use std::error::Error;
use std::process::ExitCode;

const USAGE: &str = "\
stopwatch serve PORT FIRST_MS GAP_MS
stopwatch ask PORT TOKENS (batch|closed|rate) NUMBER REQUESTS
stopwatch mock GAP_US PORT:NONCE...
stopwatch drive PORT,... (small|large|escaped) closed CLIENTS SECONDS
stopwatch drive PORT,... (small|large|escaped) rate A_SECOND SECONDS
stopwatch drive PORT,... small streams CLIENTS EVENTS
stopwatch drive PORT,... small (burst|idle) CLIENTS";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stopwatch: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result<(), Box<dyn Error>> {
    match words {
        ["serve", port, first, gap] => {
            let script = server::Script::of(number(first)?, number(gap)?);
            server::serve(number(port)? as u16, script)?;
        }
        ["ask", port, tokens, how, much, requests] => {
            let load = client::Load::of(how, number(much)?, number(requests)? as usize);
            let load = load.ok_or("batch, closed or rate?")?;
            client::ask(number(port)? as u16, number(tokens)? as usize, &load)?;
        }
        ["mock", gap, backends @ ..] if !backends.is_empty() => {
            let backends: Result<Vec<_>, _> = backends.iter().map(|it| backend(it)).collect();
            mock::serve(number(gap)?, &backends?)?;
        }
        ["drive", ports, kind, how @ ..] => {
            let ports: Result<Vec<_>, _> = ports.split(',').map(number).collect();
            let ports: Vec<u16> = ports?.into_iter().map(|port| port as u16).collect();
            let what = what(how)?;
            let body = drive::body(kind, &what).ok_or("small, large or escaped?")?;
            drive::drive(&ports, &what, &body)?;
        }
        _ => return Err(USAGE.into()),
    }
    Ok(())
}

fn backend(word: &str) -> Result<mock::Backend, Box<dyn Error>> {
    let (port, nonce) = word.split_once(':').ok_or("PORT:NONCE?")?;
    Ok(mock::Backend { port: number(port)? as u16, nonce: nonce.to_owned() })
}

fn what(how: &[&str]) -> Result<drive::Drive, Box<dyn Error>> {
    let clients = |word| number(word).map(|it| it as usize);
    Ok(match *how {
        ["closed", many, seconds] => {
            drive::Drive::Closed { clients: clients(many)?, seconds: number(seconds)? }
        }
        ["rate", a_second, seconds] => {
            drive::Drive::Rate { a_second: number(a_second)?, seconds: number(seconds)? }
        }
        ["streams", many, events] => {
            drive::Drive::Streams { clients: clients(many)?, events: number(events)? as u64 }
        }
        ["burst", many] => drive::Drive::Burst { clients: clients(many)? },
        ["idle", many] => drive::Drive::Idle { clients: clients(many)? },
        _ => return Err(USAGE.into()),
    })
}

fn number(word: &str) -> Result<f64, String> {
    word.parse().map_err(|_| format!("{word}: no number"))
}
