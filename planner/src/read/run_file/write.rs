//! A run as a run file has it: key by key, without those that nobody wished for.

use std::fmt::Display;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::Wishes;
use crate::graph::Checkpointing;
use crate::run::{Parallel, Variables};

impl Wishes {
    /// The keys with their values, in the order of a run file; what is not said is left out. `parse` reads them.
    pub fn entries(&self) -> Map<String, Value> {
        let Ok(Value::Object(entries)) = serde_json::to_value(self) else { return Map::new() };
        entries.into_iter().filter(|(_, value)| !value.is_null()).collect()
    }
}

/// A choice by the word that names it.
pub(super) fn word<T: Display, S: Serializer>(choice: &Option<T>, to: S) -> Result<S::Ok, S::Error> {
    choice.as_ref().map(T::to_string).serialize(to)
}

/// `none`, `full`, or a list of regions.
pub(super) fn checkpoint<S: Serializer>(choice: &Option<Checkpointing>, to: S) -> Result<S::Ok, S::Error> {
    match choice {
        Some(Checkpointing::Modules(regions)) => {
            regions.iter().map(|region| region.to_string()).collect::<Vec<_>>().serialize(to)
        }
        choice => word(choice, to),
    }
}

/// `{CUBLAS_WORKSPACE_CONFIG: ':16:8'}`
pub(super) fn variables<S: Serializer>(set: &Option<Variables>, to: S) -> Result<S::Ok, S::Error> {
    let entries =
        |set: &Variables| set.iter().map(|(name, value)| (name.to_owned(), value.into())).collect::<Map<_, Value>>();
    set.as_ref().map(entries).serialize(to)
}

/// `8,reshard=false`
pub(super) fn parallel<S: Serializer>(choice: &Option<Parallel>, to: S) -> Result<S::Ok, S::Error> {
    choice.as_ref().map(|parallel| parallel.flag().1).serialize(to)
}

/// `{ddp: 8}`
pub(super) fn either<S: Serializer>(choice: &Option<Parallel>, to: S) -> Result<S::Ok, S::Error> {
    let entry = |parallel: &Parallel| {
        let (flag, words) = parallel.flag();
        Map::from_iter([(flag.to_owned(), words.into())])
    };
    choice.as_ref().map(entry).serialize(to)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{Wishes, parse};

    fn again(text: &str) -> (Wishes, Wishes) {
        let wishes = parse(Path::new("run.yaml"), text).expect("a run file");
        let written = serde_yaml::to_string(&wishes.entries()).expect("YAML");
        let again = parse(Path::new("again.yaml"), &written).unwrap_or_else(|error| panic!("{error}\n{written}"));
        (wishes, again)
    }

    #[test]
    fn what_is_written_is_read_again() {
        let all = "
model: gpt2
architecture: GPT2LMHeadModel
weights: a/b.safetensors
mode: eval-with-grad
batch: 2
seq: 3
image: 4
new-tokens: 5
precision: amp-bf16
grad-scaler: false
optimizer: {name: adamw, fused: true}
clip: 1.5
accumulate: 6
checkpoint: [h.0, 'h.1:mm+addmm']
reentrant: true
use-cache: false
checkpoint-save: [mm, addmm]
zero-grad: before-forward
keep-losses: 7
ddp: 8,gradient_as_bucket_view=true,bucket_cap_mb=3,init_sync=true,static_graph=true
trainable: '^h\\.1'
lora: r=16,alpha=32,dropout=0.05,targets=q+v
quantize: nf4
double-quant: false
steps: 9
attention: eager
sdpa: math
cache: paged
cache-tokens: 10
page-tokens: 11
cache-dtype: fp8
gpu: rtx4090
capacity: 1.5GiB
allocator: expandable_segments:True
hold-outputs: true
workers: 12
prefetch: 13
sample: image=14x15
pin-memory: true
host-ram: 1.5GiB
specs: my-specs
profile: my-profile.yaml
dim: {s72: 8}
loss: sum
torch: 2.10
transformers: 5.18
variables: {CUBLAS_WORKSPACE_CONFIG: ':16:8'}
";
        let (wishes, written) = again(all);
        assert_eq!(wishes, written);
        // `fsdp` and `parallel` do not go with `ddp`
        assert_eq!(
            wishes.entries().len(),
            serde_json::to_value(&wishes).expect("JSON").as_object().map_or(0, |all| all.len()) - 2
        );
        for one in [
            "fsdp: 8,reshard=false,param_dtype=bf16,reduce_dtype=fp32,offload",
            "parallel: {fsdp: 4}",
            "parallel: {ddp: 4}",
            "checkpoint: full",
            "checkpoint: none",
            "sdpa: auto",
            "",
        ] {
            let (wishes, written) = again(one);
            assert_eq!(wishes, written, "{one}");
        }
    }
}
