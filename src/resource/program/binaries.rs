//! The `replica` binaries at hand, by the system that each runs on.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::build_id::build_id;
use crate::hex::hex;
use crate::plan::{Reason, ReasonCode};

/// One binary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binary {
    /// Where it is here.
    pub path: PathBuf,
    /// What tells it from every other build: the id that the linker gave it, else the digest of
    /// its content.
    pub build: String,
    /// Its size in bytes.
    pub size: u64,
}

impl Binary {
    fn read(path: &Path) -> io::Result<Self> {
        // Only what was linked without an id is read whole.
        let build = match build_id(path)? {
            Some(id) => id,
            None => digest(path)?,
        };
        Ok(Self {
            path: path.to_owned(),
            build,
            size: fs::metadata(path)?.len(),
        })
    }

    /// What it is called on a node, which says which build it is.
    pub fn name(&self) -> String {
        format!("replica-{}", &self.build[..16])
    }

    /// The beginning of its build id, for people.
    pub fn short(&self) -> &str {
        &self.build[..12]
    }
}

fn digest(path: &Path) -> io::Result<String> {
    Ok(hex(&Sha256::digest(fs::read(path)?)))
}

/// The binaries at hand.
#[derive(Debug, Default)]
pub struct Binaries {
    by_architecture: BTreeMap<&'static str, Binary>,
    looked_in: Vec<PathBuf>,
}

/// Where a wheel lays the binaries of other architectures, from where it lays `bin`.
const OF_WHEEL: &str = "share/replica";

/// The architectures that `replica` is built for, as `uname -m` and Rust both call them.
const ARCHITECTURES: [&str; 2] = ["x86_64", "aarch64"];

impl Binaries {
    /// Finds them: files named `replica-<architecture>-…` in the folder given, beside the running
    /// binary and where a wheel lays them, and the running binary itself for its own architecture.
    ///
    /// # Errors
    ///
    /// When the folder given, or a binary found, cannot be read.
    pub fn find(given: Option<&Path>) -> io::Result<Self> {
        // The link is followed by hand: after a rebuild it names a file that is no more.
        let own = std::env::current_exe()?;
        let own = if own.exists() {
            own
        } else {
            PathBuf::from("/proc/self/exe")
        };
        let mut binaries = Self::default();
        if let Some(folder) = given {
            binaries.add_folder(folder)?;
        }
        if let Some(here) = ARCHITECTURES.iter().find(|a| **a == std::env::consts::ARCH)
            && !binaries.by_architecture.contains_key(here)
        {
            binaries.by_architecture.insert(here, Binary::read(&own)?);
        }
        let beside = own.parent();
        let of_wheel = beside.and_then(Path::parent).map(|at| at.join(OF_WHEEL));
        for folder in beside.into_iter().chain(of_wheel.as_deref()) {
            if folder.is_dir() {
                binaries.add_folder(folder)?;
            }
        }
        Ok(binaries)
    }

    fn add_folder(&mut self, folder: &Path) -> io::Result<()> {
        self.looked_in.push(folder.to_owned());
        let mut found: Vec<_> = fs::read_dir(folder)?.filter_map(Result::ok).collect();
        found.sort_by_key(fs::DirEntry::file_name);
        for entry in found {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let fits = |architecture: &&&str| {
                name.strip_prefix("replica-")
                    .and_then(|rest| rest.strip_prefix(**architecture))
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with("-unknown-linux"))
            };
            let Some(architecture) = ARCHITECTURES.iter().find(fits) else {
                continue;
            };
            if !self.by_architecture.contains_key(architecture) {
                self.by_architecture
                    .insert(architecture, Binary::read(&entry.path())?);
            }
        }
        Ok(())
    }

    /// The binary for what `uname -sm` says of a node.
    pub fn fitting(&self, system: &str) -> Option<&Binary> {
        let architecture = system.strip_prefix("Linux ")?;
        let architecture = if architecture == "arm64" {
            "aarch64"
        } else {
            architecture
        };
        self.by_architecture.get(architecture)
    }

    /// Why none fits, and what to do about it.
    pub fn missing(&self, system: &str) -> Reason {
        let Some(architecture) = system.strip_prefix("Linux ") else {
            let text = format!("it says that it is `{system}`: replica runs on Linux nodes alone");
            return Reason::new(ReasonCode::NoBinary, text);
        };
        let looked: Vec<_> = self
            .looked_in
            .iter()
            .map(|p| p.display().to_string())
            .collect();
        let text = format!(
            "there is no replica for `{system}` here (looked in {})",
            looked.join(", ")
        );
        let target = format!("{architecture}-unknown-linux-musl");
        let hint = format!(
            "give the folder of a `replica-{target}` with --programs; to build one: `pip install \
             ziglang cargo-zigbuild`, `rustup target add {target}`, `cargo zigbuild --release \
             --target {target}`, and rename `target/{target}/release/replica`; or, where the node has cargo, in \
             the sources of replica: `git archive HEAD | ssh NODE 'mkdir -p replica-src && cd replica-src && tar x && \
             PATH=~/.cargo/bin:$PATH cargo build --release --locked'`, and `scp \
             NODE:replica-src/target/release/replica replica-{architecture}-unknown-linux-gnu`"
        );
        Reason::new(ReasonCode::NoBinary, text).hinted(hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_is_chosen_by_what_the_node_is() {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in [
            ("replica-aarch64-unknown-linux-musl", "arm"),
            ("replica-x86_64", "intel"),
            ("replica-x86_64.d", "no binary"),
        ] {
            fs::write(folder.path().join(name), content).unwrap();
        }
        let binaries = Binaries::find(Some(folder.path())).unwrap();
        assert_eq!(binaries.fitting("Linux aarch64").unwrap().size, 3);
        assert_eq!(binaries.fitting("Linux x86_64").unwrap().size, 5);
        assert!(binaries.fitting("Darwin arm64").is_none());
        assert!(
            binaries
                .missing("Linux riscv64")
                .hint
                .unwrap()
                .contains("riscv64-unknown-linux-musl")
        );
    }

    #[test]
    fn the_running_binary_serves_its_own_architecture() {
        let binaries = Binaries::find(None).unwrap();
        assert!(
            binaries
                .fitting(&format!("Linux {}", std::env::consts::ARCH))
                .is_some()
        );
    }
}
