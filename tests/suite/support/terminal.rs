//! A terminal: what a person sees, and what a person types.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::{Workdir, until};

/// A command at a terminal of its own.
pub(crate) struct Terminal {
    child: Child,
    keys: File,
    seen: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Terminal {
    /// Runs a command at a terminal that is so wide.
    pub(crate) fn run(place: &Workdir, columns: u16, words: &[&str]) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let size = Winsize {
            ws_row: 50,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let slave = OpenOptions::new()
            .read(true)
            .write(true)
            .open(name.to_str().unwrap())
            .unwrap();
        tcsetwinsize(&slave, size).unwrap();
        let mut command = place.command(words);
        command
            .env("TERM", "xterm-256color")
            .stdin(slave.try_clone().unwrap())
            .stdout(slave.try_clone().unwrap())
            .stderr(slave);
        let child = command.spawn().unwrap();
        // The command holds the terminal's other side too, and would keep it open.
        drop(command);
        let keys = File::from(master);
        let seen = Arc::new(Mutex::new(String::new()));
        let reader = thread::spawn({
            let (mut screen, seen) = (keys.try_clone().unwrap(), Arc::clone(&seen));
            move || {
                let mut bytes = [0; 4096];
                // When the other side is closed, reading fails: that is its end.
                while let Ok(n @ 1..) = screen.read(&mut bytes) {
                    let text = String::from_utf8_lossy(&bytes[..n]);
                    seen.lock().unwrap().push_str(&text);
                }
            }
        });
        Self {
            child,
            keys,
            seen,
            reader: Some(reader),
        }
    }

    /// Waits until the screen has shown this.
    #[track_caller]
    pub(crate) fn sees(self, text: &str) -> Self {
        until(text, || {
            self.seen.lock().unwrap().contains(text).then_some(())
        });
        self
    }

    /// Waits until the screen has shown this, then types.
    #[track_caller]
    pub(crate) fn answer(self, prompt: &str, keys: &str) -> Self {
        let mut this = self.sees(prompt);
        this.keys.write_all(keys.as_bytes()).unwrap();
        this
    }

    /// Waits until the screen has shown this, then does what Ctrl-C does.
    #[track_caller]
    pub(crate) fn interrupted(self, after: &str) -> Self {
        let this = self.sees(after);
        kill_process(Pid::from_child(&this.child), Signal::INT).unwrap();
        this
    }

    /// Waits for the end; returns the exit code and everything that was shown.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        let seen = self.seen.lock().unwrap().clone();
        (code, seen)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
