//! Sockets enough: the limit on open files is raised before it can be met by a load.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::net::file_table;
use crate::plan::Failure;
use crate::shape::Schedule;

/// Files that are open beside the connections of a load.
const BESIDE: u64 = 64;

/// Room for so many files is made at the beginning, where nothing bounds them.
const UNBOUNDED: u64 = 16_384;

/// Makes room for the connections of a schedule: for all that there can be, or, where nothing bounds
/// them, for as many as the system lets us.
pub(super) fn make_room_for(schedules: &[Schedule]) -> Result<(), Failure> {
    let most = |of: &Schedule| of.in_flight.map(|most| most.saturating_add(of.ahead));
    let all: Option<Vec<u32>> = schedules.iter().map(most).collect();
    if let Some(all) = all {
        let most = all.into_iter().max().unwrap_or(0);
        make_room(most)?;
        file_table::make_room_for(u64::from(most) + BESIDE);
        return Ok(());
    }
    let now = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: now.maximum,
        maximum: now.maximum,
    };
    // Where it cannot be raised, what is missing shows as failures that name it.
    let _ = setrlimit(Resource::Nofile, raised);
    file_table::make_room_for(UNBOUNDED);
    Ok(())
}

/// Makes room for so many connections, where the system lets us.
fn make_room(connections: u32) -> Result<(), Failure> {
    let wanted = u64::from(connections) + BESIDE;
    let now = getrlimit(Resource::Nofile);
    if now.current.is_none_or(|limit| limit >= wanted) {
        return Ok(());
    }
    let too_few = || {
        let most = now.maximum.unwrap_or(wanted);
        Failure::new(format!(
            "{connections} requests at once need {wanted} open files, and {most} are allowed"
        ))
        .hinted(format!(
            "raise the limit, `ulimit -Hn {wanted}`, or ask for fewer at once"
        ))
    };
    if now.maximum.is_some_and(|most| most < wanted) {
        return Err(too_few());
    }
    let raised = Rlimit {
        current: now.maximum,
        maximum: now.maximum,
    };
    setrlimit(Resource::Nofile, raised).map_err(|_| too_few())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_had_is_said() {
        assert!(make_room(1).is_ok());
        let most = getrlimit(Resource::Nofile).maximum;
        if most.is_some_and(|most| most < u64::from(u32::MAX)) {
            let failure = make_room(u32::MAX).unwrap_err();
            assert!(failure.message.contains("open files"));
        }
    }
}
