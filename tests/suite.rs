//! Everything that is tested through the crate's public face, in one binary.

mod suite {
    mod blessing;
    mod builders;
    mod converging;
    mod deciding;
    mod house;
    mod local;
    mod model;
    mod readme;
    mod rooms;
    mod serving;
    mod support;
    mod told;
    mod words;
    mod written;
}
