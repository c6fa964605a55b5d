//! What records of whole models do not show: parameters of several types, parameters without a gradient.

use std::sync::Arc;

use smallvec::smallvec;

use crate::dtype::Dtype;
use crate::graph::{Graph, ModuleId, Origin, Parameter, TensorId};
use crate::lower::context::{Context, Settings};
use crate::lower::device::Device;
use crate::lower::{optimizer, parameters};
use crate::read::optimizers::choose;
use crate::trace::Event;

const VECTORS: [(u64, Dtype); 5] =
    [(1000, Dtype::F32), (2000, Dtype::BF16), (3000, Dtype::F16), (1500, Dtype::F32), (2500, Dtype::BF16)];

/// A context whose parameters are loaded and have gradients.
fn context(choice: &str, vectors: &[(u64, Dtype)]) -> Context {
    let parameter = |(number, (size, dtype)): (usize, &(u64, Dtype))| Parameter {
        name: format!("p{number}"),
        module: ModuleId(0),
        place: Some(number as u32),
        tensor: TensorId(number as u32),
        shape: smallvec![*size],
        dtype: Some(*dtype),
        buffer: false,
        stored: true,
        origin: Origin::Model,
        frozen: false,
    };
    let graph = Graph { parameters: vectors.iter().enumerate().map(parameter).collect(), ..Graph::default() };
    let device = Device {
        compute_capability: (9, 0),
        multiprocessors: 132,
        threads_per_multiprocessor: 2048,
        rules: Default::default(),
    };
    let chosen = choose(&choice.parse().expect("a choice"), None).expect("an optimizer");
    let settings = Settings {
        profile: None,
        training: true,
        weights: Dtype::F32,
        autocast: None,
        cub: None,
        attention_kernel: None,
        parallel: Vec::new(),
        trainable: None,
        optimizer: Some(Arc::new(chosen)),
        variables: Default::default(),
        reads_zeros: false,
    };
    let mut context = Context::new(device, settings, Arc::new(graph));
    parameters::load(&mut context);
    for number in 0..vectors.len() {
        let gradient = context.empty_like("gradient", &context.training.trained[number].tensor.clone());
        context.training.trained[number].leaf.gradient.replace(Some(gradient));
    }
    context
}

