//! Everything that is tested through the crate's public face, in one binary.

mod suite {
    mod deciding;
    mod local;
    mod model;
    mod support;
    mod house;
    mod model;
    mod rooms;
    mod told;
    mod words;
}
