//! Everything that is tested through the crate's public face, in one binary.

mod suite {
    mod blessing;
    mod builders;
    mod converging;
    mod deciding;
    mod describe;
    mod hostile;
    mod house;
    mod local;
    mod model;
    mod node_case;
    mod readme;
    mod rooms;
    mod serving;
    mod support;
    mod written;
}
