//! Whole copies, over loopback, between two caches in folders.

use std::fs;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::{io, mem, thread};

use super::part::{ENDING, PIECE, Part};
use super::*;

const REVISION: &str = "0e9e39f249a16976918f6564b8830bc894c89659";

const TOKEN: &str = "a word that nobody guesses";

/// Two caches, of which the first has a snapshot.
struct Two {
    folder: tempfile::TempDir,
    /// Whether the network between them is declared trusted.
    is_trusted: bool,
}

impl Two {
    fn new() -> Self {
        let two = Self {
            folder: tempfile::tempdir().unwrap(),
            is_trusted: false,
        };
        let large: Vec<u8> = (0..2 * PIECE + 5).map(|i| ((i * 31) >> 7) as u8).collect();
        two.has("model-1.safetensors", &large, 64);
        two.has("model-2.safetensors", &large[7..], 64);
        two.has("config.json", b"{}", 40);
        two.has("deep/er/empty.txt", b"", 40);
        two.has("original/consolidated.00.pth", b"not to be copied", 64);
        fs::create_dir(two.from().join("refs")).unwrap();
        fs::write(two.from().join("refs/main"), REVISION).unwrap();
        two
    }

    fn from(&self) -> PathBuf {
        self.folder.path().join("from")
    }

    fn to(&self) -> PathBuf {
        self.folder.path().join("to")
    }

    fn has(&self, path: &str, content: &[u8], digest: usize) {
        let mut hasher = digest::Hasher::like(&"0".repeat(digest), content.len() as u64);
        hasher.update(content);
        let digest = hasher.finish();
        let blob = self.from().join("blobs").join(&digest);
        snapshot::make_parent(&blob).unwrap();
        fs::write(blob, content).unwrap();
        let link = self.from().join("snapshots").join(REVISION).join(path);
        snapshot::make_parent(&link).unwrap();
        let up = "../".repeat(path.matches('/').count() + 2);
        symlink(format!("{up}blobs/{digest}"), link).unwrap();
    }

    fn offered(&self) -> (Fetch, JoinHandle<Result<(), Error>>) {
        let offering = offer(&Offer {
            repo: Some(self.from().display().to_string()),
            revision: None,
            listen: "127.0.0.1".to_owned(),
            token: TOKEN.to_owned(),
            trusted: self.is_trusted,
        });
        let offering = offering.unwrap();
        let fetch = Fetch {
            repo: self.to().display().to_string(),
            host: "127.0.0.1".to_owned(),
            port: offering.port().unwrap(),
            token: TOKEN.to_owned(),
            trusted: self.is_trusted,
            listing: offering.listing().unwrap().clone(),
            names_main: true,
        };
        (fetch, thread::spawn(|| offering.serve()))
    }

    fn copied(&self) -> Result<(), Error> {
        fetch(&self.offered().0, &|_| ())
    }

    fn blob_of(&self, path: &str) -> PathBuf {
        let file = self.offered().0.listing.files;
        let file = file.into_iter().find(|file| file.path == path).unwrap();
        self.to().join("blobs").join(file.digest)
    }

    /// Expects that both are the same, but for what is left out.
    fn are_same(&self) {
        let tops = [self.from(), self.to()].map(|repo| repo.join("snapshots").join(REVISION));
        for path in [
            "model-1.safetensors",
            "model-2.safetensors",
            "config.json",
            "deep/er/empty.txt",
        ] {
            let [one, other] = tops.each_ref().map(|top| fs::read(top.join(path)).unwrap());
            assert!(one == other, "{path}");
            assert!(fs::read_link(tops[1].join(path)).unwrap().is_relative());
        }
        assert!(!tops[1].join("original").exists());
        let main = fs::read_to_string(self.to().join("refs/main")).unwrap();
        assert_eq!(main, REVISION);
        let blobs = fs::read_dir(self.to().join("blobs")).unwrap();
        let names: Vec<_> = blobs.map(|blob| blob.unwrap().file_name()).collect();
        assert_eq!(names.len(), 4, "{names:?}");
    }
}

