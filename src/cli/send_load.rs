//! `replica send-load`: what a node runs while requests are sent from there. It is told what to send by
//! one line on the standard input, says what comes of it in lines that whoever measures reads, and
//! ends with whoever told it.

use tokio::io::{BufReader, stdin, stdout};

use super::exit::Exit;
use crate::load;

pub(super) async fn run() -> Exit {
    if load::serve(BufReader::new(stdin()), stdout()).await {
        Exit::Done
    } else {
        Exit::Failed
    }
}
