//! Words of other programs: what people are used to write becomes what memplan calls it.
//!
//! Names that a flag has elsewhere (`--batch-size`) stand with the option in `planner/src/run/options.rs`; here is what says several
//! things at once, takes its value or goes without, and what memplan cannot do, with what comes nearest.

use std::ffi::OsString;

use planner::run::Lora;

/// A flag that says what other flags say.
struct Short {
    flag: &'static str,
    means: &'static [&'static str],
    /// What is said with the value behind it, and the value where none stands there.
    takes: Option<(&'static str, &'static str)>,
}

/// TrainingArguments' switches (transformers 5.24, training_args.py), those of bitsandbytes' configs, QLoRA's name.
const SHORTS: [Short; 8] = [
    Short { flag: "--json", means: &["--format=json"], takes: None },
    Short { flag: "--gradient-checkpointing", means: &["--checkpoint=full"], takes: None },
    Short { flag: "--bf16", means: &["--precision=amp-bf16"], takes: None },
    Short { flag: "--fp16", means: &["--precision=amp-fp16"], takes: None },
    Short { flag: "--load-in-4bit", means: &["--quantize=nf4"], takes: None },
    Short { flag: "--load-in-8bit", means: &["--quantize=int8"], takes: None },
    Short { flag: "--qlora", means: &["--quantize=nf4"], takes: Some(("--lora", "r=16")) },
    Short { flag: "--lora", means: &[], takes: Some(("--lora", "r=8")) },
];

/// What is asked for elsewhere and has no flag here: parts of the flag's name, and what to do.
const FOREIGN: [(&[&str], &str); 10] = [
    (
        &["gpu-memory-utilization", "mem-fraction"],
        "--capacity says how much of the GPU the run may take: --capacity 20GiB",
    ),
    (
        &["tensor-parallel", "tp-size", "tp", "pipeline-parallel", "pp", "expert-parallel"],
        "one model is planned on one GPU, or spread with --fsdp N or --ddp N; tensor and pipeline parallelism are not planned",
    ),
    (&["zero-stage", "zero", "deepspeed"], "--fsdp N plans sharded parameters; `memplan buy` bounds ZeRO's stages"),
    (&["num-gpus", "nproc-per-node", "gpus", "devices", "world-size"], "--fsdp N or --ddp N plans one of N GPUs"),
    (
        &["max-model-len", "context", "context-length"],
        "--seq says the tokens of a prompt, --new-tokens those that follow",
    ),
    (
        &["users", "concurrency", "max-num-seqs"],
        "`memplan buy MODEL --serve --requests N --context TOKENS` sizes a server",
    ),
    (&["offload", "cpu-offload"], "--fsdp N,offload=true keeps parameters on the host"),
    (&["flash-attn", "use-flash-attention"], "--sdpa flash takes that kernel of PyTorch"),
    (&["packing"], "a packed batch is planned as a full one: --batch N --seq TOKENS"),
    (&["epochs", "num-train-epochs", "max-steps"], "memory comes round after a few steps: --steps N, 3 by default"),
];

/// The command line with what other programs call it in memplan's words.
pub fn translated(given: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut given = given.into_iter().peekable();
    let mut words: Vec<OsString> = given.by_ref().take(1).collect();
    let mut is_graph = false; // whose --json is another
    while let Some(word) = given.next() {
        if word == "--" {
            words.push(word);
            words.extend(given);
            break;
        }
        is_graph |= words.len() == 1 && word == "graph";
        let Some(flag) = word.to_str().and_then(dashed) else {
            words.push(word);
            continue;
        };
        let (name, value) = flag.split_once('=').map_or((&*flag, None), |(name, value)| (name, Some(value.to_owned())));
        let Some(short) = SHORTS.iter().find(|short| short.flag == name && !(is_graph && name == "--json")) else {
            words.push(flag.into());
            continue;
        };
        let next = given.peek().and_then(|next| next.to_str()).map(str::to_owned);
        let fitting = next.filter(|next| short.takes_word(next));
        if value.is_none() && fitting.is_some() {
            given.next();
        }
        words.extend(short.said(value.or(fitting).as_deref()).into_iter().map(OsString::from));
    }
    words
}

impl Short {
    /// Whether a word can be the value of this flag.
    fn takes_word(&self, word: &str) -> bool {
        match self.takes {
            Some(_) => word.parse::<Lora>().is_ok() || switched(word).is_some(),
            None => switched(word).is_some(),
        }
    }

    /// What it says with that value.
    fn said(&self, value: Option<&str>) -> Vec<String> {
        match (self.takes, value.map(switched)) {
            (_, Some(Some(false))) => Vec::new(),
            (None, Some(None)) => vec![format!("{}={}", self.flag, value.unwrap_or_default())],
            (None, _) => self.means.iter().map(|&word| word.to_owned()).collect(),
            (Some((flag, usual)), switch) => {
                let value = value.filter(|_| switch != Some(Some(true)));
                let valued = format!("{flag}={}", value.unwrap_or(usual));
                self.means.iter().map(|&word| word.to_owned()).chain([valued]).collect()
            }
        }
    }
}

/// What a word says of a switch.
fn switched(word: &str) -> Option<bool> {
    match word.to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// A long flag with dashes where other programs have underscores; None where the word is no flag.
fn dashed(word: &str) -> Option<String> {
    let flag = word.strip_prefix("--").filter(|flag| !flag.is_empty())?;
    let (name, value) = flag.split_once('=').map_or((flag, ""), |(name, _)| (name, &flag[name.len()..]));
    Some(format!("--{}{value}", name.replace('_', "-")))
}

/// What to do in place of a flag that there is not.
pub fn instead(flag: &str) -> Option<&'static str> {
    let name = flag.trim_start_matches('-');
    let is_meant = |part: &&str| name == *part || part.len() > 4 && name.starts_with(part);
    FOREIGN.iter().find(|(parts, _)| parts.iter().any(is_meant)).map(|(_, advice)| *advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> String {
        let words = translated(line.split(' ').map(OsString::from));
        words.iter().map(|word| word.to_str().unwrap_or_default()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn words_of_other_programs_are_translated() {
        for (given, meant) in [
            ("memplan plan x --qlora", "memplan plan x --quantize=nf4 --lora=r=16"),
            ("memplan plan --qlora x --lora 16", "memplan plan --quantize=nf4 --lora=r=16 x --lora=16"),
            ("memplan plan x --qlora=true --lora false", "memplan plan x --quantize=nf4 --lora=r=16"),
            ("memplan plan --lora x", "memplan plan --lora=r=8 x"),
            ("memplan plan x --lora r=4,alpha=2", "memplan plan x --lora=r=4,alpha=2"),
            ("memplan plan x --bf16 True --fp16 False", "memplan plan x --precision=amp-bf16"),
            ("memplan plan x --gradient_checkpointing", "memplan plan x --checkpoint=full"),
            ("memplan plan x --per_device_train_batch_size=2", "memplan plan x --per-device-train-batch-size=2"),
            ("memplan plan x --trainable=a_b", "memplan plan x --trainable=a_b"),
            ("memplan plan x --json", "memplan plan x --format=json"),
            ("memplan graph x --json", "memplan graph x --json"),
            ("memplan plan -- --json", "memplan plan -- --json"),
        ] {
            assert_eq!(said(given), meant);
        }
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        assert!(instead("--gpu-memory-utilization").is_some_and(|advice| advice.contains("--capacity")));
        assert!(instead("--tensor-parallel-size").is_some_and(|advice| advice.contains("not planned")));
        assert_eq!(instead("--tpu"), None);
        assert_eq!(instead("--anything"), None);
    }
}
