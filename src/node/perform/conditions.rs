//! Looking at a machine beside a measurement: which processes serve, how short of CPU it is, what its
//! GPUs are at.

use crate::logs;
use crate::node::{Command, LOG_TEXT, Node, quote, quote_path};
use crate::plan::{Failure, GpuConditions, Look, NodeConditions, Placed, ServerConditions};
use crate::visible::without_colours;

/// Looks at a node, and at those servers that are placed there.
///
/// # Errors
///
/// When the node cannot be asked.
pub async fn conditions(
    node: &Node,
    placed: &[Placed],
    look: Look,
) -> Result<NodeConditions, Failure> {
    let output = node.run(&command(placed, look)).await?;
    if !output.success() {
        return Err(Failure::new(output.complaint()));
    }
    Ok(read(&String::from_utf8_lossy(&output.stdout)))
}

fn command(placed: &[Placed], look: Look) -> Command {
    let look = match look {
        Look::Whole => "whole",
        Look::Quick => "quick",
    };
    let words = placed
        .iter()
        .flat_map(|it| [quote(&it.instance), quote(&it.mark), quote_path(&it.log)]);
    let words: Vec<String> = words.collect();
    Command::script(format!(
        "set -- {look} {}\n{}{LOG_TEXT}{}",
        words.join(" "),
        include_str!("../script/processes.sh"),
        include_str!("../script/conditions.sh")
    ))
}

fn read(told: &str) -> NodeConditions {
    let mut seen = NodeConditions::default();
    for (word, rest) in told.lines().filter_map(|line| line.split_once(' ')) {
        match word {
            "boot" => seen.boot_id = Some(rest.to_owned()),
            "waited" => seen.cpu_waited_us = rest.parse().ok(),
            "uptime" => seen.uptime_us = microseconds(rest),
            "gpu" => seen.gpus.push(gpu(rest)),
            _ => {
                let _ = server(&mut seen, word, rest);
            }
        }
    }
    seen
}

/// What is told of a server: its name stands first.
fn server(seen: &mut NodeConditions, word: &str, rest: &str) -> Option<()> {
    let (instance, rest) = rest.split_once(' ')?;
    if word == "server" {
        let (pid, start) = rest.split_once(' ')?;
        let server = ServerConditions {
            pid: pid.parse().ok()?,
            start_time: start.parse().ok()?,
            ..ServerConditions::default()
        };
        seen.servers.insert(instance.to_owned(), server);
        return Some(());
    }
    let server = seen.servers.get_mut(instance)?;
    match word {
        "named" => {
            let line = without_colours(rest);
            let named = logs::named(&line).map(str::to_owned);
            let is_new = |named: &String| !server.named.contains(named);
            server.named.extend(named.filter(is_new));
        }
        "compiled" => server.compiled_late = rest.parse().ok()?,
        _ => {}
    }
    Some(())
}

/// Reads seconds with a fraction.
fn microseconds(seconds: &str) -> Option<u64> {
    let seconds: f64 = seconds.parse().ok()?;
    Some((seconds * 1e6) as u64)
}

fn gpu(line: &str) -> GpuConditions {
    let mut fields = line.split(',').map(|field| {
        let field = field.trim();
        (!field.is_empty() && !field.starts_with('[')).then(|| field.to_owned())
    });
    let mut next = || fields.next().flatten();
    GpuConditions {
        name: next(),
        uuid: next(),
        driver: next(),
        pstate: next(),
        clock_mhz: next(),
        clock_max_mhz: next(),
        temperature_c: next(),
        power_w: next(),
        power_limit_w: next(),
        held_down_by: next(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_tells_is_read() {
        let seen = read(
            "boot 0b1c\nuptime 12.5\nwaited 4000\n\
             gpu NVIDIA GB10, GPU-1, 580.95.05, P0, 2405, 3003, 54, 38.10, [N/A], 0x0000000000000004\n\
             server a 4711 99\nnamed a INFO 11-27 [cuda.py:1] Using FLASH_ATTN attention backend\n\
             named a INFO 11-27 [cuda.py:1] Using FLASH_ATTN attention backend\ncompiled a 2\n\
             named b nobody\nstray\n",
        );
        assert_eq!(seen.boot_id.as_deref(), Some("0b1c"));
        assert_eq!(seen.uptime_us, Some(12_500_000));
        assert_eq!(seen.cpu_waited_us, Some(4000));
        let gpu = &seen.gpus[0];
        assert_eq!(gpu.name.as_deref(), Some("NVIDIA GB10"));
        assert_eq!(gpu.power_limit_w, None);
        assert_eq!(gpu.held_down_by.as_deref(), Some("0x0000000000000004"));
        let server = &seen.servers["a"];
        assert_eq!((server.pid, server.start_time), (4711, 99));
        assert_eq!(server.named, ["Using FLASH_ATTN attention backend"]);
        assert_eq!(server.compiled_late, 2);
        assert_eq!(seen.servers.len(), 1);
    }
}
