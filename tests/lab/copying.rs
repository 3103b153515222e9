//! Models that go from one host to another.

use std::fs;

use super::hosts::Lab;
use super::laptop::{Laptop, change, reasons};
use super::stage::{scenario, until};
use super::stand_in::{SIMULATES, stand_in};

const MODEL: &str = "spark-02/model.llama";
const CACHE: &str = "/home/nvidia/.cache/huggingface/hub";
const REPO: &str = "models--meta-llama--Llama-3.1-8B-Instruct";

const TWO: &str = "\
topology: demo
nodes:
  spark-01: {ssh: spark-01, addresses: {lan: 10.77.0.11}}
  spark-02: {ssh: spark-02, addresses: {lan: 10.77.0.12}}
engines:
  cu130: {venv: ~/src/github.com/elizabetht/spark/.venv, vllm: 0.13.0+cu130, packages: {torch: 2.9.1}, args: {gpu_memory_utilization: 0.3}}
models:
  llama: {repo: meta-llama/Llama-3.1-8B-Instruct, revision: 0e9e39f249a16976918f6564b8830bc894c89659}
instances:
  a: {node: spark-01, port: 8100, engine: cu130, model: llama}
  b: {node: spark-02, port: 8200, engine: cu130, model: llama}
";

fn set(lab: &Lab, manifest: &str) -> Laptop {
    stand_in(lab, &["spark-01", "spark-02"], SIMULATES);
    Laptop::with(lab, manifest)
}

/// Every file and link of the model on a host, with its digest or where it leads. What
/// `refs/main` says is no part of a commit.
fn content(lab: &Lab, host: &str) -> String {
    let script = format!(
        "cd {CACHE}/{REPO} && {{ find . -type f ! -path ./refs/main -exec sha256sum {{}} +; \
         find . -type l -printf '%p -> %l\\n'; }} | sort"
    );
    lab.exec(host, &script)
}

/// Whether the program of a copy is gone from a host.
fn is_tidy(lab: &Lab, host: &str) -> bool {
    !lab.files(host).iter().any(|name| name.contains("copy."))
}

/// What one host lacks it copies from the other: bytes, names and links are the same, and nothing
/// that the copy needed is left.
#[test]
fn a_missing_model_is_copied_from_the_host_that_has_it() {
    scenario("3", |lab| {
        for manifest in [
            TWO.to_owned(),
            // Without a commit, `refs/main` is copied too.
            TWO.replace(", revision: 0e9e39f249a16976918f6564b8830bc894c89659", ""),
        ] {
            let laptop = set(lab, &manifest);
            lab.exec("spark-02", &format!("rm -rf {CACHE}"));
            let plan = laptop.replica("plan");
            plan.shows("spark-01 over lan");
            laptop.applies().shows("from spark-01");
            laptop.is_converged();
            assert_eq!(content(lab, "spark-01"), content(lab, "spark-02"));
            assert!(is_tidy(lab, "spark-01") && is_tidy(lab, "spark-02"));
        }
    });
}

/// Keeps what the network brings to a host until a file is there, and says whether a text was in it.
const LISTENS: &str = "
import os, socket, sys
network = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
network.setsockopt(socket.SOL_SOCKET, 33, 128 << 20)
network.settimeout(0.2)
open('/tmp/listens', 'w').close()
kept = bytearray()
while not os.path.exists('/tmp/heard'):
    try:
        kept += network.recv(1 << 17)
    except TimeoutError:
        pass
print(len(kept), sys.argv[1].encode() in kept)
";

