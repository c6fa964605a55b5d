//! Data parallel training against PyTorch: small models under DDP and FSDP2, one rank's stream, side streams included.

use crate::support::plans::planned;
use crate::support::records;
use planner::bytes::Bytes;
use planner::run::{Mode, Parallel, Run};
use planner::trace::Category;

#[test]
fn what_cannot_be_is_refused_in_one_line() {
    let ddp = |words: &str| Parallel::ddp(words).expect_err("refused").to_string();
    let fsdp = |words: &str| Parallel::fsdp(words).expect_err("refused").to_string();
    assert_eq!(ddp("0"), "ddp: 0 GPUs cannot be: it takes 1 to 1048576");
    assert_eq!(
        ddp("many"),
        "ddp: `many` is no number of GPUs: `ddp 8` is one, `ddp 8,gradient_as_bucket_view=true` says more"
    );
    assert_eq!(ddp("8,bucket_cap_mb=0"), "ddp: `0` is no bucket_cap_mb: a whole number of MiB is expected");
    assert_eq!(
        ddp("8,reshard=true"),
        "ddp: unknown option `reshard`: its options are bucket_cap_mb, gradient_as_bucket_view, init_sync, \
         static_graph"
    );
    assert_eq!(fsdp("8,param_dtype=int8"), "fsdp: `int8` is no param_dtype: fp32, bf16 or fp16 is expected");
    assert_eq!(fsdp("8,offload=maybe"), "fsdp: `maybe` is no offload: true or false is expected");
    let parallel = Parallel::fsdp("8,reshard=false").ok();
    let run = Run { mode: Mode::Infer, parallel, ..Run::default() };
    let error = run.check().expect_err("refused").to_string();
    assert_eq!(error, "fsdp 8 + no reshard is for training: --mode infer runs alike on every GPU");
}

#[test]
fn a_flag_without_a_value_is_true() {
    assert_eq!(Parallel::ddp("2,gradient_as_bucket_view"), Parallel::ddp("2, gradient_as_bucket_view=true"));
}

/// Shards, their gradients and AdamW's two averages of each; its steps are numbers.
#[test]
fn what_offload_keeps_on_the_host_is_counted() {
    let cases = records("parallel.jsonl");
    let record = cases.iter().find(|record| record.id == "fsdp-gpt2-offload").expect("a record");
    let plan = planned(record);
    let shard = |shape: &[u64]| 4 * shape[0].div_ceil(4) * shape[1..].iter().product::<u64>();
    let shards: u64 = plan.graph.parameters.iter().filter(|p| !p.buffer).map(|p| shard(&p.shape)).sum();
    let expected = [
        (Category::Parameters, Bytes(shards)),
        (Category::Gradients, Bytes(shards)),
        (Category::OptimizerStates, Bytes(2 * shards)),
    ];
    assert_eq!(plan.trace.host, expected);
}
