//! The corridor: observe, decide, execute. It names no kind.