#[test]
fn a_snapshot_is_copied_and_the_sender_ends() {
    let two = Two::new();
    fs::create_dir(two.from().join("trees")).unwrap();
    let tree = format!("trees/{REVISION}.json");
    fs::write(two.from().join(&tree), "{}").unwrap();
    let (fetch, sender) = two.offered();
    super::fetch(&fetch, &|_| ()).unwrap();
    two.are_same();
    assert_eq!(fs::read_to_string(two.to().join(tree)).unwrap(), "{}");
    sender.join().unwrap().unwrap();
    // Once more changes nothing.
    two.copied().unwrap();
    two.are_same();
}

/// Stands between both ends on a port of its own, and keeps all that goes through it.
fn relay(to: u16) -> (u16, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let kept = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&kept);
    thread::spawn(move || {
        for asking in listener.incoming() {
            let asking = asking.unwrap();
            let answering = TcpStream::connect(("127.0.0.1", to)).unwrap();
            let back = (answering.try_clone().unwrap(), asking.try_clone().unwrap());
            for (mut from, mut to) in [(asking, answering), back] {
                let all = Arc::clone(&all);
                thread::spawn(move || {
                    let mut bytes = vec![0; 1 << 16];
                    while let Ok(length @ 1..) = io::Read::read(&mut from, &mut bytes) {
                        let came = &bytes[..length];
                        Mutex::lock(&all).unwrap().extend_from_slice(came);
                        if io::Write::write_all(&mut to, came).is_err() {
                            break;
                        }
                    }
                    let _ = to.shutdown(Shutdown::Write);
                });
            }
        }
    });
    (port, kept)
}

/// Whoever stands between the nodes sees nothing of the model, of what is asked for, nor the word; and
/// where the network is declared trusted, all of it.
#[test]
fn what_goes_over_the_network_is_read_only_where_it_is_trusted() {
    for is_trusted in [false, true] {
        let two = Two {
            is_trusted,
            ..Two::new()
        };
        let (mut fetch, sender) = two.offered();
        let kept;
        (fetch.port, kept) = relay(fetch.port);
        super::fetch(&fetch, &|_| ()).unwrap();
        sender.join().unwrap().unwrap();
        two.are_same();
        let kept = kept.lock().unwrap();
        let large = fs::read(two.blob_of("model-1.safetensors")).unwrap();
        assert!(kept.len() > large.len());
        for text in [&large[..32], TOKEN.as_bytes(), b"piece "] {
            let is_seen = memchr::memmem::find(&kept, text).is_some();
            assert_eq!(is_seen, is_trusted, "{}", String::from_utf8_lossy(text));
        }
    }
}

/// A byte that is changed on the way breaks the copy: no digest has to find it, and nothing looks
/// whole.
#[test]
fn a_byte_that_was_changed_on_the_way_is_told() {
    let two = Two::new();
    let (mut fetch, _sender) = two.offered();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = mem::replace(&mut fetch.port, listener.local_addr().unwrap().port());
    thread::spawn(move || {
        for asking in listener.incoming() {
            let mut asking = asking.unwrap();
            let mut answering = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let questions = (asking.try_clone().unwrap(), answering.try_clone().unwrap());
            thread::spawn(move || {
                let (mut from, mut to) = questions;
                let _ = io::copy(&mut from, &mut to);
            });
            thread::spawn(move || {
                let mut bytes = vec![0; 100];
                while let Ok(length @ 1..) = io::Read::read(&mut answering, &mut bytes) {
                    // The random bytes of the other end come first, alone; then a record.
                    if length > 40 {
                        bytes[40] ^= 1;
                    }
                    if io::Write::write_all(&mut asking, &bytes[..length]).is_err() {
                        break;
                    }
                }
            });
        }
    });
    let error = super::fetch(&fetch, &|_| ()).unwrap_err();
    assert!(
        error
            .message
            .contains("is not what the other end had sealed"),
        "{error}"
    );
    assert!(!two.to().join("snapshots").exists());
}

#[test]
fn what_is_damaged_here_is_fetched_again() {
    let two = Two::new();
    two.copied().unwrap();
    let blob = two.blob_of("model-1.safetensors");
    let mut bytes = fs::read(&blob).unwrap();
    bytes[9] ^= 1;
    fs::write(&blob, bytes).unwrap();
    fs::write(two.blob_of("model-2.safetensors"), "cut short").unwrap();
    fs::remove_file(two.blob_of("config.json")).unwrap();
    two.copied().unwrap();
    two.are_same();
}