/// What goes from one host to the other says nothing to whoever reads it on the network; where both
/// declare that network trusted it does, and the plan says so.
#[test]
fn a_copy_is_read_by_nobody_on_the_way() {
    scenario("3", |lab| {
        let trusted = ["11", "12"].iter().fold(TWO.to_owned(), |manifest, host| {
            manifest.replace(
                &format!("lan: 10.77.0.{host}"),
                &format!("lan: {{address: 10.77.0.{host}, trusted: true}}"),
            )
        });
        for (manifest, is_read) in [(TWO, "False"), (&trusted, "True")] {
            let laptop = set(lab, manifest);
            lab.exec(
                "spark-02",
                &format!("rm -rf {CACHE} /tmp/listens /tmp/heard"),
            );
            let program = lab.folder().join("listens.py");
            fs::write(&program, LISTENS).unwrap();
            lab.install("spark-02", &program, "/opt/lab/listens.py");
            let text = "LlamaForCausalLM";
            assert!(
                lab.exec(
                    "spark-01",
                    &format!("cat {CACHE}/{REPO}/snapshots/*/config.json")
                )
                .contains(text)
            );
            // As root: nobody else reads what the network brings to others.
            let listens = format!("setsid python3 /opt/lab/listens.py {text}");
            let listens = format!("{listens} >/tmp/said 2>&1 </dev/null &");
            lab.exec("spark-02", &listens);
            until("it listens", || {
                lab.exec("spark-02", "ls /tmp").contains("listens")
            });
            let plan = laptop.replica("plan").shows("spark-01 over lan").out;
            let plan = plan.split_whitespace().collect::<Vec<_>>().join(" ");
            let says = plan.contains("not encrypted: that network is declared `trusted`");
            assert_eq!(says, is_read == "True", "{plan}");
            laptop.applies();
            lab.exec("spark-02", "touch /tmp/heard");
            until("it has said what it heard", || {
                lab.exec("spark-02", "cat /tmp/said").contains('e')
            });
            let said = lab.exec("spark-02", "cat /tmp/said");
            let (bytes, was_read) = said.trim().split_once(' ').unwrap();
            assert!(bytes.parse::<u64>().unwrap() > 1 << 20, "{said}");
            assert_eq!(was_read, is_read);
            assert_eq!(content(lab, "spark-01"), content(lab, "spark-02"));
        }
    });
}

/// A file that is not whole is copied anew, and the server that loaded it serves on.
#[test]
fn a_damaged_file_is_copied_anew() {
    scenario("3", |lab| {
        let laptop = set(lab, TWO);
        laptop.applies();
        let before = content(lab, "spark-02");
        let server = lab.leader("spark-02", "instance/b");
        let shard = "\"$(readlink -f snapshots/*/model-00002-of-00004.safetensors)\"";
        for (damage, says) in [
            (format!("truncate -s -10 {shard}"), " bytes"),
            (
                format!(
                    "printf '\\177\\177\\177\\177\\177\\177\\177\\177' | dd of={shard} conv=notrunc status=none"
                ),
                "no safetensors file",
            ),
            (format!("rm {shard}"), "points to a file that is not there"),
        ] {
            lab.exec("spark-02", &format!("cd {CACHE}/{REPO} && {damage}"));
            let plan = laptop.plan();
            assert_eq!(change(&plan, MODEL)["action"], "update", "{plan:#}");
            let said = reasons(change(&plan, MODEL));
            assert!(said.contains(says), "{said}");
            laptop.applies();
            assert_eq!(content(lab, "spark-02"), before, "{damage}");
        }
        assert!(lab.lives("spark-02", &server));
    });
}

/// What has another digest than its name is refused, and nothing of it looks whole.
#[test]
fn a_file_of_another_digest_is_refused() {
    scenario("3", |lab| {
        let laptop = set(lab, TWO);
        lab.exec("spark-02", &format!("rm -rf {CACHE}"));
        let spoil = "f=$(readlink -f snapshots/*/model-00002-of-00004.safetensors); \
                     printf X | dd of=\"$f\" bs=1 seek=$(($(stat -c %s \"$f\") - 1)) conv=notrunc status=none";
        lab.exec("spark-01", &format!("cd {CACHE}/{REPO} && {spoil}"));
        laptop.replica("apply -y").exits(6).shows("digest");
        assert_eq!(change(&laptop.plan(), MODEL)["action"], "update");
        assert_eq!(lab.marked("spark-02", "v1:"), []);
        assert!(is_tidy(lab, "spark-01") && is_tidy(lab, "spark-02"));
    });
}

