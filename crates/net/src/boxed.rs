//! Heap allocation of large futures outside their caller's stack frame.

use std::pin::Pin;

/// Makes a future and moves it to the heap, in a stack frame that is gone when this returns. `Box::pin(large())` makes it in
/// the caller's frame, which has room for it as long as the caller is polled, as do those of all callers above.
#[inline(never)]
pub fn boxed<F: Future>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    Box::pin(make())
}
