//! Work that ends with its value.

use tokio::task::AbortHandle;

/// A task that is ended when this is dropped.
#[derive(Debug)]
pub struct Task(AbortHandle);

impl Task {
    /// Begins `work`.
    pub fn run(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(work).abort_handle())
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
