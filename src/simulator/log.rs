//! The program's log, worded and coloured like vLLM 0.13.0's.
//!
//! vLLM's own lines go to stdout, uvicorn's milestones and progress bars to stderr, each with the
//! name and pid of the process that says it.

use std::io::Write;

use jiff::ZonedDateTime;

/// Who speaks, and whether aloud.
#[derive(Debug, Clone)]
pub(super) struct Log {
    prefix: Option<String>,
}

impl Log {
    /// The log of the API server.
    pub(super) fn api_server() -> Self {
        Self::named("APIServer")
    }

    /// The log of the engine.
    pub(super) fn engine_core() -> Self {
        Self::named("EngineCore_DP0")
    }

    /// A log that says nothing, for tests.
    #[cfg(test)]
    pub(super) fn silent() -> Self {
        Self { prefix: None }
    }

    fn named(name: &str) -> Self {
        let plain = format!("({name} pid={})", std::process::id());
        // 0.13 colours the prefix even when nobody looks, unless NO_COLOR says otherwise.
        let coloured = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            prefix: Some(if coloured {
                format!("\x1b[0;36m{plain}\x1b[0;0m")
            } else {
                plain
            }),
        }
    }

    /// Says something at the place in vLLM's source that says it there.
    pub(super) fn info(&self, place: &str, message: &str) {
        self.record("INFO", place, message);
    }

    /// Warns.
    pub(super) fn warning(&self, place: &str, message: &str) {
        self.record("WARNING", place, message);
    }

    /// Reports an error, line by line.
    pub(super) fn error(&self, place: &str, message: &str) {
        self.record("ERROR", place, message);
    }

    fn record(&self, level: &str, place: &str, message: &str) {
        let now = ZonedDateTime::now().strftime("%m-%d %H:%M:%S").to_string();
        let lines: Vec<_> = message
            .lines()
            .map(|line| format!("{level} {now} [{place}] {line}"))
            .collect();
        self.stdout(&lines.join("\n"));
    }

    /// Says a line as uvicorn's access log does.
    pub(super) fn access(&self, line: &str) {
        self.stdout(&format!("INFO:     {line}"));
    }

    /// Says a line as uvicorn does about itself.
    pub(super) fn uvicorn(&self, line: &str) {
        self.stderr(&format!("INFO:     {line}"));
    }

    /// Says lines that have no level: a progress bar, a traceback.
    pub(super) fn stderr(&self, text: &str) {
        self.write(&mut std::io::stderr().lock(), text);
    }

    fn stdout(&self, text: &str) {
        self.write(&mut std::io::stdout().lock(), text);
    }

    fn write(&self, out: &mut impl Write, text: &str) {
        let Some(prefix) = &self.prefix else { return };
        let lines = text.lines().fold(String::new(), |lines, line| {
            lines
                + prefix
                + " "
                + line
                + "
"
        });
        // Whoever read the log may have gone; that must not stop the server.
        let _ = out.write_all(lines.as_bytes()).and_then(|()| out.flush());
    }
}
