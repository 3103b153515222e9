//! The package index that hosts install from, and the installers that they have.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use super::hosts::Lab;
use super::stage::until;

/// Where hosts reach the machine that runs the index.
const AT: &str = "http://10.77.0.1:8800";

/// A `tests/lab/index.py` that runs. It ends when dropped.
pub(super) struct Index {
    folder: PathBuf,
    child: Child,
}

impl Index {
    /// Starts one, and makes it what the hosts ask for packages.
    pub(super) fn beside(lab: &Lab, hosts: &[&str]) -> Self {
        let folder = lab.folder().join("index");
        fs::create_dir_all(&folder).expect("the folder is ours");
        let pip = format!("[global]\nindex-url = {AT}/pypi\ntrusted-host = 10.77.0.1:8800\n");
        let uv = format!("[[index]]\nurl = \"{AT}/pypi\"\ndefault = true\n");
        for host in hosts {
            for (name, text) in [("pip/pip.conf", &pip), ("uv/uv.toml", &uv)] {
                let file = folder.join("settings");
                fs::write(&file, text).expect("the folder is ours");
                lab.install(host, &file, &format!("/home/nvidia/.config/{name}"));
            }
            lab.exec(host, "chown -R nvidia: /home/nvidia");
        }
        let child = Self::start(&folder);
        let index = Self { folder, child };
        index.is_up();
        index
    }

    fn start(folder: &Path) -> Child {
        Command::new("/usr/bin/python3")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/index.py"))
            .arg(folder)
            .arg("8800")
            .stdin(Stdio::null())
            .spawn()
            .expect("python3 is part of a lab")
    }

    fn is_up(&self) {
        let ready = self.folder.join("ready");
        until("the index is up", || ready.exists());
    }

    /// Ends it.
    pub(super) fn dies(&mut self) {
        // It is our child, and may be gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(self.folder.join("ready"));
    }

    /// Starts it again.
    pub(super) fn returns(&mut self) {
        self.child = Self::start(&self.folder);
        self.is_up();
    }

    /// Lets each large wheel take so many seconds.
    pub(super) fn takes(&self, seconds: f32) {
        fs::write(self.folder.join("slow"), seconds.to_string()).expect("the folder is ours");
    }

    /// Lets each page answer with a status, or as it should.
    pub(super) fn answers(&self, status: Option<u16>) {
        let file = self.folder.join("status");
        match status {
            Some(status) => fs::write(file, status.to_string()),
            None => fs::remove_file(file),
        }
        .expect("the folder is ours");
    }

    /// The wheels that were fetched since it was last asked, in order.
    pub(super) fn fetched(&self) -> Vec<String> {
        let log = self.folder.join("fetched");
        let text = fs::read_to_string(&log).unwrap_or_default();
        let _ = fs::remove_file(&log);
        let short = |line: &str| line.trim_end_matches("-py3-none-any.whl").to_owned();
        text.lines().map(short).collect()
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        self.dies();
    }
}

/// A uv, fetched once from where pip fetches things; nothing where that cannot be reached.
pub(super) fn uv() -> Option<&'static Path> {
    static UV: OnceLock<Option<PathBuf>> = OnceLock::new();
    let find = || {
        let kept = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("uv");
        if !kept.join("bin/uv").exists() {
            let fresh = kept.with_extension(std::process::id().to_string());
            let fetched = Command::new("/usr/bin/python3")
                .args(["-m", "pip", "install", "-q", "--target"])
                .arg(&fresh)
                .arg("uv==0.13.9")
                .stderr(Stdio::null())
                .status();
            fetched.ok().filter(std::process::ExitStatus::success)?;
            // Another may have been quicker.
            let _ = fs::rename(&fresh, &kept);
        }
        Some(kept.join("bin/uv"))
    };
    UV.get_or_init(find).as_deref()
}
