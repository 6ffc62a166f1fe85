//! Panic handling: a panic in one request's task becomes an error for that request.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;

/// Output of `work`; `None` if it panics. It is pinned already, because it is large and would be copied
/// on its way.
pub(super) async fn catch_panic<T>(mut work: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    std::future::poll_fn(|context| {
        // What the panic has left half done is dropped with the work, and looked at by nobody.
        match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
            Ok(Poll::Ready(done)) => Poll::Ready(Some(done)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(_) => Poll::Ready(None),
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;

    #[tokio::test]
    async fn a_panic_ends_the_work_and_nothing_else() {
        let broken = async {
            tokio::task::yield_now().await;
            assert_eq!(1, 2, "a panic on purpose");
        };
        assert_eq!(catch_panic(pin!(broken)).await, None);
        assert_eq!(catch_panic(pin!(async { 7 })).await, Some(7));
    }
}