/// What something asks for and gives back, as text: `+6000 -6000`.
fn events(context: &mut Context, run: impl FnOnce(&mut Context) -> Result<(), String>) -> String {
    context.memory.log.phase(crate::trace::Phase { step: 0, name: "start".into() });
    run(context).expect("it runs");
    let stream = context.memory.log.take();
    let start = stream
        .events()
        .collect::<Vec<_>>()
        .iter()
        .rposition(|event| matches!(event, Event::Phase(_)))
        .expect("a phase");
    let bytes = |id: crate::trace::AllocationId| stream.allocation(id).bytes.0;
    let words = stream.events_from(start).filter_map(|event| match event {
        Event::Allocate(id) => Some(format!("+{}", bytes(id))),
        Event::Free(id, _) => Some(format!("-{}", bytes(id))),
        _ => None,
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Runs that code as an optimizer's step.
fn run(functions: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("optimizers")).expect("a folder");
    let text =
        format!("name: m\nsource: me\noptimizers: {{mine: {{step: go, options: {{n: 1}}}}}}\nfunctions:\n{functions}");
    std::fs::write(folder.path().join("optimizers/mine.yaml"), text).expect("a file");
    let chosen = choose(&"mine".parse().expect("a choice"), Some(folder.path())).expect("an optimizer");
    let mut context = context("sgd", &VECTORS[..1]);
    context.settings.optimizer = Some(Arc::new(chosen));
    optimizer::step(&mut context)
}

#[test]
fn names_of_a_comprehension_are_its_own() {
    let code = "  go(group, params): |
    x = 7
    y = [len([x for x in range(x)]) + x for x in range(x) if x != 1]
    require(x == 7 and len(y) == 6 and y[5] == 12, 'not as in Python')
    group.n += sum(y)
    require(group.n == 41, 'not as in Python')
  sum(values, start=[x for x in [0]][0]): |
    for x in values:
      start += x
    return start
";
    assert_eq!(run(code), Ok(()));
    let error = run("  go(group, params): |\n    [i for i in range(3)]\n    i\n").expect_err("no such name");
    assert!(error.starts_with("`i` is not defined (") && error.contains("mine.yaml:7:"), "{error}");
}

#[test]
fn what_has_no_end_is_refused() {
    for (default, code) in [("1", "f()"), ("f()", "x"), ("1", "[f(x=-(-(-f())))]")] {
        let result = run(&format!("  go(group, params): |\n    f()\n  f(x={default}): |\n    return {code}\n"));
        let error = result.expect_err("refused");
        assert!(error.starts_with("calls and expressions nest deeper than 600 levels ("), "{error}");
    }
}

#[test]
fn lists_within_lists_without_end_are_refused() {
    let error =
        run("  go(group, params): |\n    x = 0\n    for i in range(1000000):\n      x = [x]\n").expect_err("refused");
    assert!(error.starts_with("lists, dictionaries and objects nest deeper than 256 levels ("), "{error}");
    let error = run("  go(group, params): |\n    group.me = [group]\n").expect_err("refused");
    assert!(error.starts_with("`me` cannot hold a list: attributes hold tensors"), "{error}");
}

/// Measured with PyTorch 2.11: types come in the reverse order of their appearance, and the square roots of a type are
/// held until those of the next are made.
#[test]
fn types_are_grouped_as_pytorchs_hash_table_gives_them_back() {
    let mut two = context("adamw", &VECTORS[..2]);
    let first = events(&mut two, optimizer::step);
    assert_eq!(first, "+4000 +4000 +4000 +4000 +4000 +4000 -4000 -4000");
    let mut five = context("adamw", &VECTORS);
    let first = events(&mut five, optimizer::step);
    let states = "+4000 +4000 +4000 +4000 +6000 +6000 +6000 +6000 +5000 +5000";
    let roots = "+6000 +4000 +5000 -6000 +4000 +6000 -4000 -5000 -4000 -6000";
    assert_eq!(first, format!("{states} {roots}"));
}

#[test]
fn clipping_takes_the_norms_of_each_type_and_stacks_them_in_the_widest() {
    let mut five = context("sgd", &VECTORS);
    let clip = |context: &mut Context| {
        let given = vec![optimizer::parameters(context)];
        optimizer::call_companion(context, "clip_grad_norm", given)
    };
    // PyTorch 2.15: as many partial norms as there are chunks, in a piece beside the norms.
    let norms = "+16 +4 +2 -4 -16 +24 +8 +2 +2 -8 -24 +24 +8 +4 +4 -8 -24";
    let total = "+20 +4 -20 -2 -2 -2 -4 -4";
    assert_eq!(events(&mut five, clip), format!("{norms} {total} +4 +4 +4 -4 -4 +4 -4 -4 -4"));
}

#[test]
fn what_has_no_gradient_keeps_nothing() {
    let mut three = context("momentum,foreach=false", &VECTORS[..3]);
    three.training.trained[1].leaf.gradient.replace(None);
    assert_eq!(events(&mut three, optimizer::step), "+4000 +6000");
}

#[test]
fn bfloat16_is_refused_where_bitsandbytes_has_no_kernel() {
    let mut two = context("rmsprop8bit", &VECTORS[..2]);
    let refusal = optimizer::init(&mut two).expect_err("refused");
    assert_eq!(refusal, "rmsprop8bit: bitsandbytes has no kernel of this optimizer for bfloat16 gradients");
    let mut one = context("sgd8bit", &VECTORS[..1]);
    assert!(optimizer::init(&mut one).expect_err("refused").contains("needs a momentum"));
}
