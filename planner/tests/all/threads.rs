//! What is opened and planned can be shared between threads, and threads plan the same as one.

use planner::read::optimizers::Optimizer;
use planner::{Gpu, Model, Opened, Plan, Replay, Run, RunOptions, Trace};

/// Compiles for what can be sent to and shared between threads alone.
fn is_shared<T: Send + Sync>() {}

#[test]
fn models_runs_and_plans_can_be_shared() {
    is_shared::<(Model, Run, RunOptions, Gpu, Opened, Optimizer)>();
    is_shared::<(Plan, Replay, Trace)>();
}

#[test]
fn a_model_is_opened_once_and_planned_from_many_threads() {
    let opened = RunOptions::of("distilgpt2").open().expect("a model");
    let reserved = |batch: u64| {
        let run = Run { batch, steps: 2, ..opened.run.clone() };
        planner::plan::plan(&opened.model, &run, &opened.gpu).expect("a plan").peak_reserved()
    };
    let alone: Vec<_> = (1..5).map(reserved).collect();
    let together: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (1..5).map(|batch| scope.spawn(move || reserved(batch))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a plan")).collect()
    });
    assert_eq!(alone, together);
}

#[test]
fn an_unknown_option_names_the_nearest() {
    let said = RunOptions::of("gpt2").with("bach", "4").expect_err("no such option").to_string();
    assert_eq!(said, "there is no option `bach`: did you mean `batch`?");
    let said = RunOptions::of("gpt2").with("batch", "many").expect_err("no number").to_string();
    assert!(said.starts_with("batch=many: "), "{said}");
}
