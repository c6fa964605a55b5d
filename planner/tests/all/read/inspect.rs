//! What an inspection says of a checkpoint.

use planner::bytes::Bytes;
use planner::read::inspect::{self, Inspection, Module};
use planner::read::{checkpoint, header::Dtype};

use super::support::{Folder, data_length, truth};

fn recorded(name: &str) -> Inspection {
    let (_, header) = truth().into_iter().find(|(model, _)| model == name).unwrap();
    let folder = Folder::new();
    folder.safetensors("model.safetensors", &header, data_length(&header));
    inspect::inspect(&checkpoint::read(folder.path()).unwrap())
}

fn of(names: &[&str]) -> Inspection {
    let folder = Folder::new();
    inspect::inspect(&checkpoint::read(&folder.vectors("m.safetensors", names)).unwrap())
}

/// The module at a path of names.
fn at<'a>(inspection: &'a Inspection, path: &[&str]) -> &'a Module {
    path.iter().fold(&inspection.root, |module, name| module.children.iter().find(|child| child.name == *name).unwrap())
}

#[test]
fn eight_billion_parameters() {
    let inspection = recorded("llama-3.1-8b");
    assert_eq!(inspection.total.parameters, 8_030_261_248);
    assert_eq!(inspection.total.bytes, Bytes(16_060_522_496));
    assert_eq!(inspection.dtypes, [(Dtype::BF16, inspection.total)]);
    let layers = at(&inspection, &["model", "layers", "[0-31]"]);
    assert_eq!((layers.copies, &layers.indices[..], layers.total.tensors), (32, &[(0, 31)][..], 288));
    let query = at(&inspection, &["model", "layers", "[0-31]", "self_attn", "q_proj", "weight"]);
    assert_eq!(query.total.bytes, Bytes(32 * 4096 * 4096 * 2));
    assert_eq!(query.tensor.as_ref().unwrap().shape, [4096, 4096]);
    assert_eq!(inspect::text(&inspection, 60), LLAMA);
}

const LLAMA: &str = "\
8030261248 parameters in 291 tensors, 16060522496 bytes (14.96 GiB), 1 file

dtype                                             tensors  parameters        bytes
BF16                                                  291  8030261248  16060522496    14.96 GiB
total                                                 291  8030261248  16060522496    14.96 GiB

module                                            tensors  parameters        bytes
lm_head.weight  BF16 [128256, 4096]                     1   525336576   1050673152  1002.00 MiB
model                                                 290  7504924672  15009849344    13.98 GiB
  embed_tokens.weight  BF16 [128256, 4096]              1   525336576   1050673152  1002.00 MiB
  layers.[0-31]  x32                                  288  6979584000  13959168000    13.00 GiB
    input_layernorm.weight  BF16 [4096]                32      131072       262144   256.00 KiB
    mlp                                                96  5637144576  11274289152    10.50 GiB
      down_proj.weight  BF16 [4096, 14336]             32  1879048192   3758096384     3.50 GiB
      gate_proj.weight  BF16 [14336, 4096]             32  1879048192   3758096384     3.50 GiB
      up_proj.weight  BF16 [14336, 4096]               32  1879048192   3758096384     3.50 GiB
    post_attention_layernorm.weight  BF16 [4096]       32      131072       262144   256.00 KiB
    self_attn                                         128  1342177280   2684354560     2.50 GiB
      k_proj.weight  BF16 [1024, 4096]                 32   134217728    268435456   256.00 MiB
      o_proj.weight  BF16 [4096, 4096]                 32   536870912   1073741824     1.00 GiB
      q_proj.weight  BF16 [4096, 4096]                 32   536870912   1073741824     1.00 GiB
      v_proj.weight  BF16 [1024, 4096]                 32   134217728    268435456   256.00 MiB
  norm.weight  BF16 [4096]                              1        4096         8192     8.00 KiB
";