#[test]
fn what_an_interrupted_copy_left_is_not_fetched_again() {
    let two = Two::new();
    let blob = two.blob_of("model-1.safetensors");
    snapshot::make_parent(&blob).unwrap();
    let path = blob.with_file_name(format!(
        "{}.{ENDING}",
        blob.file_name().unwrap().to_str().unwrap()
    ));
    let whole = fs::read(
        two.from()
            .join("snapshots")
            .join(REVISION)
            .join("model-1.safetensors"),
    );
    let whole = whole.unwrap();
    let (part, _) = Part::open(&path, whole.len() as u64).unwrap();
    part.write(&whole[..PIECE as usize], 0).unwrap();
    part.mark(0).unwrap();
    drop(part);
    // The sender has lost the first piece: whoever asked for it would get what is wrong.
    let lost = two.from().join("blobs").join(blob.file_name().unwrap());
    let mut bytes = whole.clone();
    bytes[0] ^= 1;
    fs::write(&lost, bytes).unwrap();
    two.copied().unwrap();
    fs::write(&lost, whole).unwrap();
    two.are_same();
}

#[test]
fn what_an_interrupted_copy_left_and_is_wrong_is_fetched_again() {
    let two = Two::new();
    let blob = two.blob_of("config.json");
    snapshot::make_parent(&blob).unwrap();
    let path = blob.with_file_name(format!(
        "{}.{ENDING}",
        blob.file_name().unwrap().to_str().unwrap()
    ));
    let (part, _) = Part::open(&path, 2).unwrap();
    part.mark(0).unwrap();
    two.copied().unwrap();
    two.are_same();
}

#[test]
fn a_file_that_is_not_what_it_is_called_is_refused_and_removed() {
    let two = Two::new();
    let blob = two.blob_of("model-2.safetensors");
    let damaged = two.from().join("blobs").join(blob.file_name().unwrap());
    let mut bytes = fs::read(&damaged).unwrap();
    bytes[5] ^= 1;
    fs::write(damaged, bytes).unwrap();
    let error = two.copied().unwrap_err();
    assert!(
        error
            .message
            .contains("`model-2.safetensors` arrived with another digest")
    );
    assert!(error.hint.is_some());
    assert!(!blob.exists());
    assert!(!two.to().join("snapshots").exists(), "nothing looks whole");
    let left = fs::read_dir(two.to().join("blobs")).unwrap();
    let name = blob.file_name().unwrap().to_str().unwrap();
    let of_it = |entry: &io::Result<fs::DirEntry>| {
        let entry = entry.as_ref().unwrap().file_name();
        entry.to_str().unwrap().starts_with(name)
    };
    assert_eq!(left.filter(of_it).count(), 0);
}

#[test]
fn a_sender_that_cannot_be_reached_is_told() {
    let two = Two::new();
    let (mut fetch, _sender) = two.offered();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    fetch.port = free.local_addr().unwrap().port();
    drop(free);
    let error = super::fetch(&fetch, &|_| ()).unwrap_err();
    assert!(error.message.contains("cannot be reached"), "{error}");
    assert!(error.hint.unwrap().contains("`over`"));
}

#[test]
fn a_sender_that_goes_away_is_told() {
    let two = Two::new();
    let (mut fetch, _sender) = two.offered();
    let leaves = TcpListener::bind("127.0.0.1:0").unwrap();
    fetch.port = leaves.local_addr().unwrap().port();
    thread::spawn(move || leaves.incoming().for_each(drop));
    let error = super::fetch(&fetch, &|_| ()).unwrap_err();
    assert!(error.message.contains("broke"), "{error}");
    assert!(error.hint.unwrap().contains("apply again"));
}

#[test]
fn who_does_not_know_the_token_gets_nothing() {
    let two = Two::new();
    let (mut fetch, _sender) = two.offered();
    "guessed".clone_into(&mut fetch.token);
    assert!(super::fetch(&fetch, &|_| ()).is_err());
    assert!(!two.to().join("snapshots").exists());
}

