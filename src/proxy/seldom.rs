//! What few requests need stands aside from what all of them go through.

use std::pin::Pin;

/// A future that few wait for. It takes no room in the one that waits for it, which every request moves
/// about; and as its type is erased, its code is not inlined into that of the path which all take, and
/// which costs most where it has to be fetched.
pub(super) fn seldom<'a, T>(
    future: impl Future<Output = T> + Send + 'a,
) -> Pin<Box<dyn Future<Output = T> + Send + 'a>> {
    Box::pin(future)
}