/// Without room nothing is begun, and with room again it is made so.
#[test]
fn a_full_disk_is_told_before_anything_is_copied() {
    scenario("3 --disk 1g", |lab| {
        let laptop = set(lab, TWO);
        lab.exec("spark-02", &format!("rm -rf {CACHE}"));
        lab.does("fill spark-02");
        laptop.replica("plan").shows("is full");
        lab.does("unfill spark-02");
        grows(lab);
        lab.exec(
            "spark-02",
            "room=$(df --output=avail -k /home/nvidia | tail -n 1); \
             head -c $((room - 100000))K /dev/zero >/home/nvidia/filler",
        );
        laptop
            .replica("plan")
            .shows("315 MB of it are lacking")
            .shows("has 103 MB left");
        assert_eq!(change(&laptop.plan(), MODEL)["action"], "blocked");
        lab.exec("spark-02", "rm /home/nvidia/filler");
        laptop.applies();
        laptop.is_converged();
    });
}

/// A folder of the host comes before the hub: its files become a snapshot as the hub's tools make
/// one, and the folder stays as it is.
#[test]
fn a_model_is_taken_from_a_folder_of_the_host() {
    scenario("3", |lab| {
        let manifest = TWO.replace("llama: {", "llama: {directory: ~/usb/llama, ");
        let laptop = set(lab, &manifest);
        for host in ["spark-01", "spark-02"] {
            lab.exec(
                host,
                &format!(
                    "cd /home/nvidia && mkdir -p usb/llama/original usb/llama/.cache && \
                     cp -L {CACHE}/{REPO}/snapshots/*/* usb/llama/ && rm -rf {CACHE} && \
                     echo x >usb/llama/original/consolidated.pth && echo x >usb/llama/.cache/x && \
                     chown -R nvidia: usb"
                ),
            );
        }
        let before = lab.exec("spark-01", "cd /home/nvidia/usb && ls -lR --full-time");
        laptop.replica("plan").shows("from ~/usb/llama");
        laptop.applies();
        laptop.is_converged();
        let snapshot = format!("{CACHE}/{REPO}/snapshots/0e9e39f249a16976918f6564b8830bc894c89659");
        let differs = format!("diff -r -x original -x .cache {snapshot} /home/nvidia/usb/llama");
        assert_eq!(lab.exec("spark-01", &differs), "");
        assert_eq!(
            lab.exec("spark-01", &format!("find {snapshot} -type f")),
            ""
        );
        let after = lab.exec("spark-01", "cd /home/nvidia/usb && ls -lR --full-time");
        assert_eq!(after, before);
    });
}

/// Adds a file to the model that takes a while to copy.
const LARGE: &str = "
import glob, hashlib, json, os, struct
size = 300 << 20
header = json.dumps({'big': {'dtype': 'U8', 'shape': [size], 'data_offsets': [0, size]}}).encode()
data = struct.pack('<Q', len(header)) + header + os.urandom(1 << 20) * 300
name = hashlib.sha256(data).hexdigest()
open(f'blobs/{name}', 'wb').write(data)
os.symlink(f'../../blobs/{name}', glob.glob('snapshots/*')[0] + '/big.safetensors')
os.system('chown -R nvidia: .')
";

fn grows(lab: &Lab) {
    let large = lab.folder().join("large.py");
    fs::write(&large, LARGE).unwrap();
    lab.install("spark-01", &large, "/opt/lab/large.py");
    let script = format!("cd {CACHE}/{REPO} && python3 /opt/lab/large.py");
    lab.exec("spark-01", &script);
}

/// The disk was large enough when it was looked at, and fills up before the large file is there.
#[test]
fn a_disk_that_fills_up_on_the_way_is_told() {
    scenario("3 --disk 1g", |lab| {
        let laptop = set(lab, TWO);
        lab.exec("spark-02", &format!("rm -rf {CACHE}"));
        grows(lab);
        let locks = format!("{CACHE}/.locks/{REPO}");
        lab.exec(
            "spark-02",
            &format!("mkdir -p {locks} && chown -R nvidia: {CACHE}"),
        );
        let other = lab.starts("spark-02", &format!("flock {locks}/replica.lock sleep 600"));
        let apply = laptop.starts("apply -y");
        until("the other host offers it", || {
            !ends_of_copies(lab, "spark-01").is_empty()
        });
        let fill = "room=$(df --output=avail -k /home/nvidia | tail -n 1); \
                    head -c $((room - 100000))K /dev/zero >/home/nvidia/filler";
        lab.exec("spark-02", fill);
        lab.exec(
            "spark-02",
            &format!("pkill -P {other}; kill {other} || true"),
        );
        let done = apply.ends().exits(6);
        // Files are copied side by side: a small one may be the first to find no room.
        done.shows("No space left on device")
            .shows("make room on that disk");
        assert_ne!(change(&laptop.plan(), MODEL)["action"], "keep");
        assert!(is_tidy(lab, "spark-01") && is_tidy(lab, "spark-02"));

        lab.exec("spark-02", "rm /home/nvidia/filler");
        laptop.applies();
        laptop.is_converged();
        assert_eq!(content(lab, "spark-01"), content(lab, "spark-02"));
    });
}

