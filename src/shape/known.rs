//! Shapes for tests, by what they are.

use super::{Load, Shape};

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
        concurrency: Some(width),
        requests: Some(requests),
        ..Load::default()
    })
}