#[test]
fn sums_hold_throughout_and_texts_are_short() {
    fn check(module: &Module) {
        let below: u64 = module.children.iter().map(|child| child.total.bytes.0).sum();
        assert!(below <= module.total.bytes.0);
        assert!(module.tensor.is_some() || below == module.total.bytes.0, "{}", module.name);
        module.children.iter().for_each(check);
    }
    for (name, header) in truth() {
        let inspection = recorded(&name);
        assert_eq!(inspection.total.bytes, Bytes(data_length(&header)), "{name}");
        assert_eq!(inspection.root.total, inspection.total, "{name}");
        check(&inspection.root);
        for most in [12, 30, 60] {
            assert!(inspect::text(&inspection, most).lines().count() <= most, "{name}");
        }
    }
}

#[test]
fn only_like_siblings_fold() {
    let inspection = of(&["h.0.w", "h.1.w", "h.2.w", "h.2.b", "h.10.w", "h.01.w", "h.x.w"]);
    let names: Vec<_> = at(&inspection, &["h"]).children.iter().map(|child| (&child.name[..], child.copies)).collect();
    assert_eq!(names, [("[0-1,10]", 3), ("2", 1), ("01", 1), ("x", 1)]);
    let inspection = of(&["a.0.e.0.w", "a.0.e.1.w", "a.1.e.0.w", "a.1.e.1.w", "a.2.e.0.w", "a.2.e.2.w"]);
    let names: Vec<_> = at(&inspection, &["a"]).children.iter().map(|child| (&child.name[..], child.copies)).collect();
    assert_eq!(names, [("[0-1]", 2), ("2", 1)]);
    assert_eq!(at(&inspection, &["a", "[0-1]", "e", "[0-1]"]).total.tensors, 4);
}

#[test]
fn text_of_a_small_model() {
    assert_eq!(inspect::text(&of(&["h.0.w", "h.1.w", "a", "a.b", "h.1.v"]), 60), SMALL);
}

const SMALL: &str = "\
10 parameters in 5 tensors, 40 bytes (40 B), 1 file

dtype           tensors  parameters  bytes
F32                   5          10     40  40 B
total                 5          10     40  40 B

module          tensors  parameters  bytes
a  F32 [2]            2           4     16  16 B
  b  F32 [2]          1           2      8   8 B
h                     3           6     24  24 B
  0.w  F32 [2]        1           2      8   8 B
  1                   2           4     16  16 B
    v  F32 [2]        1           2      8   8 B
    w  F32 [2]        1           2      8   8 B
";

#[test]
fn long_tops_are_cut() {
    let names: Vec<String> = (0..100).map(|i| format!("t{i:02}")).collect();
    let text = inspect::text(&of(&names.iter().map(String::as_str).collect::<Vec<_>>()), 20);
    assert_eq!(text.lines().count(), 20);
    assert_eq!(
        text.lines().last().unwrap().split_whitespace().collect::<Vec<_>>(),
        ["...", "88", "more", "88", "176", "704", "704", "B"]
    );
}

#[test]
fn json() {
    let report = planner::report::inspect::report(&of(&["h.0.w", "h.1.w", "b"]));
    let expected = serde_json::json!({
        "schema": 1, "files": 1, "tensors": 3, "parameters": 6, "bytes": 24,
        "dtypes": [{"dtype": "F32", "tensors": 3, "parameters": 6, "bytes": 24}],
        "modules": [
            {"name": "b", "copies": 1, "dtype": "F32", "shape": [2], "tensors": 1, "parameters": 2, "bytes": 8},
            {"name": "h", "copies": 1, "tensors": 2, "parameters": 4, "bytes": 16, "children": [
                {"name": "[0-1]", "indices": [[0, 1]], "copies": 2, "tensors": 2, "parameters": 4, "bytes": 16, "children": [
                    {"name": "w", "copies": 1, "dtype": "F32", "shape": [2], "tensors": 2, "parameters": 4, "bytes": 16}]}]},
        ],
    });
    assert_eq!(serde_json::to_value(report).unwrap(), expected);
}
