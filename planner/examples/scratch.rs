#![allow(clippy::all, clippy::print_stdout, clippy::unwrap_used, missing_docs)]
use planner::graph::{Loop, unroll};
use planner::lower::{context::Settings, device::Device, lower};
use planner::read::spec::Shelf;
use planner::schedule::{Event, first_difference};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let case: serde_json::Value = serde_json::from_str(&args[1]).unwrap();
    let shelf = Shelf::default();
    let arch = case["architecture"].as_str().unwrap();
    let t0 = std::time::Instant::now();
    let family = shelf.family_of_architecture(arch).unwrap_or_else(|e| panic!("{e}")).unwrap();
    let t1 = std::time::Instant::now();
    let mode = match case["mode"].as_str().unwrap() {
        "train" => "train",
        "infer" => "infer",
        "generate" => "generate",
        _ => "eval_with_grad",
    };
    let int = |k: &str, d: u64| case[k].as_u64().unwrap_or(d);
    let training = mode == "train";
    let wanted = Loop {
        mode,
        training,
        integers: vec![
            ("batch", int("batch", 1)),
            ("seq", int("seq", 128)),
            ("steps", int("steps", 3)),
            ("new_tokens", int("new_tokens", 8)),
            ("accumulate", 1),
        ],
        flags: vec![
            ("hold_outputs", case["hold_outputs"].as_bool().unwrap_or(false)),
            ("labels", training || mode == "eval_with_grad"),
        ],
        attention: case["attention"].as_str().unwrap_or("sdpa").into(),
    };
    let graph = unroll(&family, &family.architectures[arch], case["config"].as_object().unwrap(), &wanted)
        .unwrap_or_else(|e| {
            println!("{e}\n{:#?}", e.at);
            std::process::exit(1)
        });
    let t2 = std::time::Instant::now();
    let dtype = match case["precision"].as_str().unwrap_or("fp32") {
        "bf16" => planner::dtype::Dtype::BF16,
        "fp16" => planner::dtype::Dtype::F16,
        _ => planner::dtype::Dtype::F32,
    };
    let (cc, sm, th) = match case["gpu"].as_str().unwrap_or("h200") {
        "a100-80gb" => ((8, 0), 108, 2048),
        "rtx4090" => ((8, 9), 128, 1536),
        _ => ((9, 0), 132, 2048),
    };
    let device = Device { compute_capability: cc, multiprocessors: sm, threads_per_multiprocessor: th };
    let grads = mode == "train" || mode == "eval_with_grad";
    let stream = lower(
        &graph,
        &device,
        Settings {
            training: grads,
            weights: dtype,
            attention_kernel: None,
            optimizer: None,
            cub: Some(planner::lower::kernels::cub::Architecture::Sm90),
        },
    )
    .unwrap_or_else(|e| {
        println!("{e} in {}", graph.modules[e.module.index()].path);
        std::process::exit(1)
    });
    let t3 = std::time::Instant::now();
    println!("read {:?} unroll {:?} lower {:?} events {}", t1 - t0, t2 - t1, t3 - t2, stream.events.len());
    let trace: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&args[2]).unwrap()).unwrap();
    let mut bys = vec![];
    let mut sizes = vec![];
    let events: Vec<Result<(u64, u32), usize>> = trace["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|e| {
            if let Some(n) = e.as_i64() {
                return Some(if n >= 0 {
                    bys.push(String::new());
                    sizes.push(n as u64);
                    Ok((n as u64, 0))
                } else {
                    Err((-1 - n) as usize)
                });
            }
            let a = e.get("alloc")?.as_u64().unwrap();
            bys.push(e["by"].as_str().unwrap_or("").to_owned());
            sizes.push(a);
            Some(Ok((a, e["stream"].as_u64().unwrap_or(0) as u32)))
        })
        .collect();
    let describe = |n: usize| {
        stream.allocations.get(n).map_or("end".into(), |a| {
            format!("A{n} {} {} {:?} {}", a.bytes.0, a.op, a.node, graph.modules[a.module.index()].path)
        })
    };
    match first_difference(&stream, events.into_iter()) {
        None => println!("SAME {} allocations", stream.allocations.len()),
        Some(d) => {
            println!(
                "DIFF at {} of {} (theirs {}): ours {:?} theirs {:?}",
                d.allocation,
                stream.allocations.len(),
                sizes.len(),
                d.ours,
                d.theirs
            );
            println!(
                "ours:   {}\ntheirs: {}",
                describe(d.allocation),
                bys.get(d.allocation).map_or("end", |s| s.as_str())
            );
            for n in &d.freed_early {
                println!("freed early: ours {} | theirs {} {}", describe(*n), sizes[*n], bys[*n]);
            }
            for n in &d.freed_late {
                println!("freed late: ours {} | theirs {} {}", describe(*n), sizes[*n], bys[*n]);
            }
            for n in d.allocation.saturating_sub(4)..d.allocation + 3 {
                println!(
                    "   {} | {} {}",
                    describe(n),
                    sizes.get(n).unwrap_or(&0),
                    bys.get(n).map_or("end", |s| &s[..s.len().min(120)])
                );
            }
        }
    }
    let _ = Event::Phase(0);
}