/// Whoever connects and says nothing takes no place from who knows the word.
#[test]
fn many_who_say_nothing_are_in_nobodys_way() {
    let two = Two::new();
    let (fetch, sender) = two.offered();
    let connect = |_| TcpStream::connect(("127.0.0.1", fetch.port)).unwrap();
    let mut idle: Vec<_> = (0..600).map(connect).collect();
    super::fetch(&fetch, &|_| ()).unwrap();
    sender.join().unwrap().unwrap();
    two.are_same();
    // The oldest of them were hung up on long before their time was over.
    let closed = io::Read::read(&mut idle[0], &mut [0]);
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
}

#[test]
fn a_listing_that_leads_out_of_the_cache_is_refused() {
    let two = Two::new();
    for path in ["../../../.bashrc", "/etc/passwd", "a//b", ""] {
        let (mut fetch, _sender) = two.offered();
        path.clone_into(&mut fetch.listing.files[0].path);
        assert!(super::fetch(&fetch, &|_| ()).is_err(), "{path}");
    }
    let (mut fetch, _sender) = two.offered();
    "../x".clone_into(&mut fetch.listing.files[0].digest);
    assert!(super::fetch(&fetch, &|_| ()).is_err());
}

#[test]
fn a_snapshot_that_is_not_whole_is_not_offered() {
    let two = Two::new();
    let blob = two.blob_of("config.json");
    fs::remove_file(two.from().join("blobs").join(blob.file_name().unwrap())).unwrap();
    let offered = offer(&Offer {
        repo: Some(two.from().display().to_string()),
        revision: Some(REVISION.to_owned()),
        listen: "127.0.0.1".to_owned(),
        token: String::new(),
        trusted: false,
    });
    assert!(offered.err().unwrap().message.contains("config.json"));
}

/// What an end that offers nothing but its memory lets another measure.
fn measured(is_trusted: bool, word: &str) -> Result<Measured, Error> {
    let offering = offer(&Offer {
        repo: None,
        revision: None,
        listen: "127.0.0.1".to_owned(),
        token: TOKEN.to_owned(),
        trusted: is_trusted,
    })?;
    assert_eq!(offering.listing(), None);
    let asked = Measure {
        host: "127.0.0.1".to_owned(),
        port: offering.port()?,
        token: word.to_owned(),
        trusted: is_trusted,
    };
    let offering = thread::spawn(|| offering.serve());
    let measured = measure(&asked)?;
    offering.join().unwrap()?;
    Ok(measured)
}

#[test]
fn the_way_is_measured_sealed_and_in_the_clear_and_the_other_end_ends() {
    let both = [true, false].map(|is_trusted| thread::spawn(move || measured(is_trusted, TOKEN)));
    for measured in both.map(|it| it.join().unwrap().unwrap()) {
        assert!(measured.gbit_per_s > 0.0, "{measured:?}");
        assert!(measured.rtt_ms > 0.0, "{measured:?}");
        assert!(measured.seconds >= 2.0, "{measured:?}");
    }
}

#[test]
fn who_does_not_know_the_word_measures_nothing() {
    for is_trusted in [true, false] {
        let error = measured(is_trusted, "another word").unwrap_err();
        assert!(error.message.contains("gave nothing"), "{error}");
    }
}

#[test]
fn what_is_said_is_read_as_it_is_written() {
    let moved = Said::Moved(Moved {
        done: 1,
        of: 20,
        per_second: 300,
    });
    let failed = Said::Failed(Error::new("no room").hinted("make some"));
    for said in [moved, failed, Said::Port(7)] {
        assert_eq!(said.to_string().lines().count(), 1);
        assert_eq!(Said::read(&said.to_string()), Some(said));
    }
    assert_eq!(Said::read("replica: not found"), None);
}

#[test]
fn who_lists_a_path_finds_it() {
    let two = Two::new();
    let listing = snapshot::list(Path::new(&two.from()), Some(REVISION)).unwrap();
    let paths: Vec<_> = listing
        .files
        .iter()
        .map(|file| file.path.as_str())
        .collect();
    assert_eq!(
        paths,
        [
            "config.json",
            "deep/er/empty.txt",
            "model-1.safetensors",
            "model-2.safetensors"
        ]
    );
}