/// Stops the process that fetches, once some pieces of the large file are there, and returns it. It
/// is watched for on the host itself: from here it would be done before it was seen. It stands still
/// whenever it is looked at: on a busy host it would be done between one look and the next.
fn stops_half_way(lab: &Lab) -> String {
    let script = format!(
        "for look in $(seq 4000); do
             fetch=$(pgrep -f 'copy-fetch$') || {{ sleep 0.02; continue; }}
             kill -STOP $fetch
             part=$(find {CACHE}/{REPO}/blobs -name '*.incomplete' -size +100M 2>/dev/null)
             if [ -n \"$part\" ] && [ \"$(tail -c 70 \"$part\" | tr -d '\\0' | wc -c)\" -ge 5 ]; then
                 echo $fetch; exit
             fi
             kill -CONT $fetch
         done
         exit 1"
    );
    lab.exec("spark-02", &script)
}

/// The processes that copy, by their names.
fn ends_of_copies(lab: &Lab, host: &str) -> Vec<u32> {
    let mut processes = lab.processes(host);
    processes.retain(|it| it.name.starts_with("copy."));
    processes.iter().map(|it| it.pid).collect()
}

/// Cut off half-way, at either end, nothing looks whole; the next apply goes on, and what is there
/// in the end is what the other host has.
#[test]
fn a_copy_that_was_cut_off_is_gone_on_from() {
    scenario("3 --disk 1g", |lab| {
        let laptop = set(lab, TWO);
        lab.exec("spark-02", &format!("rm -rf {CACHE}"));
        grows(lab);

        let apply = laptop.starts("apply -y");
        stops_half_way(lab);
        apply.dies();
        let ends = |host| !lab.exec(host, "ps ax").contains("copy-");
        until("both ends are gone", || {
            ends("spark-01") && ends("spark-02")
        });
        assert_ne!(change(&laptop.plan(), MODEL)["action"], "keep");

        let apply = laptop.starts("apply -y");
        let fetch = stops_half_way(lab);
        for end in ends_of_copies(lab, "spark-01") {
            lab.exec("spark-01", &format!("kill -KILL {end}"));
        }
        lab.exec("spark-02", &format!("kill -CONT {fetch}"));
        let done = apply.ends().exits(6);
        done.shows("what was copied is kept");
        assert_ne!(change(&laptop.plan(), MODEL)["action"], "keep");

        laptop.applies();
        laptop.is_converged();
        assert_eq!(content(lab, "spark-01"), content(lab, "spark-02"));
        assert!(is_tidy(lab, "spark-01") && is_tidy(lab, "spark-02"));
    });
}

/// What a copy that was cut off has left is removed, and not while the next one brings it anew.
#[test]
fn what_an_earlier_copy_left_is_in_no_ones_way() {
    scenario("3", |lab| {
        let laptop = set(lab, TWO);
        lab.exec("spark-02", &format!("rm -rf {CACHE}"));
        let bin = "/home/nvidia/.local/state/replica/demo/bin";
        for host in ["spark-01", "spark-02"] {
            let left = format!("{bin}/copy.spark-02.model.llama");
            lab.exec(
                host,
                &format!("mkdir -p {bin}; : >{left}; chown -R nvidia: /home/nvidia/.local"),
            );
        }
        laptop.applies();
        laptop.is_converged();
        assert!(is_tidy(lab, "spark-01") && is_tidy(lab, "spark-02"));
    });
}
