//! Instances for tests and benchmarks, made from seeds.

#![allow(dead_code)] // Each test uses a part.

use packing::Buffer;

/// A small generator of random numbers (xorshift).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % end
    }
}

pub fn buffer(id: usize, lower: i64, upper: i64, size: u64) -> Buffer {
    Buffer { id: id.to_string(), lower, upper, size, ..Buffer::default() }
}

/// A rectangle of `time` by `height`, cut into `count` buffers: all of it is used at all times, so that the bound can be met.
pub fn rectangle(random: &mut Random, time: i64, height: u64, count: usize) -> Vec<Buffer> {
    let mut pieces = vec![(0, time, height)];
    while pieces.len() < count {
        // The largest of three, so that no piece stays much larger than the others.
        let picks = [0; 3].map(|_| random.below(pieces.len() as u64) as usize);
        let at = picks.into_iter().max_by_key(|at| (pieces[*at].1 - pieces[*at].0) as u64 * pieces[*at].2);
        let (lower, upper, size) = pieces.swap_remove(at.expect("there are three"));
        let (by_time, by_size) = (upper - lower > 1, size > 1);
        match (by_time, by_size) {
            (false, false) => {
                pieces.push((lower, upper, size));
                if pieces.iter().all(|(lower, upper, size)| upper - lower == 1 && *size == 1) {
                    break;
                }
            }
            (true, wide) if !wide || random.below(2) == 0 => {
                let cut = lower + 1 + random.below((upper - lower - 1) as u64) as i64;
                pieces.extend([(lower, cut, size), (cut, upper, size)]);
            }
            _ => {
                let cut = 1 + random.below(size - 1);
                pieces.extend([(lower, upper, cut), (lower, upper, size - cut)]);
            }
        }
    }
    pieces.into_iter().enumerate().map(|(id, (lower, upper, size))| buffer(id, lower, upper, size)).collect()
}

/// A cut rectangle, of which some neighbours in time were joined: still loaded in full at nearly all times, but the bound may be
/// out of reach.
pub fn saturated(random: &mut Random, time: i64, height: u64, count: usize, joins: usize) -> Vec<Buffer> {
    let mut buffers = rectangle(random, time, height, count);
    for _ in 0..joins {
        let at = random.below(buffers.len() as u64) as usize;
        let (lower, upper, size) = (buffers[at].lower, buffers[at].upper, buffers[at].size);
        match buffers.iter().position(|other| other.lower == upper && other.size <= size) {
            // The later one continues the earlier: what that had more is cut off.
            Some(next) => {
                buffers[at] = Buffer { upper: buffers[next].upper, size: buffers[next].size, ..buffers[at].clone() };
                buffers.swap_remove(next);
            }
            None if upper - lower > 1 => buffers[at].upper -= 1,
            None => {}
        }
    }
    buffers
}

/// Buffers that are alive together take all of the height at all times, from `count` of 1 to 3 units at first. In turns two go and
/// one that takes both their places comes, which does not fit where they were not neighbours; and one goes for two.
pub fn churn(random: &mut Random, count: usize, steps: i64) -> Vec<Buffer> {
    let mut alive: Vec<(i64, u64)> = (0..count).map(|_| (0, 1 + random.below(3))).collect();
    let mut buffers = Vec::new();
    for time in 1..=steps {
        let join = time % 2 == 1;
        let mut freed = 0;
        for _ in 0..(1 + usize::from(join)).min(alive.len()) {
            let (lower, size) = alive.swap_remove(random.below(alive.len() as u64) as usize);
            buffers.push(buffer(buffers.len(), lower, time, size));
            freed += size;
        }
        let part = if join { 0 } else { random.below(freed) };
        alive.extend([part, freed - part].into_iter().filter(|size| *size > 0).map(|size| (time, size)));
    }
    for (lower, size) in alive {
        buffers.push(buffer(buffers.len(), lower, steps + 1, size));
    }
    buffers
}

/// A training step of a chain of layers as a ResNet has them: outputs are kept for the backward pass, gradients of parameters
/// until the end; workspaces, statistics and gradients of outputs come and go. About 6.2 buffers a layer.
pub fn training(random: &mut Random, layers: usize) -> Vec<Buffer> {
    let mut buffers = Vec::new();
    let end = 8 * layers as i64;
    let mut push = |lower, upper, size: u64| {
        let id = buffers.len();
        buffers.push(buffer(id, lower, upper, size.max(1) * 512));
    };
    for layer in 0..layers {
        let stage = 4 * layer / layers;
        let wide = if layer % 3 == 2 { 4 } else { 1 };
        let output = (12_544 >> stage) * wide;
        let parameters = (32 << (2 * stage)) * wide;
        let forward = 4 * layer as i64;
        let backward = end - 4 * layer as i64 - 4;
        push(forward, backward + 3, output);
        push(forward + 1, backward + 2, (1 << stage) * wide);
        push(forward, forward + 1, random.below(40_000));
        push(backward, backward + 4 + 1, output);
        push(backward, end + 4, parameters);
        push(backward + 1, backward + 2, random.below(60_000));
        if random.below(5) == 0 {
            push(backward + 2, backward + 3, random.below(90_000));
        }
    }
    buffers
}

/// Buffers that come at random, of random sizes and lifetimes up to `longest`.
pub fn scattered(random: &mut Random, count: usize, time: u64, longest: u64) -> Vec<Buffer> {
    let one = |id| {
        let lower = random.below(time) as i64;
        buffer(id, lower, lower + 1 + random.below(longest) as i64, 1 + random.below(1_000))
    };
    (0..count).map(one).collect()
}
