//! Plans side by side. A model's family is held by counted references that stay on their thread, so each thread opens the model
//! for itself; tasks and results are plain data and come back in the order of the tasks.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::read::model::{Model, ModelError};

/// Opens the model that is planned, once more.
pub type Opener<'a> = dyn Fn() -> Result<Model, ModelError> + Sync + 'a;

/// Works on tasks with all threads that rayon has, the calling one among them; a thread that cannot open the model leaves its
/// share to the others.
pub(crate) fn each<T: Sync, R: Send>(
    (model, open): (&Model, &Opener<'_>),
    tasks: &[T],
    work: impl Fn(&Model, &T) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, R)>> = Mutex::new(Vec::with_capacity(tasks.len()));
    let run = |model: &Model| {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(task) = tasks.get(number) else { return };
            let result = work(model, task);
            // A thread that panicked cannot leave a list of whole results half written.
            results.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push((number, result));
        }
    };
    rayon::in_place_scope(|scope| {
        for _ in 1..rayon::current_num_threads().min(tasks.len()) {
            scope.spawn(|_| {
                if let Ok(model) = open() {
                    run(&model);
                }
            });
        }
        run(model);
    });
    let mut results = results.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    results.sort_unstable_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}
