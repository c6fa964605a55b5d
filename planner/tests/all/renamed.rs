//! The names of locals in specs are Python's, and matter: a value goes when its name is bound anew. A spec whose local has another name
//! gives another trace than the recorded one, which the shipped spec gives (`planner/tests/records`).

use std::fs;
use std::path::Path;

use planner::RunOptions;

/// The sizes in the order of asking and letting go: all that a record has of a trace.
fn events(options: &RunOptions) -> Vec<(bool, u64)> {
    let plan = options.plan().expect("a plan");
    let trace = &plan.trace;
    let event = |event: planner::trace::Event| match event {
        planner::trace::Event::Allocate(id) => Some((true, trace.allocation(id).bytes.0)),
        planner::trace::Event::Free(id, _) => Some((false, trace.allocation(id).bytes.0)),
        _ => None,
    };
    trace.events().filter_map(event).collect()
}

#[test]
fn a_renamed_local_is_another_run() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../specs/models/gpt2.yaml");
    let shipped = fs::read_to_string(shipped).expect("the spec");
    let run = |options: RunOptions| {
        let options = options.with("mode", "infer").and_then(|options| options.with("steps", "1"));
        options.and_then(|options| options.with("seq", "64")).expect("options")
    };
    let same = events(&run(RunOptions::of("gpt2")));
    // what is bound anew gets a name of its own: the value before lives on to the end of the function
    let renamed = [
        (
            "      hidden_states = self.c_fc(hidden_states)\n      hidden_states = self.act(hidden_states)",
            "      expanded = self.c_fc(hidden_states)\n      hidden_states = self.act(expanded)",
        ),
        (
            "      hidden_states = self.act(hidden_states)\n      hidden_states = self.c_proj(hidden_states)",
            "      activated = self.act(hidden_states)\n      hidden_states = self.c_proj(activated)",
        ),
        (
            "      hidden_states = self.ln_1(hidden_states)\n      attn_output, _ = self.attn(hidden_states,",
            "      normed = self.ln_1(hidden_states)\n      attn_output, _ = self.attn(normed,",
        ),
    ];
    for (before, after) in renamed {
        assert!(shipped.contains(before), "the spec has changed: {before}");
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("models")).expect("a folder");
        let write = |text: &str| fs::write(folder.path().join("models/gpt2.yaml"), text).expect("a spec");
        let own = RunOptions { specs: Some(folder.path().to_owned()), ..RunOptions::of("gpt2") };
        write(&shipped);
        assert!(events(&run(own.clone())) == same, "the same text is the same run");
        write(&shipped.replace(before, after));
        assert!(events(&run(own)) != same, "{after}");
    }
}
