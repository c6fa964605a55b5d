//! Where a search stands, and how it goes back: everything that changes is written on a trail.

use std::ops::Range;

use rustc_hash::FxHashSet;

use super::Limits;
use crate::problem::{Item, Part};

/// No item.
pub const NONE: u32 = u32::MAX;

/// The capacity is passed, or nothing can be placed where something must be.
#[derive(Clone, Copy, Debug)]
pub struct Failed;

/// Items by rank, sections, and what has been placed.
pub struct State {
    pub capacity: u64,
    pub limits: Limits,
    /// The least need above the capacity that was met.
    pub needed: u64,
    pub nodes: u64,
    /// Subtrees that were left before they were exhausted.
    pub abandoned: u64,

    // Of items, by rank:
    pub items: Vec<Item>,
    /// Places of fixed items that are alive with it, by offset.
    blocked: Vec<Vec<Range<u64>>>,
    /// Items of one size, lifetime and alignment share a class.
    pub class: Vec<u32>,
    /// The item of its class before it.
    pub twin: Vec<u32>,
    pub placed: Vec<bool>,
    pub height: Vec<u64>,
    pub bound: Vec<u64>,

    // Of sections:
    /// What is left to be placed.
    pub left: Vec<u64>,
    floor: Vec<u64>,
    /// An item whose bound is the floor.
    witness: Vec<u32>,
    /// `alive[alive_from[s]..alive_from[s + 1]]` are the items of section `s` that are not fixed.
    alive: Vec<u32>,
    alive_from: Vec<u32>,
    /// How many items left live on both sides of the boundary before a section.
    pub crossing: Vec<u32>,

    // Trails:
    raised: Vec<(u32, u64, u64)>,
    floors: Vec<(u32, u64, u32)>,
    placements: Vec<u32>,

    /// Lists of items left, one behind another.
    pub lists: Vec<u32>,
    /// Candidates of nodes, one behind another.
    pub candidates: Vec<(u64, u32)>,
    pub failed: FxHashSet<u128>,
}

/// A moment to go back to.
#[derive(Clone, Copy)]
pub struct Mark {
    raised: usize,
    floors: usize,
    placements: usize,
    lists: usize,
}

impl State {
    /// Nothing is placed but what is fixed.
    pub fn new(part: &Part, order: &[u32], capacity: u64, limits: Limits) -> State {
        let items: Vec<Item> = order.iter().map(|n| part.items[*n as usize].clone()).collect();
        let sections = part.totals.len();
        let (class, twin) = classes(&items);
        let mut state = State {
            capacity,
            limits,
            needed: u64::MAX,
            nodes: 0,
            abandoned: 0,
            blocked: blocked(&items),
            class,
            twin,
            placed: items.iter().map(|item| item.fixed.is_some()).collect(),
            height: vec![0; items.len()],
            bound: vec![0; items.len()],
            left: vec![0; sections],
            floor: vec![0; sections],
            witness: vec![NONE; sections],
            alive: Vec::new(),
            alive_from: Vec::new(),
            crossing: vec![0; sections + 1],
            raised: Vec::new(),
            floors: Vec::new(),
            placements: Vec::new(),
            lists: Vec::new(),
            candidates: Vec::new(),
            failed: FxHashSet::default(),
            items,
        };
        state.fill();
        state
    }

    fn fill(&mut self) {
        let mut alive = vec![Vec::new(); self.left.len()];
        for rank in 0..self.items.len() {
            self.height[rank] = self.items[rank].fixed.unwrap_or_else(|| self.lowest(rank, 0));
            self.bound[rank] = self.height[rank];
            if !self.placed[rank] {
                let item = &self.items[rank];
                for section in item.first..item.end {
                    alive[section as usize].push(rank as u32);
                    self.left[section as usize] += item.size;
                }
                for boundary in item.first + 1..item.end {
                    self.crossing[boundary as usize] += 1;
                }
            }
        }
        self.alive_from.push(0);
        for section in alive {
            self.alive.extend(section);
            self.alive_from.push(self.alive.len() as u32);
        }
    }

    /// Sets all floors for the first time.
    pub fn settle(&mut self) -> Result<(), Failed> {
        (0..self.left.len()).try_for_each(|section| self.find_floor(section))
    }

    /// The lowest place at or above `at` that the item may have.
    fn lowest(&self, rank: usize, at: u64) -> u64 {
        let item = &self.items[rank];
        let round = |at: u64| if item.alignment == 1 { at } else { at.next_multiple_of(item.alignment) };
        let mut at = round(at);
        for place in &self.blocked[rank] {
            if place.start < at + item.size && at < place.end {
                at = round(place.end);
            }
        }
        at
    }

