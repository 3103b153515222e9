//! Shapes for tests, by what they are.

use super::{Load, Pace, Requests, Several, Shape};
use crate::quantity::{Rate, Seconds};

fn shape(load: Load) -> Shape {
    load.try_into().expect("a test writes a good load")
}

pub(crate) fn sequential(requests: u32) -> Shape {
    shape(Load {
        sequential: Some(requests),
        ..Load::default()
    })
}

pub(crate) fn batch(requests: u32) -> Shape {
    shape(Load {
        batch: Some(requests),
        ..Load::default()
    })
}

pub(crate) fn concurrency(width: u32, requests: u32) -> Shape {
    shape(Load {
        concurrency: Some(Several::One(width)),
        requests: Some(Requests::All(requests)),
        ..Load::default()
    })
}

/// So many a second, for so many seconds.
pub(crate) fn rate(per_s: f64, seconds: u32) -> Shape {
    shape(Load {
        rate: Some(Several::One(Pace::Rate(Rate::of(per_s).unwrap()))),
        duration: Some(Seconds::whole(seconds)),
        ..Load::default()
    })
}
