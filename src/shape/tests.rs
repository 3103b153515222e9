//! Shapes as they are written, and what they answer.

use std::time::Duration;

use serde_json::{Value, json};

use super::known::{batch, concurrency, sequential};
use super::*;

fn read(written: Value) -> Result<Shape, InvalidLoad> {
    serde_json::from_value::<Load>(written).unwrap().try_into()
}

#[test]
fn a_shape_is_written_as_it_was_read() {
    for written in [
        json!({"sequential": 1}),
        json!({"batch": 8}),
        json!({"concurrency": 16, "requests": 160}),
    ] {
        let shape = read(written.clone()).unwrap();
        assert_eq!(serde_json::to_value(&shape).unwrap(), written);
        assert_eq!(serde_json::from_value::<Shape>(written).unwrap(), shape);
    }
    assert_eq!(
        serde_json::to_string(&concurrency(4, 40)).unwrap(),
        r#"{"concurrency":4,"requests":40}"#
    );
}

#[test]
fn every_shape_is_called_and_classed() {
    let said = |shape: Shape| (shape.label(), shape.class());
    assert_eq!(
        said(sequential(1)),
        ("sequential 1".to_owned(), Class::Alone)
    );
    assert_eq!(
        said(batch(8)),
        ("batch 8".to_owned(), Class::Together { requests: 8 })
    );
    assert_eq!(
        said(concurrency(16, 160)),
        (
            "concurrency 16 x 160".to_owned(),
            Class::Closed { width: 16 }
        )
    );
    assert_eq!(concurrency(1, 10).class(), Class::Alone);
}

#[test]
fn a_load_that_is_no_shape_says_where_and_what_to_write() {
    let wrong = |written| {
        let fault = read(written).unwrap_err();
        (fault.part, fault.message, fault.hint)
    };
    let any = "write one of `{sequential: 1}`, `{batch: 8}`, `{concurrency: 16, requests: 160}`";
    let cases = [
        (
            json!({}),
            LoadPart::Whole,
            "`load` does not say when requests are sent",
            any,
        ),
        (
            json!({"requests": 5}),
            LoadPart::Key("requests"),
            "`requests` says how many are sent, and nothing says when",
            any,
        ),
        (
            json!({"batch": 8, "sequential": 1}),
            LoadPart::Key("batch"),
            "`sequential` and `batch` are two loads",
            any,
        ),
        (
            json!({"batch": 0}),
            LoadPart::Value("batch"),
            "`batch` must be 1 or more",
            "it is the number of requests",
        ),
        (
            json!({"batch": 8, "requests": 8}),
            LoadPart::Key("requests"),
            "`batch` takes no `requests`",
            "it is itself the number of requests, as in `{batch: 8}`",
        ),
        (
            json!({"concurrency": 4}),
            LoadPart::Key("concurrency"),
            "`concurrency` needs `requests`: how many are sent in all",
            "ten for each in flight, as in `{concurrency: 16, requests: 160}`",
        ),
        (
            json!({"concurrency": 16, "requests": 8}),
            LoadPart::Value("requests"),
            "8 requests are never 16 in flight",
            "`requests` must be at least `concurrency`, 16",
        ),
        (
            json!({"concurrency": 4, "requests": 0}),
            LoadPart::Value("requests"),
            "`requests` must be 1 or more",
            "it is the number of requests in all",
        ),
    ];
    for (written, part, message, hint) in cases {
        assert_eq!(wrong(written), (part, message.to_owned(), hint.to_owned()));
    }
}

/// What a pacing says, one request ending each time that it waits.
fn walk(shape: &Shape) -> (Vec<u32>, u32) {
    let Schedule {
        mut pacing,
        requests,
        ..
    } = shape.schedule();
    let (mut in_flight, mut flown) = (0, Vec::new());
    loop {
        match pacing.next(Duration::ZERO, in_flight) {
            Next::Now => {
                in_flight += 1;
                flown.push(in_flight);
            }
            Next::Wait => in_flight -= 1,
            Next::Done => return (flown, requests),
            Next::At(at) => panic!("a closed loop waits for nobody's clock: {at:?}"),
        }
    }
}

#[test]
fn a_closed_pacing_fills_its_width_and_keeps_it() {
    assert_eq!(walk(&sequential(3)), (vec![1, 1, 1], 3));
    assert_eq!(walk(&batch(4)), (vec![1, 2, 3, 4], 4));
    assert_eq!(walk(&concurrency(2, 5)), (vec![1, 2, 2, 2, 2], 5));
    assert_eq!(concurrency(2, 5).schedule().in_flight, 2);
}