    /// Places an item at its height; what is left of the list goes behind all lists.
    pub fn place(&mut self, rank: u32, list: Range<usize>) -> Result<(), Failed> {
        let number = rank as usize;
        let (first, end, size) = (self.items[number].first, self.items[number].end, self.items[number].size);
        let top = self.height[number] + size;
        self.placed[number] = true;
        self.placements.push(rank);
        self.left[first as usize..end as usize].iter_mut().for_each(|left| *left -= size);
        self.crossing[first as usize + 1..end as usize].iter_mut().for_each(|count| *count -= 1);
        let from = self.raised.len();
        for position in list {
            let other = self.lists[position];
            if other == rank {
                continue;
            }
            self.lists.push(other);
            let item = &self.items[other as usize];
            if item.first < end && first < item.end && self.height[other as usize] < top {
                let height = self.lowest(other as usize, top);
                self.raise(other, height, height)?;
            }
        }
        self.floors_of(rank)?;
        (from..self.raised.len()).try_for_each(|position| self.floors_of(self.raised[position].0))
    }

    fn raise(&mut self, rank: u32, height: u64, bound: u64) -> Result<(), Failed> {
        let number = rank as usize;
        self.raised.push((rank, self.height[number], self.bound[number]));
        self.height[number] = height;
        self.bound[number] = self.bound[number].max(bound);
        self.within(self.bound[number] + self.items[number].size)
    }

    /// Raises the bound of an item alone: it is held.
    pub fn hold(&mut self, rank: u32, bound: u64) -> Result<(), Failed> {
        let bound = self.lowest(rank as usize, bound);
        self.raise(rank, self.height[rank as usize], bound)?;
        self.floors_of(rank)
    }

    /// Looks again at the floors that the item was witness of.
    fn floors_of(&mut self, rank: u32) -> Result<(), Failed> {
        let item = &self.items[rank as usize];
        for section in item.first as usize..item.end as usize {
            if self.witness[section] == rank {
                self.find_floor(section)?;
            }
        }
        Ok(())
    }

    /// Finds the floor of a section, which has not fallen.
    fn find_floor(&mut self, section: usize) -> Result<(), Failed> {
        let was = self.floor[section];
        let (mut floor, mut witness) = (u64::MAX, NONE);
        for &rank in &self.alive[self.alive_from[section] as usize..self.alive_from[section + 1] as usize] {
            if !self.placed[rank as usize] && self.bound[rank as usize] < floor {
                (floor, witness) = (self.bound[rank as usize], rank);
                if floor == was {
                    break;
                }
            }
        }
        self.floors.push((section as u32, was, self.witness[section]));
        self.witness[section] = witness;
        if witness == NONE {
            return Ok(());
        }
        self.floor[section] = floor;
        self.within(floor + self.left[section])
    }

    /// Refuses what needs more than the capacity.
    pub fn within(&mut self, need: u64) -> Result<(), Failed> {
        if need <= self.capacity {
            return Ok(());
        }
        self.needed = self.needed.min(need);
        Err(Failed)
    }

    pub fn mark(&self) -> Mark {
        Mark {
            raised: self.raised.len(),
            floors: self.floors.len(),
            placements: self.placements.len(),
            lists: self.lists.len(),
        }
    }

    /// Goes back to a moment.
    pub fn undo(&mut self, mark: Mark) {
        for (rank, height, bound) in self.raised.drain(mark.raised..).rev() {
            self.height[rank as usize] = height;
            self.bound[rank as usize] = bound;
        }
        for (section, floor, witness) in self.floors.drain(mark.floors..).rev() {
            self.floor[section as usize] = floor;
            self.witness[section as usize] = witness;
        }
        for rank in self.placements.drain(mark.placements..) {
            let item = &self.items[rank as usize];
            self.placed[rank as usize] = false;
            let (first, end) = (item.first as usize, item.end as usize);
            self.left[first..end].iter_mut().for_each(|left| *left += item.size);
            self.crossing[first + 1..end].iter_mut().for_each(|count| *count += 1);
        }
        self.lists.truncate(mark.lists);
    }
}

/// For each item its class, and the item of its class before it.
fn classes(items: &[Item]) -> (Vec<u32>, Vec<u32>) {
    let mut ranks: Vec<u32> = (0..items.len() as u32).collect();
    let key = |rank: u32| {
        let item = &items[rank as usize];
        // Fixed ones are never chosen, so that their classes do not matter.
        (item.first, item.end, item.size, item.alignment, item.fixed.is_some())
    };
    ranks.sort_by_key(|rank| (key(*rank), *rank));
    let (mut class, mut twin) = (vec![0; items.len()], vec![NONE; items.len()]);
    let mut count = 0;
    for (position, &rank) in ranks.iter().enumerate() {
        match position.checked_sub(1).map(|before| ranks[before]) {
            Some(before) if key(before) == key(rank) => twin[rank as usize] = before,
            _ => count += 1,
        }
        class[rank as usize] = count;
    }
    (class, twin)
}

fn blocked(items: &[Item]) -> Vec<Vec<Range<u64>>> {
    let mut fixed: Vec<(u64, &Item)> = items.iter().filter_map(|item| Some((item.fixed?, item))).collect();
    fixed.sort_by_key(|(offset, _)| *offset);
    let of = |item: &Item| {
        let met = fixed.iter().filter(|(_, other)| item.fixed.is_none() && item.meets(other));
        met.map(|(offset, other)| *offset..*offset + other.size).collect()
    };
    items.iter().map(of).collect()
}
